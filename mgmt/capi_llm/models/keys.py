"""Keys of clients, through LiteLLM's own API; they are in its database, as hashes.

https://docs.litellm.ai/docs/proxy/virtual_keys. A key is in a header or a body, never in a message; what
LiteLLM answers to a wrong one is not repeated, as it quotes keys.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from capi_llm.errors import BadInput, CapiLlmError, NotFound, PrerequisiteMissing, Refused
from capi_llm.fields.names import shown
from capi_llm.http.talk import Reply, Talk
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import clean
from capi_llm.settings import Secret

PREFIX = "sk-"
"""Of every key; LiteLLM takes no other (litellm/proxy/auth/user_api_key_auth.py)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_OWN = re.compile(r"sk-[!-~]{16,509}")
_DURATION = re.compile(r"[1-9][0-9]*(s|m|h|d)")
_PAGE = 100
_WITHIN = 60.0


@dataclass(frozen=True)
class Limits:
    """Of one key: for a minute over all models, and by model. None: no limit."""

    requests: int | None = None
    tokens: int | None = None
    requests_by_model: Mapping[str, int] | None = None
    tokens_by_model: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Key:
    """What is known of a key without the key itself."""

    name: str
    shown: str
    """Its end, such as ``sk-...x1Y2``."""

    models: tuple[str, ...]
    """Those that it may ask; all without any."""

    limits: Limits
    created: str
    expires: str
    spend: float


def check_name(text: str) -> str:
    """The name of a key. Raises BadInput."""
    if not _NAME.fullmatch(text):
        raise BadInput(
            f"{shown(text)} is not a name of a key",
            why="it is letters, digits and ._@-, at most 63",
            fix="e.g. team-search",
        )
    return text


def check_own(key: Secret) -> Secret:
    """A key that somebody brings. Raises BadInput, without the key."""
    text = key.reveal()
    if not text.startswith(PREFIX):
        raise BadInput(
            "a key of your own has to begin with sk-",
            why="LiteLLM takes no other: it answers 401 to it",
            fix="put sk- before it, or leave it out, and one is generated",
        )
    if not _OWN.fullmatch(text):
        raise BadInput(
            "the key is too short, too long, or has spaces in it",
            why="it is sk- and 16 to 509 characters",
            fix="leave it out, and one is generated",
        )
    return key


def check_duration(text: str) -> str:
    """How long a key holds, as LiteLLM writes it. Raises BadInput."""
    if text and not _DURATION.fullmatch(text):
        raise BadInput(f"--expires {shown(text)} is not a time", fix="such as 12h or 30d")
    return text


def by_model(words: Sequence[str], option: str) -> dict[str, int]:
    """``MODEL=NUMBER`` of an option. Raises BadInput."""
    found: dict[str, int] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        if not equals or not name or not re.fullmatch(r"[1-9][0-9]{0,8}", number):
            raise BadInput(f"{option} {shown(word)} is not MODEL=NUMBER", fix=f"e.g. {option} chat=60")
        if name in found:
            raise BadInput(f"{option}: model {shown(name)} is there twice", fix="leave one of them out")
        found[name] = int(number)
    return found


