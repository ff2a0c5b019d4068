"""Runs a recipe: a literal tuple of steps, each naming the earlier ones that it needs.

Steps whose needs are met run side by side. A step that is READY is not touched. When one
fails, those that do not need it go on, those that do are not started, and all failures
are reported together.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from capi_llm.errors import CapiLlmError, Interrupted, PrerequisiteMissing, StepFailed, Unavailable
from capi_llm.steps.context import Context
from capi_llm.waiting import State, Status, Waiter, look, pending, until

_log = logging.getLogger(__name__)

_SIGNAL_SECONDS = 0.5
"""A signal that comes just before Python sleeps does not wake it; it is noticed after this long."""

_LOOKS_AT_ONCE = 8
_AWAY_SECONDS = 30.0
"""How long a step is applied again while a server is away; a request waits for some seconds by itself."""


@dataclass(frozen=True)
class Problem:
    """Something outside capi-llm that a step will fail on, found before anything is touched."""

    what: str
    fix: str


class Step(ABC):
    """One thing to be there.

    ``timeout`` (seconds) is from apply to ready, ``interval`` (seconds) between two looks.
    """

    name: str
    needs: tuple[str, ...] = ()
    version: str = ""
    """Of what it brings, where that has one: for plans."""

    timeout: float = 60.0
    interval: float = 0.1

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        """What would make this step fail, without changing anything."""
        return ()

    @abstractmethod
    def probe(self, ctx: Context) -> Status:
        """Whether it is there. Changes nothing."""

    def glance(self, ctx: Context) -> Status:
        """The same for a reader, cheaper where that can be: READY only where :meth:`probe` would be."""
        return self.probe(ctx)

    @abstractmethod
    def apply(self, ctx: Context) -> None:
        """Bring it about, as far as it is not there. May return before it is ready."""

    def remove(self, ctx: Context) -> None:  # noqa: B027  most steps have nothing of their own to remove
        """Take it away; nothing happens if it is not there."""


Recipe = tuple[Step, ...]
Outcome = Literal["unchanged", "done", "failed", "not started"]


@dataclass(frozen=True)
class Result:
    """How one step ended, after how many seconds."""

    step: str
    outcome: Outcome
    status: Status
    seconds: float = 0.0
    version: str = ""


def preflight(recipe: Recipe, ctx: Context) -> None:
    """Raise PrerequisiteMissing that lists every problem of every step."""
    problems = [problem for step in recipe for problem in step.preflight(ctx)]
    if problems:
        raise PrerequisiteMissing(
            "this machine is not ready, nothing was changed"
            if len(problems) == 1
            else f"{len(problems)} things on this machine are not ready, nothing was changed",
            why="; ".join(problem.what for problem in problems),
            fix="; ".join(dict.fromkeys(problem.fix for problem in problems if problem.fix)),
        )


def probe_all(recipe: Recipe, ctx: Context, *, glance: bool = False) -> list[Result]:
    """The state of every step, changing nothing: what ``--dry-run`` shows, and with ``glance`` ``status``.

    A step whose needs are not ready is not probed: it is PENDING, and its message names them.
    Steps whose needs are met are looked at side by side.
    """
    ctx = replace(ctx, seen={})
    results: dict[str, Result] = {}

    def look_at(step: Step) -> Status:
        missing = [name for name in step.needs if not results[name].status.ready]
        if missing:
            return pending(f"needs {', '.join(missing)}")
        return _look_safely(step.glance if glance else step.probe, ctx)

    left = list(recipe)
    with concurrent.futures.ThreadPoolExecutor(_LOOKS_AT_ONCE, "look") as pool:
        while left:
            now = [step for step in left if all(name in results for name in step.needs)]
            for step, status in zip(now, pool.map(look_at, now), strict=True):
                outcome: Outcome = "unchanged" if status.ready else "not started"
                results[step.name] = Result(step.name, outcome, status, version=step.version)
            left = [step for step in left if step.name not in results]
    return [results[step.name] for step in recipe]


def run(recipe: Recipe, ctx: Context) -> list[Result]:
    """Bring every step about. Raises StepFailed naming all failures, Interrupted on Ctrl-C."""
    check(recipe)
    return _Run(recipe, ctx).results()


def remove(recipe: Recipe, ctx: Context) -> None:
    """Take every step away, last first. Goes on after a failure and raises all of them at the end."""
    failures: list[str] = []
    for step in reversed(recipe):
        try:
            step.remove(ctx)
        except CapiLlmError as error:
            failures.append(f"{step.name}: {error}")
    if failures:
        raise StepFailed(
            "not everything could be removed", why="; ".join(failures), fix="run the command again"
        )


class _Run:
    def __init__(self, recipe: Recipe, ctx: Context) -> None:
        self._steps = recipe
        self._ctx = ctx
        self._done: dict[str, Result] = {}
        self._errors: dict[str, CapiLlmError] = {}
        self._lock = threading.Lock()

    def results(self) -> list[Result]:
        with concurrent.futures.ThreadPoolExecutor(max(1, len(self._steps)), "step") as pool:
            running: dict[concurrent.futures.Future[Result], str] = {}
            waiting = list(self._steps)
            try:
                _start_threads(pool, len(self._steps))
                while waiting or running:
                    waiting = self._start(pool, waiting, running)
                    if not running:
                        break
                    finished, _ = concurrent.futures.wait(
                        running, _SIGNAL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
                    )
                    for future in finished:
                        self._done[running.pop(future)] = future.result()
            except KeyboardInterrupt:
                self._ctx.cancel.set()
            except BaseException:
                # A fault of ours: what still runs ends now, and not at its own deadline.
                self._ctx.cancel.set()
                raise
        if self._ctx.cancel.is_set:
            raise Interrupted(
                "interrupted",
                why="what was done so far is kept",
                fix="run the same command again; it goes on there",
            )
        return self._judge()

    def _start(
        self,
        pool: concurrent.futures.Executor,
        waiting: list[Step],
        running: dict[concurrent.futures.Future[Result], str],
    ) -> list[Step]:
        left: list[Step] = []
        for step in waiting:
            needed = [self._done.get(name) for name in step.needs]
            if any(result and result.outcome in ("failed", "not started") for result in needed):
                names = ", ".join(
                    result.step for result in needed if result and result.outcome not in ("done", "unchanged")
                )
                self._done[step.name] = Result(step.name, "not started", pending(f"needs {names}"))
                self._ctx.report.step(self._done[step.name].step, self._done[step.name].status)
            elif all(needed):
                running[pool.submit(self._bring_about, step)] = step.name
            else:
                left.append(step)
        return left

    def _bring_about(self, step: Step) -> Result:
        started = time.monotonic()
        report = self._ctx.report
        ctx = replace(self._ctx, waiter=Waiter(cancel=self._ctx.cancel, interval=step.interval))
        outcome: Outcome = "unchanged"
        try:
            ctx.cancel.check()
            status = look(lambda: step.probe(ctx))
            if not status.ready:
                outcome = "done"
                report.step(step.name, status)
                _log.info("step %s: %s", step.name, status.message)
                self._apply(step, ctx)
                ctx.waiter.report = lambda status: report.step(step.name, status)
                status = until(
                    lambda: step.probe(ctx), what=step.name, timeout=step.timeout, waiter=ctx.waiter
                )
        except CapiLlmError as error:
            outcome, status = "failed", Status(State.FAILED, error.brief, fix=error.fix)
            with self._lock:
                self._errors[step.name] = error
        except Exception as error:
            error.add_note(f"in step {step.name}")
            raise
        seconds = time.monotonic() - started
        _log.info("step %s %s: %s", step.name, outcome, status.message, extra={"seconds": round(seconds, 1)})
        report.step(step.name, status, outcome=outcome, seconds=seconds)
        return Result(step.name, outcome, status, seconds)

    def _apply(self, step: Step, ctx: Context) -> None:
        """Again for a while where a server can not be asked: it may be starting, as may a webhook."""
        deadline: float | None = None
        while True:
            try:
                return step.apply(ctx)
            except Unavailable as error:
                now = time.monotonic()
                deadline = now + _AWAY_SECONDS if deadline is None else deadline
                if now >= deadline:
                    raise
                self._ctx.report.step(step.name, pending(error.brief, fix=error.fix))
            ctx.cancel.sleep(step.interval)
            ctx.cancel.check()

    def _judge(self) -> list[Result]:
        if len(self._errors) == 1:
            ((name, error),) = self._errors.items()
            error.on = error.on or f"step {name}"
            raise error
        if self._errors:
            failure = StepFailed(
                f"{len(self._errors)} steps failed",
                why="; ".join(f"{name}: {error.brief}" for name, error in self._errors.items()),
                fix="; ".join(dict.fromkeys(error.fix for error in self._errors.values() if error.fix)),
            )
            failure.exit_code = max(error.exit_code for error in self._errors.values())
            raise failure
        return [self._done[step.name] for step in self._steps]


def _start_threads(pool: concurrent.futures.Executor, count: int) -> None:
    """Have all threads before the first step: Ctrl-C in the start of one would leave it to nobody."""
    opened = threading.Event()
    try:
        for _ in range(count):
            pool.submit(opened.wait)
    finally:
        opened.set()


def _look_safely(probe: Callable[[Context], Status], ctx: Context) -> Status:
    try:
        return look(lambda: probe(ctx))
    except Interrupted:
        raise
    except CapiLlmError as error:
        return Status(State.FAILED, error.brief, fix=error.fix)
    except OSError as error:  # a file that somebody takes away meanwhile
        return Status(State.FAILED, str(error))


def check(recipe: Sequence[Step]) -> None:
    """Raise ValueError where a step comes twice, or before one that it needs."""
    seen: set[str] = set()
    for step in recipe:
        unknown = set(step.needs) - seen
        if unknown or step.name in seen:
            raise ValueError(f"step {step.name!r} comes twice, or before {sorted(unknown)} that it needs")
        seen.add(step.name)
