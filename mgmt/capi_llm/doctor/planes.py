"""The sandboxes that are there: how long their certificates last, and whether clocks agree."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from capi_llm.certificates import RENEW_DAYS
from capi_llm.checks import Check, missing, ok, warning
from capi_llm.doctor.probing import PROBE_SECONDS
from capi_llm.errors import CapiLlmError
from capi_llm.identity import Identities, Identity
from capi_llm.kube.client import Api
from capi_llm.sandbox import pki, processes
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings

MOST_SKEW = 60.0
"""Seconds that two clocks may differ: tokens and leases are judged by both."""

_DAY = 86400.0


@dataclass(frozen=True)
class Sandbox:
    """Facts of one plane. Times are seconds since the epoch; ``skew`` is None where no server answers.

    ``valid_from`` and ``valid_to`` are the narrowest of its certificates, 0 where there are none.
    """

    name: str
    running: bool
    valid_from: float
    valid_to: float
    now: float
    skew: float | None


@dataclass(frozen=True)
class Planes:
    """``broken`` are plane files that can not be used, with the reason."""

    sandboxes: tuple[Sandbox, ...]
    broken: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return any(sandbox.running for sandbox in self.sandboxes)


def gather(settings: Settings) -> Planes:
    identities = Identities(settings.state)
    found, broken = [], []
    for name in identities.names():
        try:
            identity = identities.find(name)
        except CapiLlmError as error:
            broken.append(error.brief)
            continue
        if identity is not None and identity.kind == "sandbox":
            found.append(_look(settings, identity))
    return Planes(tuple(found), tuple(broken))


def judge(seen: Planes) -> list[Check]:
    found = [
        warning("plane file", why, "`capi-llm destroy --name NAME --yes` removes it") for why in seen.broken
    ]
    for plane in seen.sandboxes:
        found.append(_certificates(plane))
        if plane.skew is not None:
            found.append(skew(f"clock of plane {plane.name}", plane.skew))
    return found


def skew(name: str, seconds: float) -> Check:
    """Whether a server's clock is near ours. ``seconds``: theirs minus ours."""
    if abs(seconds) > MOST_SKEW:
        side = "ahead of" if seconds > 0 else "behind"
        return warning(name, f"{abs(seconds):.0f} s {side} this machine's", "set both clocks by NTP")
    return ok(name, "agrees with this machine's")


def _certificates(plane: Sandbox) -> Check:
    name = f"certificates of plane {plane.name}"
    left = (plane.valid_to - plane.now) / _DAY
    bring = f"capi-llm bootstrap --name {plane.name}"
    if not plane.valid_to:
        return warning(name, "there are none", bring)
    if plane.now < plane.valid_from:
        return missing(name, "they are not valid yet: the clock is behind", "set the clock")
    if left <= 0:
        return warning(name, f"expired {-left:.0f} days ago", bring)
    if left <= RENEW_DAYS:
        return warning(name, f"valid for {left:.0f} days more", f"{bring} renews them")
    return ok(name, f"valid for {left:.0f} days more")


def _look(settings: Settings, identity: Identity) -> Sandbox:
    times = pki.validity(layout(settings.state, identity.name)).values()
    running = bool(identity.instance and processes.running(identity.instance))
    return Sandbox(
        name=identity.name,
        running=running,
        valid_from=max((begin.timestamp() for begin, _ in times), default=0.0),
        valid_to=min((end.timestamp() for _, end in times), default=0.0),
        now=time.time(),
        skew=_skew(identity) if running else None,
    )


def _skew(identity: Identity) -> float | None:
    with (
        contextlib.suppress(CapiLlmError),
        Api.from_kubeconfig(Path(identity.kubeconfig), identity.context, retry_for=0) as api,
    ):
        return api.server_clock(PROBE_SECONDS) - time.time()
    return None
