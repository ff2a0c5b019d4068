"""Which backend answered how often: measured with real requests, shown with its confidence interval."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from capi_llm.errors import CapiLlmError, FetchFailed, Refused
from capi_llm.http.talk import Reply, Talk
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import clean
from capi_llm.models.litellm import entry_id
from capi_llm.settings import Model

ANSWERED_BY = "x-litellm-model-id"
"""LiteLLM's header with the id of the entry that answered
(https://docs.litellm.ai/docs/proxy/response_headers)."""

_AT_ONCE = 4
_TOKENS = 1
_Z = 1.959963984540054
"""Of the 95 % interval."""


@dataclass(frozen=True)
class Share:
    """One backend: answers of it, its weight, and the interval that its true share is in by 95 %."""

    backend: str
    weight: int
    answers: int
    share: float
    low: float
    high: float
    expected: float

    @property
    def fits(self) -> bool:
        """Whether what was asked for lies within the interval."""
        return self.low <= self.expected <= self.high


def wilson(hits: int, of: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval of a share (https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval)."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    # At its ends it is exact, which a computer's numbers are not quite.
    return 0.0 if not hits else middle - half, 1.0 if hits == of else middle + half


def shares(model: Model, answers: Mapping[str, int]) -> list[Share]:
    """``answers`` by backend as shares of all."""
    total, weights = sum(answers.values()), model.weights
    found = []
    for name, weight in weights.items():
        hits = answers.get(name, 0)
        low, high = wilson(hits, total)
        expected = weight / sum(weights.values())
        found.append(Share(name, weight, hits, hits / total if total else 0.0, low, high, expected))
    return found


def known_weights(gateway: Gateway, model: Model, *, within: float) -> dict[str, int]:
    """Weights by backend as the gateway has them now. Raises FetchFailed."""
    headers = {"Authorization": f"Bearer {gateway.key.reveal()}"} if gateway.key else {}
    with Talk(gateway.url, host=gateway.host) as talk:
        reply = talk.ask("GET", "/v1/model/info", within=within, headers=headers)
    if reply.status != 200:
        raise FetchFailed(
            "the gateway does not say which models it has",
            on=gateway.url,
            why=f"{reply.status} {reply.reason}",
        )
    ids = {entry_id(model.name, item.name): item.name for item in model.backends}
    found: dict[str, int] = {}
    for item in json.loads(reply.body).get("data") or []:
        name = ids.get(str((item.get("model_info") or {}).get("id")))
        if name is not None:
            weight = (item.get("litellm_params") or {}).get("weight") or 0
            found[name] = int(weight) if item.get("model_name") == model.name else 0
    return found


def require_ready(gateway: Gateway, model: Model, names: list[str], *, within: float) -> None:
    """Ask each of those backends once, through the gateway. Raises Refused for one that does not answer."""
    with Talk(gateway.url, host=gateway.host) as talk:
        for name in names:
            try:
                reply = _ask(talk, gateway, entry_id(model.name, name), within)
                why = "" if reply.status == 200 else f"{reply.status}: {clean(_said(reply))}"
            except FetchFailed as error:
                why = error.brief
            if why:
                raise Refused(
                    f"backend {name!r} of model {model.name!r} is not ready; nothing was changed",
                    on=gateway.url,
                    why=why,
                    fix="only backends that answer get requests; see to it, or give it weight 0. "
                    "One that the gateway does not know yet comes with capi-llm apps apply CLUSTER litellm",
                )


def measure(
    gateway: Gateway,
    model: Model,
    requests: int,
    *,
    within: float,
    heard: Callable[[int], None] = lambda count: None,
) -> tuple[dict[str, int], int]:
    """Answers by backend of that many requests, and how many failed. ``heard`` is told how many came."""
    ids = {entry_id(model.name, item.name): item.name for item in model.backends}
    counts: Counter[str] = Counter()
    failed = 0

    def several(number: int) -> list[str]:
        found = []
        with Talk(gateway.url, host=gateway.host) as talk:
            for _ in range(number):
                try:
                    reply = _ask(talk, gateway, model.name, within)
                except CapiLlmError:
                    found.append("")
                    continue
                answered = reply.headers.get(ANSWERED_BY, "")
                found.append(ids.get(answered, answered or "?") if reply.status == 200 else "")
        return found

    parts = [min(10, requests - begin) for begin in range(0, requests, 10)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for names in pool.map(several, parts):
            failed += names.count("")
            counts.update(name for name in names if name)
            heard(sum(counts.values()) + failed)
    return dict(counts), failed


def _ask(talk: Talk, gateway: Gateway, model: str, within: float) -> Reply:
    headers = {"Authorization": f"Bearer {gateway.key.reveal()}"} if gateway.key else {}
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": _TOKENS,
        # A failure is to be seen, not sent to somebody else.
        "disable_fallbacks": True,
    }
    return talk.ask("POST", "/v1/chat/completions", within=within, headers=headers, body=body)


def _said(reply: Reply) -> str:
    text = reply.body.decode(errors="replace")
    return "the key is not taken" if reply.status in (401, 403) else text
