"""The course of a delivery: secrets, then the apps in their order, then the wait until all are ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from capi_llm import fields
from capi_llm.apps import evidence
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import AppStatus, Delivered, Engine, Release
from capi_llm.errors import CapiLlmError, Refused, TimedOut
from capi_llm.kube.client import Api
from capi_llm.waiting import Status, Waiter, Wakeup, failed, look, pending, ready, until

Hear = Callable[[Sequence[AppStatus]], None]

_REST = 0.1


@dataclass(frozen=True)
class Wait:
    """How to wait for apps: ``timeout`` (seconds) for all together, and who hears of every change.

    ``workload`` is asked for events and logs of what blocks in the end.
    """

    timeout: float
    workload: Api
    waiter: Waiter
    hear: Hear = lambda states: None


def deliver(
    engine: Engine, releases: Sequence[Release], wait: Wait, *, force: bool = False, to_end: bool = True
) -> list[Delivered]:
    """Bring ``releases``, and ``to_end`` wait until all are ready.

    An app that depends on others is brought when these are ready: Fleet's agents wait for that by
    themselves, the direct engine is waited for here. Raises as :func:`until_ready`.
    """
    done: list[Delivered] = []
    levels = [list(releases)] if engine.name == "fleet" else by_level(releases)
    deadline = time.monotonic() + wait.timeout
    apps = [release.app for release in releases]
    with _Eyes(engine) as eyes:
        for number, level in enumerate(levels):
            done += engine.apply(level, force=force)
            brought = [release.app for other in levels[: number + 1] for release in other]
            later = [release for other in levels[number + 1 :] for release in other]
            needed = {name for release in later for name in release.bundle.depends_on}
            # Not what comes later: a killed run may have left half of it, and only its own turn ends that.
            names = [name for name in brought if name in needed] if later else apps
            if later or to_end:
                left = replace(wait, timeout=max(0.0, deadline - time.monotonic()))
                _until(engine, names, apps, left, eyes)
    return done


def by_level(releases: Sequence[Release]) -> list[list[Release]]:
    """``releases`` in as few rounds as their dependencies allow; each only needs what is in rounds before."""
    left = {release.app: release for release in releases}
    levels: list[list[Release]] = []
    while left:
        level = [item for item in left.values() if not set(item.bundle.depends_on) & left.keys()]
        levels.append(level)
        for item in level:
            del left[item.app]
    return levels


def until_ready(engine: Engine, apps: Sequence[str], wait: Wait) -> list[AppStatus]:
    """Wait until ``apps`` are ready.

    Raises TimedOut and CapiLlmError with what blocks, its events and last log lines.
    """
    if not apps:
        return []
    with _Eyes(engine) as eyes:
        return _until(engine, apps, apps, wait, eyes)


class _Eyes:
    """Watches, opened when a first look without them did not do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stack = ExitStack()
        self._bell: Wakeup | None = None

    def __enter__(self) -> _Eyes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def bell(self) -> Wakeup:
        if self._bell is None:
            self._bell = self._stack.enter_context(self._engine.watching())
        return self._bell


def _until(
    engine: Engine, needed: Sequence[str], shown: Sequence[str], wait: Wait, eyes: _Eyes
) -> list[AppStatus]:
    """Wait until those of ``shown`` that are ``needed`` are ready."""
    latest: list[AppStatus] = []

    def probe() -> Status:
        states = list(engine.status(shown))
        if states != latest:
            latest[:] = states
            wait.hear(states)
        return verdict([state for state in states if state.app in needed])

    if look(probe).ready:
        return latest
    bell = eyes.bell()
    try:
        until(
            probe,
            what="the delivery",
            timeout=wait.timeout,
            waiter=replace(wait.waiter, wakeup=bell, rest=_REST),
        )
    except (TimedOut, CapiLlmError) as error:
        if type(error) in (TimedOut, CapiLlmError):
            error.why += evidence.of(wait.workload, latest)
        raise
    return latest


def verdict(states: Sequence[AppStatus]) -> Status:
    """One status for all of them."""
    good = sum(state.status.ready for state in states)
    for state in sorted(states, key=lambda state: not state.status.failed):
        if not state.status.ready:
            text = f"{good} of {len(states)} apps are ready; {state.app}: {state.status.message}"
            how = failed if state.status.failed else pending
            return how(text, cause=state.status.cause, fix=state.status.fix)
    return ready(f"{good} of {len(states)} apps are ready")


def removal(bundles: Sequence[Bundle], delivered: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which apps to remove, in their order: of ``delivered`` those of ``names``, or all without any.

    What depends on an app comes before it. Raises BadInput for a name that there is not, Refused where
    something that stays depends on what goes.
    """
    known = {bundle.name: bundle for bundle in bundles}
    for name in names:
        if name not in known and name not in delivered:
            raise fields.unknown("APP: app", name, [*known, *delivered])
    going = [name for name in delivered if not names or name in names]
    for name in delivered:
        needed = [other for other in (known[name].depends_on if name in known else ()) if other in going]
        if needed and name not in going:
            raise Refused(
                f"app {needed[0]!r} is needed by {name!r}, which would stay",
                fix=f"remove {name} too, or leave {needed[0]}",
            )
    position = {bundle.name: number for number, bundle in enumerate(bundles)}
    return sorted(going, key=lambda name: -position.get(name, len(position)))
