"""The sandbox's supervisor, and each process that it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.identity import check_uid
from capi_llm.sandbox import executables, ports, processes
from capi_llm.sandbox.health import health
from capi_llm.sandbox.logs import lines
from capi_llm.sandbox.parts import Part, parts
from capi_llm.sandbox.supervisor import SUPERVISOR, Supervisor
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.waiting import Status, pending, ready, until

_MEMORY_BYTES = 1280 * 1024**2
"""Memory that a sandbox with a few clusters takes (measured: docs/sandbox.md)."""


class SupervisorRuns(Step):
    """The supervisor answers and has the configuration of this version."""

    name = SUPERVISOR
    timeout = budgets.SUPERVISOR

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        running = processes.running(ctx.identity.instance).values()
        for name, port in ports.taken_by_others(ctx.identity.ports, running).items():
            yield Problem(
                f"another program listens on 127.0.0.1:{port}, which is {name}'s port",
                f"end that program (`ss -ltnp 'sport = :{port}'` names it), or use another --name",
            )
        if not running and (free := processes.free_memory()) < _MEMORY_BYTES:
            yield Problem(
                f"{free // 1024**2} MiB of memory are free, {_MEMORY_BYTES // 1024**2} are needed",
                "end some programs, or destroy a sandbox: `capi-llm planes list`",
            )
        if "capi-docker" not in running:
            for port in ports.IN_MEMORY_PORTS:
                if not ports.free(port, ctx.identity.loopback):
                    yield Problem(
                        f"another program listens on {ctx.identity.loopback}:{port}, "
                        "which the simulated machines need",
                        f"end that program (`ss -ltnp 'sport = :{port}'` names it)",
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
                "processes of the sandbox are still there", on=names, fix="run the command again"
            )
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
        supervisor = Supervisor(ctx.sandbox)
        state = supervisor.states().get(self.name, "STOPPED")
        if state not in ("RUNNING", "STARTING"):
            return self._stopped(ctx, state)
        part = next(part for part in _parts(ctx) if part.name == self.name)
        client = "etcd-client" if self.name == "etcd" else "admin"
        answer = health(
            part.health,
            authority=ctx.sandbox.certificate("etcd-ca" if self.name == "etcd" else "ca"),
            certificate=ctx.sandbox.certificate(client),
            key=ctx.sandbox.key(client),
        )
        return answer if answer.ready else pending(f"started, {answer.message}")

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
            f"it ended and is started again; its last words: {last[-300:]}", fix=f"capi-llm logs {self.name}"
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


def _released(ctx: Context, stopped: Iterable[str]) -> Status:
    """READY when the ports of the ``stopped`` parts are free: a killed process holds them a moment longer."""
    held = [
        f"{name} ({port})"
        for name, port in ctx.identity.ports.items()
        if ports.owner(name) in stopped and not ports.free(port)
    ]
    return pending(f"ports are still in use: {', '.join(held)}") if held else ready()


def _parts(ctx: Context) -> tuple[Part, ...]:
    identity = ctx.identity
    return parts(ctx.sandbox, identity.ports, identity.loopback, executables.paths(ctx.settings))
