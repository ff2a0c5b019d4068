"""An OpenAI-compatible API as its clients see it: LiteLLM, or a server such as vLLM itself.

A failure says which kind it is (:class:`Reason`), as a program wants to tell them apart. The key is in
a header only: no message has it, nor what a server answers to a wrong one, as LiteLLM quotes keys.

https://platform.openai.com/docs/api-reference/chat, https://docs.litellm.ai/docs/proxy/response_headers
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm.errors import FetchFailed
from capi_llm.http.limits import BrokenOff, Silent, Unreachable
from capi_llm.http.talk import Reply, Talk
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import (
    Completion,
    GatewayFailed,
    Reason,
    backend,
    clean,
    finished,
    texts,
    tokens,
)
from capi_llm.settings.secret import MASK

LIVE = "/health/liveliness"
"""LiteLLM's path that answers without a key and without calling a model; its /health calls every model."""

Message = dict[str, str]
"""``{"role": "user", "content": "…"}``."""


_KEY = "set CAPI_LLM_GATEWAY_KEY for --url; that of a cluster is in Secret llm/litellm"


@dataclass
class _Tally:
    """What has come of a stream so far."""

    text: list[str] = field(default_factory=list)
    pieces: int = 0
    tokens: int | None = None
    first: float | None = None
    last: float | None = None
    finished: bool = False
    done: bool = False


class GatewayClient:
    """Requests to one gateway, one at a time, each within ``within`` seconds. To be used in one thread."""

    def __init__(self, gateway: Gateway, *, within: float) -> None:
        self._gateway = gateway
        self._within = within
        self._talk = Talk(gateway.url, host=gateway.host)

    def __enter__(self) -> GatewayClient:
        self._talk.__enter__()
        return self

    def __exit__(self, *of: Any) -> None:
        self._talk.__exit__(*of)

    def hang_up(self) -> None:
        """End what is under way, from another thread."""
        self._talk.hang_up()

    def live(self) -> bool:
        """Whether it says so, asked without the key; False: it has no such path. Raises GatewayFailed."""
        try:
            reply = self._talk.ask("GET", LIVE, within=self._within)
        except FetchFailed as error:
            raise _failed(error) from error
        if reply.status == 404:
            return False
        if reply.status != 200:
            raise self._refused(reply, "")
        return True

    def models(self) -> list[str]:
        """Names of the models that the key may use. Raises GatewayFailed."""
        try:
            reply = self._talk.ask("GET", "/v1/models", within=self._within, headers=self._headers())
        except FetchFailed as error:
            raise _failed(error) from error
        if reply.status != 200:
            raise self._refused(reply, "")
        found = self._json(reply.body, reply.status)
        items = found.get("data")
        if not isinstance(items, list):
            raise self._no_api(reply.status, "/v1/models has no list of models")
        return [str(item["id"]) for item in items if isinstance(item, dict) and item.get("id")]

    def complete(self, model: str, messages: list[Message], *, most: int) -> Completion:
        """An answer of at most ``most`` tokens, as a whole. Raises GatewayFailed."""
        began = time.monotonic()
        body = {"model": model, "messages": messages, "max_tokens": most}
        try:
            reply = self._talk.ask(
                "POST", "/v1/chat/completions", within=self._within, headers=self._headers(), body=body
            )
        except FetchFailed as error:
            raise _failed(error) from error
        seconds = time.monotonic() - began
        if reply.status != 200:
            raise self._refused(reply, model)
        found = self._json(reply.body, reply.status)
        self._no_error(found, reply.status)
        text = "".join(texts(found, "message"))
        if not text:
            raise self._no_tokens(reply.status)
        count = tokens(found)
        return Completion(text, count or 1, count is not None, seconds, backend(reply.headers))

    def stream(self, model: str, messages: list[Message], *, most: int | None = None) -> Stream:
        """An answer as it comes; iterate over its pieces of text. See :class:`Stream`."""
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if most is not None:
            body["max_tokens"] = most
        return Stream(self, body)

    def _headers(self) -> dict[str, str]:
        key = self._gateway.key
        return {"Authorization": f"Bearer {key.reveal()}"} if key else {}

    def _refused(self, reply: Reply, model: str) -> GatewayFailed:
        status, said = reply.status, self._said(reply.body)
        # Without a database LiteLLM 1.106 looks a wrong key up in it all the same, and answers 400.
        if status in (401, 403) or (status == 400 and "no connected db" in said.lower()):
            # In our own words: LiteLLM's message has a part of the key, or all of it.
            what = "does not take the key" if self._gateway.key else "wants a key"
            return GatewayFailed(
                Reason.UNAUTHORIZED, f"the gateway {what}: {status}", status=status, fix=_KEY
            )
        if model and (
            status == 404 or "invalid model name" in said.lower() or "does not exist" in said.lower()
        ):
            return GatewayFailed(
                Reason.MODEL_MISSING, f"the gateway has no model {model!r}: {status}", status=status, why=said
            )
        fix = "name the host that it routes by: --host" if status == 404 and not self._gateway.host else ""
        if status == 500 and not self._gateway.key:  # what the same LiteLLM answers without any
            fix = f"it may want a key: {_KEY}"
        return GatewayFailed(
            Reason.REFUSED, f"the gateway answers {status}", status=status, why=said, fix=fix
        )

    def _no_api(self, status: int, why: str) -> GatewayFailed:
        return GatewayFailed(
            Reason.NOT_UNDERSTOOD,
            "the answer is not that of an OpenAI-compatible API",
            status=status,
            why=why,
        )

    def _no_tokens(self, status: int) -> GatewayFailed:
        return GatewayFailed(
            Reason.NO_TOKENS,
            f"it answers {status}, and not one token comes",
            status=status,
            fix="look at the log of the backend; a model that only thinks needs more --max-tokens",
        )

    def _no_error(self, found: Mapping[str, Any], status: int) -> None:
        """Raise where a body is an error in spite of its status."""
        if error := found.get("error"):
            said = error.get("message", error) if isinstance(error, dict) else error
            raise GatewayFailed(
                Reason.ERROR_BODY,
                f"it answers {status} with an error in its body",
                status=status,
                why=self._own(str(said)),
                fix="look at the log of the backend",
            )

    def _json(self, body: bytes | str, status: int) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError as error:
            raise self._no_api(status, "it is no JSON") from error
        if not isinstance(found, dict):
            raise self._no_api(status, "it is no JSON object")
        return found

    def _said(self, body: bytes) -> str:
        """A server's own words about its error, on one line, without the key."""
        text = body.decode("utf-8", "replace")
        try:
            found = json.loads(text)
            error = found.get("error", found.get("detail", found)) if isinstance(found, dict) else found
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        except ValueError:
            pass
        return self._own(text)

    def _own(self, text: str) -> str:
        key = self._gateway.key.reveal() if self._gateway.key else ""
        return clean(text.replace(key, MASK) if key else text)