class Keys:
    """The keys of one gateway, which is asked with its master key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def create(
        self,
        name: str,
        *,
        own: Secret | None = None,
        models: Sequence[str] = (),
        limits: Limits | None = None,
        expires: str = "",
    ) -> Secret:
        """A new key. Raises Refused where there is one of that name, BadInput for an unknown model."""
        self._require_models([*models, *((limits and limits.requests_by_model) or {}),
                              *((limits and limits.tokens_by_model) or {})])  # fmt: skip
        if any(key.name == name for key in self.list()):
            raise _there_is_one(name)
        fresh = own or Secret(f"{PREFIX}{secrets.token_urlsafe(32)}")
        body: dict[str, Any] = {"key": fresh.reveal(), "key_alias": name, "models": list(models)}
        limits = limits or Limits()
        more = {
            "rpm_limit": limits.requests,
            "tpm_limit": limits.tokens,
            "model_rpm_limit": limits.requests_by_model,
            "model_tpm_limit": limits.tokens_by_model,
            "duration": expires,
        }
        reply = self._ask(
            "POST", "/key/generate", body | {word: value for word, value in more.items() if value}
        )
        if reply.status == 200:
            return fresh
        text = _message(reply)
        if "already exists" in text or "unique" in text.lower():
            raise _there_is_one(name)
        raise self._failed(reply, f"key {name!r} was not made")

    def list(self) -> list[Key]:
        """All keys, by name."""
        found: list[Key] = []
        for page in range(1, 1000):
            query = urlencode({"page": page, "size": _PAGE, "return_full_object": "true"})
            reply = self._ask("GET", f"/key/list?{query}")
            if reply.status != 200:
                raise self._failed(reply, "the keys can not be listed")
            answer = _json(reply)
            found += [_key(item) for item in answer.get("keys") or [] if isinstance(item, dict)]
            if page >= int(answer.get("total_pages") or 1):
                break
        return sorted(found, key=lambda key: key.name)

    def revoke(self, name: str) -> None:
        """Take the key of that name away. Raises NotFound with the nearest name."""
        known = [key.name for key in self.list()]
        if name not in known:
            from capi_llm import fields

            close = fields.nearest(name, known)
            raise NotFound(
                f"there is no key {shown(name)}",
                why=f"there are {', '.join(known)}" if known else "there are none",
                fix=f"did you mean {close!r}?" if close else "capi-llm keys list shows them",
            )
        reply = self._ask("POST", "/key/delete", {"key_aliases": [name]})
        if reply.status != 200:
            raise self._failed(reply, f"key {name!r} was not revoked")

    def _require_models(self, names: Sequence[str]) -> None:
        if not names:
            return
        reply = self._ask("GET", "/v1/models")
        if reply.status != 200:
            raise self._failed(reply, "the models can not be listed")
        known = [str(item.get("id")) for item in _json(reply).get("data") or []]
        for name in names:
            if name not in known:
                from capi_llm import fields

                close = fields.nearest(name, known)
                raise BadInput(
                    f"there is no model {shown(name)}",
                    why=f"the gateway has {', '.join(known)}",
                    fix=f"did you mean {close!r}?" if close else "name one of them",
                )

    def _ask(self, method: str, path: str, body: Any = None) -> Reply:
        key = self._gateway.key
        if key is None:
            raise PrerequisiteMissing(
                "the gateway's own key is missing", fix="put it into CAPI_LLM_GATEWAY_KEY, or name a cluster"
            )
        with Talk(self._gateway.url, host=self._gateway.host) as talk:
            headers = {"Authorization": f"Bearer {key.reveal()}"}
            return talk.ask(method, path, within=_WITHIN, headers=headers, body=body)

    def _failed(self, reply: Reply, what: str) -> CapiLlmError:
        text = _message(reply)
        where = self._gateway.url
        if reply.status in (401, 403):
            return Refused(
                what, on=where, why=f"the gateway does not take the key that asks: {reply.status}",
                fix="keys are made with its master key: that of Secret llm/litellm",
            )  # fmt: skip
        if "db" in text.lower() or "database" in text.lower():
            return PrerequisiteMissing(
                what, on=where, why="the gateway has no database",
                fix="say `gateway: {clientKeys: true}` in capi-llm.yaml and run capi-llm apps apply CLUSTER",
            )  # fmt: skip
        return CapiLlmError(
            what, on=where, why=f"{reply.status}: {clean(text)}", fix="see capi-llm logs litellm"
        )


def _there_is_one(name: str) -> CapiLlmError:
    return Refused(
        f"there is a key {name!r} already",
        why="keys can not be shown again",
        fix=f"revoke it first (capi-llm keys revoke {name}), or take another name",
    )


def _key(item: Mapping[str, Any]) -> Key:
    meta = item.get("metadata") or {}
    return Key(
        name=str(item.get("key_alias") or item.get("key_name") or "?"),
        shown=str(item.get("key_name") or ""),
        models=tuple(str(name) for name in item.get("models") or ()),
        limits=Limits(
            item.get("rpm_limit"),
            item.get("tpm_limit"),
            meta.get("model_rpm_limit"),
            meta.get("model_tpm_limit"),
        ),
        created=str(item.get("created_at") or ""),
        expires=str(item.get("expires") or ""),
        spend=float(item.get("spend") or 0.0),
    )


def _json(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _message(reply: Reply) -> str:
    """What the gateway says; without anything that looks like a key."""
    found = _json(reply)
    error = found.get("error") or found.get("detail") or found
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or ""
    return re.sub(r"sk-\S+", "sk-****", str(error))
