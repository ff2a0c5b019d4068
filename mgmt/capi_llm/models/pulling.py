"""A model brought into a running Ollama, with its progress.

https://github.com/ollama/ollama/blob/main/docs/api.md#pull-a-model
"""

from __future__ import annotations

import json
from collections.abc import Callable

from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.http.talk import Talk
from capi_llm.models.gateway_answers import clean

Heard = Callable[[str, float | None], None]
"""What Ollama says, and how much of a layer is there, from 0 to 1."""


def pull(url: str, model: str, *, within: float, heard: Heard = lambda text, part: None) -> None:
    """Have ``model`` at the Ollama at ``url``; one that is there is only looked at again.

    Raises NotFound where no registry has it, CapiLlmError with Ollama's own words, FetchFailed.
    """
    body = {"model": model, "stream": True}
    last = ""
    with (
        Talk(url) as talk,
        talk.stream("POST", "/api/pull", within=within, body=body) as answer,
    ):
        if answer.status != 200:
            raise _failed(url, model, _error(answer.rest().body.decode(errors="replace")))
        for line in answer.lines():
            if not line:
                continue
            said = _object(line)
            if said.get("error"):
                raise _failed(url, model, str(said["error"]))
            last = str(said.get("status") or "")
            total, done = said.get("total"), said.get("completed")
            heard(
                clean(last),
                done / total if isinstance(total, int) and total and isinstance(done, int) else None,
            )
    if last != "success":
        raise _failed(url, model, f"it ended with {last or 'nothing'!r}")


def _failed(url: str, model: str, why: str) -> CapiLlmError:
    if "does not exist" in why or "not found" in why:
        return NotFound(
            f"there is no model {model!r} to pull",
            on=url,
            why=clean(why),
            fix="see https://ollama.com/library",
        )
    return CapiLlmError(
        f"model {model!r} was not pulled", on=url, why=clean(why), fix="run this command again: it goes on"
    )


def _error(text: str) -> str:
    return str(_object(text).get("error") or text)


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
