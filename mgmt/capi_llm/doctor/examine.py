"""Looks at everything that a kind of plane needs, and says whether it can be made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from capi_llm import plane
from capi_llm.checks import Check, State, missing, warning
from capi_llm.containers import facts, host
from capi_llm.doctor import (
    existing,
    folders,
    kubeconfigs,
    machine,
    parts,
    planes,
    ports,
    programs,
    proxies,
)
from capi_llm.doctor.probing import ALL_SECONDS, PROBE_SECONDS, Look, side_by_side
from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.sandbox import executables
from capi_llm.settings import Settings, command_environment, everything
from capi_llm.steps.choices import DEFAULT_CLUSTER

KINDS = ("sandbox", "kind", "existing")
"""Every kind of plane; those of ``plane.KINDS`` can be made by this version."""

_KIND_NAME = DEFAULT_CLUSTER
"""Name of a kind cluster for a plane that nobody has named."""

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """One kind of plane. ``possible``: it can be made on this machine by this version."""

    kind: str
    supported: bool
    checks: tuple[Check, ...]

    @property
    def possible(self) -> bool:
        return self.supported and not self.of(State.MISSING)

    def of(self, state: State) -> list[Check]:
        return [check for check in self.checks if check.state is state]

    @property
    def message(self) -> str:
        absent = ", ".join(dict.fromkeys(check.name for check in self.of(State.MISSING)))
        count = len(self.of(State.WARNING))
        warnings = f" ({count} warning{'s' if count > 1 else ''})" if count else ""
        if not self.supported:
            here = f"missing here: {absent}" if absent else "this machine has what it would need"
            return f"not in this version of capi-llm; {here}{warnings}"
        return (
            f"can not be made here; missing: {absent}{warnings}" if absent else f"can be made here{warnings}"
        )


def examine(
    settings: Settings, *, kinds: Sequence[str] = KINDS, name: str = "", kubeconfig: Path | None = None,
    context: str = "",
) -> list[Verdict]:  # fmt: skip
    """A verdict for each of ``kinds``. Takes no lock, writes nothing, and ends within seconds.

    ``name`` is that of the plane to be made. ``kubeconfig`` and ``context`` are for the
    kind ``existing``. Raises BadInput for a ``name`` that is no plane's.
    """
    env = command_environment()
    try:
        name = plane.choose_name(settings, name)
    except CapiLlmError as error:
        if error.exit_code == 2:
            raise
        name = "sandbox"  # several planes, and none named: any will do here
    jobs: dict[str, Callable[[], Any]] = {}
    if "sandbox" in kinds:
        jobs |= {
            "machine": machine.gather,
            "parts": lambda: parts.gather(settings),
            "folders": lambda: folders.gather(settings, name, building=False),
            "ports": lambda: ports.gather(settings),
            "planes": lambda: planes.gather(settings),
        }
    if "kind" in kinds:
        jobs |= {
            "docker": lambda: facts.gather(env, seconds=PROBE_SECONDS),
            "programs": lambda: programs.gather(env, _cached(settings)),
            "host": lambda: host.gather({key for key, value in everything().items() if value}),
        }
    if "sandbox" in kinds or "kind" in kinds:
        jobs["proxies"] = lambda: proxies.gather(env)
    if "existing" in kinds:
        jobs["existing"] = lambda: _existing(env, kubeconfig, context)
    looks = side_by_side(jobs, seconds=ALL_SECONDS)
    judges = {
        "sandbox": lambda: _sandbox(looks),
        "kind": lambda: _kind(looks, _KIND_NAME if name in plane.KINDS else name),
        "existing": lambda: _judged(looks, "existing", _judge_existing),
    }
    return [Verdict(each, each in plane.KINDS, tuple(judges[each]())) for each in kinds]


def _sandbox(looks: dict[str, Look[Any]]) -> list[Check]:
    there: planes.Planes = looks["planes"].value or planes.Planes(())
    absent = looks["parts"].value is None or bool(looks["parts"].value.absent)
    return [
        *_judged(looks, "machine", lambda seen: machine.judge(seen, running=there.running)),
        *_judged(looks, "folders", lambda seen: folders.judge(replace(seen, building=absent))),
        *_judged(looks, "ports", ports.judge),
        *_judged(looks, "parts", parts.judge),
        *_judged(looks, "proxies", lambda seen: proxies.judge(seen, needed=absent)),
        *_judged(looks, "planes", planes.judge, missing=False),
    ]


def _kind(looks: dict[str, Look[Any]], name: str) -> list[Check]:
    daemon = looks["docker"].value or facts.Facts("", why=looks["docker"].why)
    return [
        *_judged(looks, "docker", facts.judge),
        *_judged(looks, "programs", programs.judge),
        *_judged(looks, "host", lambda seen: host.judge(seen, name=name, docker=daemon)),
        *_judged(looks, "proxies", lambda seen: [proxies.in_nodes(seen)], missing=False),
    ]


def _existing(env: dict[str, str], path: Path | None, context: str) -> tuple[kubeconfigs.Kubeconfig, Any]:
    found = kubeconfigs.gather(env, path=path, context=context)
    return found, existing.gather(Path(found.path), found.context) if found.usable else None


def _judge_existing(seen: tuple[kubeconfigs.Kubeconfig, existing.Existing | None]) -> list[Check]:
    file, server = seen
    return [*kubeconfigs.judge(file), *(existing.judge(server) if server else ())]


_NAMES = {"parts": "executables", "planes": "planes that are there", "host": "this machine"}


def _judged(
    looks: dict[str, Look[Any]], theme: str, judge: Callable[[Any], list[Check]], *, missing: bool = True
) -> list[Check]:
    """The checks of a theme; one that says so where it could not be looked at."""
    look = looks[theme]
    if look.value is not None:
        return judge(look.value)
    name = _NAMES.get(theme, theme)
    text, fix = f"can not be looked at: {look.why}", "see the reason, and run doctor again"
    return [_missing(name, text, fix) if missing else warning(name, text, fix)]


_missing = missing


def _cached(settings: Settings) -> dict[str, Path]:
    """kubectl and clusterctl of the sandbox, which need not be on PATH."""
    try:
        return executables.paths(settings)
    except NotFound:
        return {}


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The list ``planes`` of ``doctor -o json``."""
    return [
        {
            "kind": verdict.kind,
            "supported": verdict.supported,
            "possible": verdict.possible,
            "message": verdict.message,
            "checks": [
                {"name": item.name, "state": item.state.value, "message": item.message, "fix": item.fix}
                for item in verdict.checks
            ],
        }
        for verdict in verdicts
    ]
