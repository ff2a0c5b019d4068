"""Whether tokens come out: checks in order, each with its verdict. What fails leaves out what needs it.

The gateway is live; its list has the model; one completion has tokens; one streamed completion has, with the
time to the first one, the speed and the backend that answered.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import Completion, GatewayFailed, Reason
from capi_llm.models.gateway_client import GatewayClient, Message

MOST_TOKENS = 32
PROMPT = "Count from one to ten."

_AGAIN_SECONDS = 0.5
_STARTING = (Reason.UNREACHABLE, Reason.BROKEN_OFF, Reason.REFUSED)
"""How a gateway fails that is just starting."""


class State(enum.StrEnum):
    """The verdict of one check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check: its verdict, and for a failure which kind (a :class:`Reason`) and what to do."""

    name: str
    state: State
    message: str
    seconds: float = 0.0
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of one run; ``model`` is empty where none was found to ask."""

    model: str
    checks: tuple[Check, ...]
    completion: Completion | None = None
    stream: Completion | None = None

    @property
    def ok(self) -> bool:
        return all(check.state is not State.FAILED for check in self.checks)


@dataclass
class Run:
    """The checks as they are made; ``heard`` is told each verdict at once."""

    client: GatewayClient
    heard: Callable[[Check], None] = lambda check: None
    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, work: Callable[[], tuple[State, str]], *, needs: bool) -> bool:
        """Make a check if what it ``needs`` is there; whether the next may be made."""
        began = time.monotonic()
        if not needs:
            found = Check(name, State.SKIPPED, "not asked, after the failure before it")
        else:
            try:
                state, message = work()
                found = Check(name, state, message, time.monotonic() - began)
            except GatewayFailed as error:
                found = Check(
                    name, State.FAILED, error.brief, time.monotonic() - began, error.reason.value, error.fix
                )
        self.checks.append(found)
        self.heard(found)
        return needs and found.state is not State.FAILED


def examine(
    gateway: Gateway,
    model: str = "",
    *,
    within: float,
    wait: float = 0.0,
    most: int = MOST_TOKENS,
    heard: Callable[[Check], None] = lambda check: None,
) -> Report:
    """Make all checks of ``model``, or of the first in the gateway's list.

    Each request has ``within`` seconds. A gateway that is just starting has ``wait`` seconds to be live.
    """
    messages: list[Message] = [{"role": "user", "content": PROMPT}]
    got: dict[str, Completion] = {}
    chosen = model

    def live() -> tuple[State, str]:
        if until_live(client, wait):
            return State.OK, "the gateway is live"
        return State.SKIPPED, "no /health/liveliness here, so this is no LiteLLM; what follows decides"

    def listed() -> tuple[State, str]:
        nonlocal chosen
        chosen = choose(client.models(), model)
        return State.OK, f"the list of models has {chosen}"

    def completed() -> tuple[State, str]:
        found = got["completion"] = client.complete(chosen, messages, most=most)
        return State.OK, f"{count(found)}{_by(found)}"

    def streamed() -> tuple[State, str]:
        stream = client.stream(chosen, messages, most=most)
        for _ in stream:
            pass
        found = got["stream"] = stream.result()
        speed = f"{found.rate:.1f} tokens/s after it" if found.rate is not None else "all others with it"
        return State.OK, f"{count(found)}, the first after {found.first or 0:.3f} s, {speed}{_by(found)}"

    with GatewayClient(gateway, within=within) as client:
        run = Run(client, heard)
        well = run.check("live", live, needs=True)
        well = run.check("models", listed, needs=well)
        well = run.check("completion", completed, needs=well)
        run.check("stream", streamed, needs=well)
    return Report(chosen, tuple(run.checks), got.get("completion"), got.get("stream"))


def until_live(client: GatewayClient, wait: float) -> bool:
    """As :meth:`GatewayClient.live`, asked again for ``wait`` seconds where it may be just starting."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return client.live()
        except GatewayFailed as error:
            if error.reason not in _STARTING or time.monotonic() + _AGAIN_SECONDS > deadline:
                raise
        time.sleep(_AGAIN_SECONDS)


def choose(there: list[str], wanted: str) -> str:
    """The model to ask: ``wanted``, or the first one. Raises GatewayFailed where it is not in the list."""
    plain = [name for name in there if "*" not in name]
    if wanted in there or (not wanted and plain):
        return wanted or plain[0]
    names = ", ".join(there[:10]) + ("…" if len(there) > 10 else "")
    raise GatewayFailed(
        Reason.MODEL_MISSING,
        f"the gateway has no model {wanted!r}" if wanted else "the gateway has no models",
        why=f"there are {names}" if there else "its list is empty",
        fix="name one with --model" if there else "give it models: docs/bundles/litellm-config.md",
    )


def count(found: Completion) -> str:
    """``5 tokens``; pieces where the server did not count."""
    word = "token" if found.counted else "piece"
    return f"{found.tokens} {word}{'s' * (found.tokens != 1)} in {found.seconds:.3f} s"


def _by(found: Completion) -> str:
    return f", by {found.backend}" if str(found.backend) else ", by whom is not told"


def as_json(report: Report) -> dict[str, Any]:
    """The report for ``-o json``; the text of answers is left out."""
    return {
        "ok": report.ok,
        "model": report.model,
        "checks": [asdict(check) for check in report.checks],
        "completion": measured(report.completion),
        "stream": measured(report.stream),
    }


def measured(found: Completion | None) -> dict[str, Any] | None:
    """What was measured of one completion; times in seconds, None where they are not known."""
    if found is None:
        return None
    return {
        "tokens": found.tokens,
        "tokensCounted": found.counted,
        "seconds": round(found.seconds, 4),
        "secondsToFirstToken": None if found.first is None else round(found.first, 4),
        "tokensPerSecond": None if found.rate is None else round(found.rate, 2),
        "backend": asdict(found.backend),
    }
