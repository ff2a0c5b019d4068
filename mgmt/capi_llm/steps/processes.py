"""The sandbox's supervisor, and each process that it runs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterable
from dataclasses import replace

from capi_llm.errors import CapiLlmError, NotFound, TimedOut
from capi_llm.identity import check_uid
from capi_llm.sandbox import executables, pki, ports, processes
from capi_llm.sandbox.health import of_part
from capi_llm.sandbox.logs import lines
from capi_llm.sandbox.parts import Part, parts
from capi_llm.sandbox.supervisor import CERTIFICATES_MARK, SUPERVISOR, Supervisor
from capi_llm.sandbox.workload import Workloads
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.waiting import Status, pending, ready, until

MEMORY_BYTES = 1280 * 1024**2
"""Memory that a sandbox with a few clusters takes (measured: docs/sandbox.md)."""

_DISK_BYTES = 256 * 1024**2
"""Disk that a sandbox with a few clusters takes: 132 MB with one (docs/measurements.md)."""

_FULL_BYTES = 4 * 1024**2


class SupervisorRuns(Step):
    """The supervisor answers and has the configuration of this version."""

    name = SUPERVISOR
    timeout = budgets.SUPERVISOR

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        running: Collection[str] = ()
        taken: list[Problem] = []

        def seen() -> Status:
            nonlocal running, taken
            running = processes.running(ctx.identity.instance).values()
            taken = list(_taken(ctx, running))
            return pending(taken[0].what) if taken else ready()

        # A part that has just been killed, or is just being started again, holds its ports unseen.
        with contextlib.suppress(TimedOut):
            until(
                seen,
                what="the ports of the sandbox",
                timeout=budgets.PORTS,
                waiter=replace(ctx.waiter, interval=0.1),
            )
        yield from taken
        if not running and (free := processes.free_memory()) < MEMORY_BYTES:
            yield Problem(
                f"{free // 1024**2} MiB of memory are free, {MEMORY_BYTES // 1024**2} are needed",
                "end some programs, or destroy a sandbox: `capi-llm planes list`",
            )
        if not running and (free := _free_disk(ctx)) < _DISK_BYTES:
            yield Problem(
                f"{free // 1024**2} MiB are free where {ctx.settings.state} is, "
                f"{_DISK_BYTES // 1024**2} are needed",
                "make room there, or set CAPI_LLM_STATE to a folder on another disk",
            )

    def probe(self, ctx: Context) -> Status:
        supervisor = Supervisor(ctx.sandbox)
        if not supervisor.running():
            return pending("not running")
        if not supervisor.configured(_parts(ctx), ctx.identity.instance):
            return pending("runs with another configuration")
        return ready("running")

    def apply(self, ctx: Context) -> None:
        supervisor = Supervisor(ctx.sandbox)
        if not supervisor.running():
            # Parts whose supervisor died can not be given to a new one.
            processes.stop(ctx.sandbox, ctx.identity.instance)
        supervisor.configure(_parts(ctx), ctx.identity.instance)

    def remove(self, ctx: Context) -> None:
        stopped = processes.stop(ctx.sandbox, ctx.identity.instance, at_once=True)
        left = processes.running(ctx.identity.instance)
        if left:
            names = ", ".join(f"{name} (pid {pid})" for pid, name in left.items())
            raise CapiLlmError(
                "processes with the sandbox's mark are still there, and are none of its parts",
                on=names,
                fix=f"end them (kill {' '.join(map(str, left))}), then run the command again",
            )
        # After the provider, which would start them again.
        Workloads(ctx.sandbox, ctx.identity.instance).remove_all()
        until(
            lambda: _released(ctx, stopped),
            what="the end of the sandbox's processes",
            timeout=self.timeout,
            waiter=replace(ctx.waiter, interval=0.1),
        )


class Process(Step):
    """One part: the supervisor runs it and its health check answers."""

    timeout = budgets.PROCESS

    def __init__(self, name: str, needs: tuple[str, ...]) -> None:
        self.name = name
        self.needs = needs

    def probe(self, ctx: Context) -> Status:
        states = ctx.once("states", Supervisor(ctx.sandbox).states)
        state = states.get(self.name, "STOPPED")
        if state not in ("RUNNING", "STARTING"):
            return self._stopped(ctx, state)
        part = next(part for part in _parts(ctx) if part.name == self.name)
        answer = of_part(ctx.sandbox, part)
        return answer if answer.ready else pending(f"started, {answer.message}{_full(ctx)}")

    def apply(self, ctx: Context) -> None:
        Supervisor(ctx.sandbox).start_part(self.name)

    def _stopped(self, ctx: Context, state: str) -> Status:
        if state == "STOPPED":
            return pending("not started")
        try:
            last = next(lines(ctx.sandbox.log(self.name), tail=1, follow=False), "")
        except NotFound:
            last = Supervisor(ctx.sandbox).why(self.name)
        return pending(
            f"it ended and is started again{_full(ctx)}; its last words: {last[-300:]}",
            fix=f"capi-llm logs {self.name}",
        )


class ApiServer(Process):
    """The API server: healthy, and the one that the plane was recorded with."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        super().__init__("kube-apiserver", needs)

    def probe(self, ctx: Context) -> Status:
        status = super().probe(ctx)
        if not status.ready:
            return status
        status = ctx.api().ready()
        if not status.ready:
            return status
        uid = ctx.api().uid()
        check_uid(ctx.identity, uid)
        return ready("healthy") if ctx.identity.uid else pending("its identity is to be recorded")

    def apply(self, ctx: Context) -> None:
        super().apply(ctx)
        until(
            lambda: super(ApiServer, self).probe(ctx), what=self.name, timeout=self.timeout, waiter=ctx.waiter
        )
        if not ctx.identity.uid:
            ctx.plane.record_uid(ctx.api().uid())


