"""Streamed completions, many at a time: percentiles of what a client sees, and who answered."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import Completion, GatewayFailed
from capi_llm.models.gateway_client import GatewayClient
from capi_llm.models.smoke import PROMPT, Check, State

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Load:
    """What came of it. ``seconds`` is from the first request to the end of the last answer."""

    concurrency: int
    seconds: float
    answers: tuple[Completion, ...]
    errors: tuple[GatewayFailed, ...]

    @property
    def requests(self) -> int:
        return len(self.answers) + len(self.errors)

    @property
    def rate(self) -> float:
        """Tokens per second of all together."""
        return sum(answer.tokens for answer in self.answers) / self.seconds if self.seconds else 0.0

    @property
    def first(self) -> list[float]:
        """Seconds to the first token, of each answer."""
        return [answer.first for answer in self.answers if answer.first is not None]

    @property
    def whole(self) -> list[float]:
        """Seconds of each whole answer."""
        return [answer.seconds for answer in self.answers]

    @property
    def backends(self) -> Counter[str]:
        """How many answers each backend gave, by its id, else its address."""
        return Counter(item.backend.id or item.backend.address or "not told" for item in self.answers)

    @property
    def reasons(self) -> Counter[str]:
        """How many requests failed, by the kind of failure and its status."""
        return Counter(f"{error.reason} {error.status or ''}".strip() for error in self.errors)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that at least ``percent`` of them do not exceed (nearest rank).

    ``values`` must not be empty, and 0 < ``percent`` <= 100.
    """
    ordered = sorted(values)
    return ordered[max(1, math.ceil(percent * len(ordered) / 100)) - 1]


def put(gateway: Gateway, model: str, *, seconds: float, concurrency: int, within: float, most: int) -> Load:
    """Ask ``concurrency`` at a time for ``seconds``; what is under way then is waited for.

    Each asks once at least.
    """
    over = threading.Event()
    clients = [GatewayClient(gateway, within=within) for _ in range(concurrency)]
    answers: list[Completion] = []
    errors: list[GatewayFailed] = []
    messages = [{"role": "user", "content": PROMPT}]
    began = time.monotonic()

    def ask(client: GatewayClient) -> None:
        with client:
            while True:
                stream = client.stream(model, messages, most=most)
                try:
                    for _ in stream:
                        pass
                    answers.append(stream.result())
                except GatewayFailed as error:
                    errors.append(error)
                    over.wait(min(0.1, seconds / 10))  # what refuses at once is not to be flooded
                if over.is_set() or time.monotonic() - began >= seconds:
                    return

    with ThreadPoolExecutor(concurrency, thread_name_prefix="load") as pool:
        try:
            for future in [pool.submit(ask, client) for client in clients]:
                future.result()
        finally:
            over.set()
            for client in clients:
                client.hang_up()
    return Load(concurrency, time.monotonic() - began, tuple(answers), tuple(errors))


def judge(load: Load) -> Check:
    """The verdict: every request has to be answered with tokens."""
    message = (
        f"{load.requests} requests in {load.seconds:.1f} s, {load.concurrency} at a time, "
        f"{len(load.errors)} errors, {load.rate:.1f} tokens/s"
    )
    if load.errors or not load.answers:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in load.reasons.most_common())
        last = load.errors[-1] if load.errors else None
        return Check(
            "load",
            State.FAILED,
            f"{message}: {kinds}; the last: {last.brief}" if last else f"{message}: none was answered",
            load.seconds,
            last.reason.value if last else "",
            last.fix if last else "",
        )
    return Check("load", State.OK, message, load.seconds)


def as_json(load: Load) -> dict[str, Any]:
    """The load for ``-o json``; seconds by percentile, None where nothing was answered."""

    def spread(values: list[float]) -> dict[str, float] | None:
        return {f"p{p}": round(percentile(values, p), 4) for p in PERCENTILES} if values else None

    return {
        "seconds": round(load.seconds, 3),
        "concurrency": load.concurrency,
        "requests": load.requests,
        "errors": dict(load.reasons),
        "tokensPerSecond": round(load.rate, 2),
        "secondsToFirstToken": spread(load.first),
        "secondsOfAnswer": spread(load.whole),
        "backends": dict(load.backends),
    }