class Stream:
    """One streamed answer: iterate over its texts once; afterwards :meth:`result` has the measurements.

    Iterating raises GatewayFailed, also after some text has come: nothing came, an error in the stream, or
    no end.
    """

    def __init__(self, client: GatewayClient, body: dict[str, Any]) -> None:
        self._client = client
        self._body = body
        self._completion: Completion | None = None

    def result(self) -> Completion:
        """What came, once it is whole."""
        assert self._completion is not None
        return self._completion

    def __iter__(self) -> Iterator[str]:
        client, tally = self._client, _Tally()
        began = time.monotonic()
        try:
            with client._talk.stream(
                "POST",
                "/v1/chat/completions",
                within=client._within,
                headers=client._headers(),
                body=self._body,
            ) as answer:
                if answer.status != 200:
                    raise client._refused(answer.rest(), self._body["model"])
                if "text/event-stream" not in answer.headers.get("content-type", ""):
                    found = client._json(answer.rest().body, answer.status)
                    client._no_error(found, answer.status)
                    raise client._no_api(answer.status, "a stream was asked for, and it is none")
                for line in answer.lines():
                    if line.startswith("data:") and not tally.done:
                        yield from self._event(line[5:].strip(), tally, began, answer.status)
        except FetchFailed as error:
            raise _failed(error) from error
        if not tally.pieces:
            raise client._no_tokens(answer.status)
        if not tally.finished:
            raise GatewayFailed(
                Reason.BROKEN_OFF, "the stream has no end: it was cut short", status=answer.status
            )
        self._completion = Completion(
            "".join(tally.text),
            tally.tokens or tally.pieces,
            tally.tokens is not None,
            time.monotonic() - began,
            backend(answer.headers),
            tally.first,
            tally.last,
        )

    def _event(self, data: str, tally: _Tally, began: float, status: int) -> Iterator[str]:
        if data == "[DONE]":
            tally.finished = tally.done = True
            return
        found = self._client._json(data, status)
        self._client._no_error(found, status)
        if (count := tokens(found)) is not None:
            tally.tokens = count
        tally.finished = tally.finished or finished(found)
        thought = "".join(texts(found, "delta"))
        if thought:
            tally.last = time.monotonic() - began
            tally.first = tally.last if tally.first is None else tally.first
            tally.pieces += 1
        text = "".join(texts(found, "delta", ("content",)))
        if text:
            tally.text.append(text)
            yield text


def _failed(error: FetchFailed) -> GatewayFailed:
    reasons = ((Unreachable, Reason.UNREACHABLE), (Silent, Reason.SILENT), (BrokenOff, Reason.BROKEN_OFF))
    reason = next((reason for kind, reason in reasons if isinstance(error, kind)), Reason.NOT_UNDERSTOOD)
    return GatewayFailed(reason, error.what, on=error.on, why=error.why)