def _taken(ctx: Context, running: Collection[str]) -> Iterable[Problem]:
    """Each port of the sandbox that something listens on though its part is not ``running``."""
    for name, port in ports.taken_by_others(ctx.identity.ports, running).items():
        yield Problem(
            f"another program listens on 127.0.0.1:{port}, which is {name}'s port",
            f"end that program (`ss -ltnp 'sport = :{port}'` names it), or use another --name",
        )
    if "capi-docker" not in running:
        for port in ports.IN_MEMORY_PORTS:
            if not ports.free(port, ctx.identity.loopback):
                yield Problem(
                    f"another program listens on {ctx.identity.loopback}:{port}, "
                    "which the simulated machines need",
                    f"end that program (`ss -ltnp 'sport = :{port}'` names it)",
                )


def _released(ctx: Context, stopped: Iterable[str]) -> Status:
    """READY when the ports of the ``stopped`` parts are free: a killed process holds them a moment longer."""
    held = [
        f"{name} ({port})"
        for name, port in ctx.identity.ports.items()
        if ports.owner(name) in stopped and not ports.free(port)
    ]
    return pending(f"ports are still in use: {', '.join(held)}") if held else ready()


def _free_disk(ctx: Context) -> int:
    """Bytes that are free where the state folder is, or will be."""
    folder = ctx.settings.state
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _full(ctx: Context) -> str:
    return f"; the disk of {ctx.settings.state} is full" if _free_disk(ctx) < _FULL_BYTES else ""


def _parts(ctx: Context) -> tuple[Part, ...]:
    identity = ctx.identity
    paths = ctx.once("executables", lambda: executables.paths(ctx.settings))
    found = parts(ctx.sandbox, identity.ports, identity.loopback, paths)
    certificates = {CERTIFICATES_MARK: pki.fingerprint(ctx.sandbox)}
    return tuple(replace(part, env={**part.env, **certificates}) for part in found)
