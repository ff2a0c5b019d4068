"""The engine with small real steps: order, side by side, failures, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from capi_llm.errors import (
    BadInput,
    CapiLlmError,
    CommandFailed,
    Interrupted,
    PrerequisiteMissing,
    StepFailed,
    TimedOut,
    Unavailable,
)
from capi_llm.identity import Identities, Identity
from capi_llm.settings import Settings
from capi_llm.steps import engine
from capi_llm.steps.context import Context, Plane, Silent
from capi_llm.steps.engine import Problem, Step
from capi_llm.waiting import State, Status, failed, pending, ready, until

PATIENCE = 20.0
"""Seconds until a test that hangs fails."""


class Recorder(Silent):
    """A report that remembers."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}
        self.seen: list[tuple[str, Status]] = []

    def step(self, name: str, status: Status, *, outcome: str = "", seconds: float = 0.0) -> None:
        self.seen.append((name, status))
        if outcome:
            self.ended[name] = outcome


def nothing(ctx: Context) -> None:
    pass


class Made(Step):
    """A step that is ready once it was applied, as a file would be."""

    interval = 0.01

    def __init__(
        self,
        name: str,
        *needs: str,
        work: Callable[[Context], None] = nothing,
        there: bool = False,
        timeout: float = PATIENCE,
    ) -> None:
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.work = work
        self.there = there
        self.applied = 0
        self.probed = 0
        self.removed = 0

    def probe(self, ctx: Context) -> Status:
        self.probed += 1
        return ready("there") if self.there else pending("not there")

    def apply(self, ctx: Context) -> None:
        self.applied += 1
        self.work(ctx)
        self.there = True

    def remove(self, ctx: Context) -> None:
        self.removed += 1
        self.there = False


class Raises:
    """Work that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, ctx: Context) -> None:
        raise self.error


@pytest.fixture
def report() -> Recorder:
    return Recorder()


@pytest.fixture
def ctx(tmp_path: Path, report: Recorder) -> Context:
    settings = Settings(tmp_path / "state", tmp_path / "cache", tmp_path / "kubeconfigs")
    plane = Plane(Identities(settings.state), Identity("demo", "sandbox", "/none", ""))
    return Context(settings, plane, report=report)


# Order


def test_steps_come_after_what_they_need(ctx: Context) -> None:
    order: list[str] = []

    def step(name: str, *needs: str) -> Made:
        return Made(name, *needs, work=lambda ctx: order.append(name))

    results = engine.run((step("a"), step("b", "a"), step("c", "b"), step("d", "a", "c")), ctx)
    assert order == ["a", "b", "c", "d"]
    assert [(result.step, result.outcome) for result in results] == [(name, "done") for name in "abcd"]


def test_a_need_is_met_when_it_is_ready_not_when_it_was_applied(ctx: Context) -> None:
    slow = Made("slow")
    looks = iter(range(100))
    slow.probe = lambda ctx: ready() if slow.applied and next(looks) > 5 else pending("starting")  # type: ignore[method-assign]
    seen: list[bool] = []
    engine.run((slow, Made("after", "slow", work=lambda ctx: seen.append(next(looks) > 5))), ctx)
    assert seen == [True]


def test_steps_whose_needs_are_met_run_side_by_side(ctx: Context) -> None:
    """All of them must be inside ``apply`` at once, or the barrier breaks."""
    barrier = threading.Barrier(5)

    def meet(ctx: Context) -> None:
        barrier.wait(PATIENCE)

    together = tuple(Made(f"step-{number}", "first", work=meet) for number in range(5))
    engine.run((Made("first"), *together), ctx)
    assert not barrier.broken


def test_a_step_starts_when_its_own_needs_are_met_and_waits_for_no_other(ctx: Context) -> None:
    """``slow`` ends only after ``next`` has begun, so ``next`` must not wait for it."""
    begun = threading.Event()

    def slow(ctx: Context) -> None:
        assert begun.wait(PATIENCE)

    engine.run(
        (Made("quick"), Made("slow", work=slow), Made("next", "quick", work=lambda ctx: begun.set())), ctx
    )


def test_a_step_that_is_ready_is_not_touched(ctx: Context, report: Recorder) -> None:
    there = Made("there", there=True)
    results = engine.run((there, Made("new", "there")), ctx)
    assert there.applied == 0
    assert there.probed == 1
    assert [result.outcome for result in results] == ["unchanged", "done"]
    assert report.ended == {"there": "unchanged", "new": "done"}


def test_a_second_run_changes_nothing(ctx: Context) -> None:
    recipe = (Made("a"), Made("b", "a"))
    engine.run(recipe, ctx)
    assert {result.outcome for result in engine.run(recipe, ctx)} == {"unchanged"}
    assert [step.applied for step in recipe] == [1, 1]


def test_a_recipe_without_steps_is_done(ctx: Context) -> None:
    assert engine.run((), ctx) == []


@pytest.mark.parametrize(
    "recipe",
    [
        (Made("b", "a"), Made("a")),
        (Made("a", "a"),),
        (Made("a"), Made("a")),
        (Made("a", "unknown"),),
    ],
)
def test_a_recipe_in_the_wrong_order_is_refused_before_anything_is_touched(
    ctx: Context, recipe: tuple[Made, ...]
) -> None:
    with pytest.raises(ValueError, match="comes twice, or before"):
        engine.run(recipe, ctx)
    assert not any(step.probed or step.applied for step in recipe)


def test_a_server_that_is_away_while_a_step_is_applied_is_waited_for(ctx: Context, report: Recorder) -> None:
    away = [Unavailable("can not write", why="connection refused"), Unavailable("can not write", why="503")]

    def write(ctx: Context) -> None:
        if away:
            raise away.pop()

    step = Made("writes", work=write)
    step.interval = 0.01
    (result,) = engine.run((step,), ctx)
    assert (result.outcome, step.applied) == ("done", 3)


def test_a_server_that_stays_away_is_told_as_what_it_is(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_AWAY_SECONDS", 0.1)
    away = Unavailable("can not write", why="connection refused", fix="start it")
    step = Made("writes", work=Raises(away))
    step.interval = 0.05
    with pytest.raises(Unavailable) as caught:
        engine.run((step,), ctx)
    assert caught.value.fix == "start it"
    assert step.applied > 1


# Failures


def test_when_one_fails_the_others_finish_and_those_that_need_it_are_not_started(
    ctx: Context, report: Recorder
) -> None:
    failing = threading.Event()

    def fail(ctx: Context) -> None:
        failing.set()
        raise CommandFailed("helm failed", code=1, why="no such chart", fix="look")

    def go_on(ctx: Context) -> None:
        assert failing.wait(PATIENCE)

    independent, later = Made("independent", work=go_on), Made("later", "independent")
    below, deeper = Made("below", "bad"), Made("deeper", "below", "later")
    with pytest.raises(CommandFailed, match="no such chart") as caught:
        engine.run((Made("bad", work=fail), independent, later, below, deeper), ctx)
    assert caught.value.on == "step bad"
    assert later.there
    assert (below.probed, deeper.probed) == (0, 0)
    assert report.ended == {"bad": "failed", "independent": "done", "later": "done"}
    messages = {name: status.message for name, status in report.seen}
    assert messages["below"] == "needs bad"
    assert messages["deeper"] == "needs below"
    assert not ctx.cancel.is_set


def test_an_error_that_names_its_object_keeps_it(ctx: Context) -> None:
    with pytest.raises(CapiLlmError) as caught:
        engine.run((Made("bad", work=Raises(CapiLlmError("no", on="deployment x"))),), ctx)
    assert caught.value.on == "deployment x"


@pytest.mark.parametrize(
    ("errors", "exit_code"),
    [
        ([CapiLlmError("a"), CapiLlmError("b")], 1),
        ([CapiLlmError("a"), PrerequisiteMissing("b")], 3),
        ([TimedOut("a"), CapiLlmError("b"), PrerequisiteMissing("c")], 4),
        ([BadInput("a"), CapiLlmError("b")], 2),
    ],
)
def test_several_failures_are_told_together(ctx: Context, errors: list[CapiLlmError], exit_code: int) -> None:
    for number, error in enumerate(errors):
        error.why, error.fix = f"reason {number}", "look" if number else ""
    recipe = tuple(Made(f"step-{number}", work=Raises(error)) for number, error in enumerate(errors))
    with pytest.raises(StepFailed) as caught:
        engine.run(recipe, ctx)
    assert caught.value.exit_code == exit_code
    assert caught.value.what == f"{len(errors)} steps failed"
    for number, error in enumerate(errors):
        assert f"step-{number}: {error.what}: reason {number}" in caught.value.why
    assert caught.value.fix == "look"
    assert StepFailed.exit_code == 1


def test_a_step_that_never_gets_ready_says_what_it_last_saw(ctx: Context) -> None:
    never = Made("never", timeout=0.05)
    never.probe = lambda ctx: pending("1 of 3 replicas")  # type: ignore[method-assign]
    with pytest.raises(TimedOut, match="1 of 3 replicas") as caught:
        engine.run((never,), ctx)
    assert caught.value.on == "step never"


def test_a_step_whose_probe_says_failed_fails_after_it_was_tried(ctx: Context) -> None:
    bad = Made("bad")
    bad.probe = lambda ctx: failed("image not found", fix="load it")  # type: ignore[method-assign]
    with pytest.raises(CapiLlmError, match="image not found") as caught:
        engine.run((bad,), ctx)
    assert bad.applied == 1
    assert caught.value.fix == "load it"


def test_a_server_that_can_not_answer_yet_is_waited_for(ctx: Context, report: Recorder) -> None:
    answers = iter([Unavailable("connection refused"), Unavailable("503"), None])
    busy = Made("busy")

    def probe(ctx: Context) -> Status:
        error = next(answers)
        if error:
            raise error
        return ready()

    busy.probe = probe  # type: ignore[method-assign]
    (result,) = engine.run((busy,), ctx)
    assert (result.outcome, busy.applied) == ("done", 1)
    assert ("busy", pending("connection refused")) in report.seen


def test_a_fault_of_ours_gets_through_names_its_step_and_does_not_wait_for_the_others(ctx: Context) -> None:
    waiting = threading.Event()

    def break_(ctx: Context) -> None:
        assert waiting.wait(PATIENCE)
        raise KeyError("spec")

    def wait(ctx: Context) -> None:
        waiting.set()
        until(lambda: pending("for ever"), what="a thing", timeout=10 * PATIENCE, waiter=ctx.waiter)

    with pytest.raises(KeyError) as caught:
        engine.run((Made("broken", work=break_), Made("waits", work=wait)), ctx)
    assert caught.value.args == ("spec",)
    assert caught.value.__notes__ == ["in step broken"]


# Ctrl-C


def test_ctrl_c_asks_what_runs_to_stop_waits_for_it_and_starts_nothing_more(
    ctx: Context, report: Recorder
) -> None:
    stopped: list[str] = []

    def wait(ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            until(lambda: pending("for ever"), what="a thing", timeout=PATIENCE, waiter=ctx.waiter)
        except Interrupted:
            stopped.append("stopped")
            raise

    after = Made("after", "waits")
    with pytest.raises(Interrupted) as caught:
        engine.run((Made("waits", work=wait), after), ctx)
    assert caught.value.exit_code == 130
    assert "same command again" in caught.value.fix
    assert ctx.cancel.is_set
    assert stopped == ["stopped"]
    assert after.probed == 0
    assert report.ended == {"waits": "failed"}


def test_work_that_can_not_be_stopped_is_waited_for(ctx: Context) -> None:
    finished: list[bool] = []

    def work(ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not ctx.cancel.is_set:
            threading.Event().wait(0.01)
        finished.append(True)

    with pytest.raises(Interrupted):
        engine.run((Made("stubborn", work=work),), ctx)
    assert finished == [True]


def test_a_run_that_was_cancelled_before_it_began_does_nothing(ctx: Context) -> None:
    ctx.cancel.set()
    step = Made("a")
    with pytest.raises(Interrupted):
        engine.run((step,), ctx)
    assert (step.probed, step.applied) == (0, 0)


# Before and beside a run


class Choosy(Made):
    def __init__(self, name: str, *problems: Problem) -> None:
        super().__init__(name)
        self.problems = problems

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        return self.problems


def test_preflight_lists_every_problem_and_touches_nothing(ctx: Context) -> None:
    recipe = (
        Choosy("a", Problem("port 1 is taken", "end it"), Problem("port 2 is taken", "end it")),
        Choosy("b"),
        Choosy("c", Problem("no Docker", "install Docker"), Problem("no idea", "")),
    )
    with pytest.raises(PrerequisiteMissing) as caught:
        engine.preflight(recipe, ctx)
    assert caught.value.what.startswith("4 things")
    assert caught.value.why == "port 1 is taken; port 2 is taken; no Docker; no idea"
    assert caught.value.fix == "end it; install Docker"
    assert caught.value.exit_code == 3
    assert not any(step.probed or step.applied for step in recipe)
    engine.preflight((Choosy("b"),), ctx)


def test_probe_all_shows_every_step_and_changes_nothing(ctx: Context) -> None:
    recipe = (
        Made("a", there=True),
        Made("b", "a"),
        Made("c", "b"),
        Made("d", "a", "c"),
        Made("e", there=True),
    )
    results = engine.probe_all(recipe, ctx)
    assert [(result.step, result.status.state, result.status.message) for result in results] == [
        ("a", State.READY, "there"),
        ("b", State.PENDING, "not there"),
        ("c", State.PENDING, "needs b"),
        ("d", State.PENDING, "needs c"),
        ("e", State.READY, "there"),
    ]
    assert [step.probed for step in recipe] == [1, 1, 0, 0, 1]
    assert not any(step.applied for step in recipe)


def test_a_glance_asks_once_for_what_steps_share(ctx: Context) -> None:
    asked: list[str] = []

    class Glances(Made):
        def glance(self, ctx: Context) -> Status:
            ctx.once("same", lambda: asked.append(self.name))
            return ready("glanced at")

    recipe = (Glances("a"), Glances("b", "a"))
    results = engine.probe_all(recipe, ctx, glance=True)
    assert [result.status.message for result in results] == ["glanced at", "glanced at"]
    assert asked == ["a"]
    assert [step.probed for step in recipe] == [0, 0]
    for step in recipe:
        step.glance(ctx)  # outside of a round nothing is remembered
    assert asked == ["a", "a", "b"]


def test_probe_all_shows_a_server_that_can_not_answer(ctx: Context) -> None:
    step = Made("a")

    def probe(ctx: Context) -> Status:
        raise Unavailable("connection refused")

    step.probe = probe  # type: ignore[method-assign]
    (result,) = engine.probe_all((step,), ctx)
    assert result.status == pending("connection refused")


def test_remove_goes_from_the_last_to_the_first_and_on_after_a_failure(ctx: Context) -> None:
    order: list[str] = []

    class Leaves(Made):
        def remove(self, ctx: Context) -> None:
            order.append(self.name)
            if self.name in ("b", "c"):
                raise CapiLlmError(f"{self.name} stays")

    recipe = (Leaves("a"), Leaves("b", "a"), Leaves("c", "b"), Leaves("d"))
    with pytest.raises(StepFailed) as caught:
        engine.remove(recipe, ctx)
    assert order == ["d", "c", "b", "a"]
    assert caught.value.why == "c: c stays; b: b stays"


# The context


def test_the_uid_of_a_plane_is_written_down_once_it_is_known(ctx: Context) -> None:
    ctx.plane.record_uid("u-1")
    assert ctx.identity.uid == "u-1"
    found = Identities(ctx.settings.state).find("demo")
    assert found == ctx.identity
    assert ctx.sandbox.root == ctx.settings.state / "sandboxes" / "demo"


def test_each_step_waits_on_a_bell_of_its_own(ctx: Context) -> None:
    bells: list[object] = []
    recipe = tuple(Made(name, work=lambda ctx: bells.append(ctx.waiter.wakeup)) for name in "abc")
    engine.run(recipe, ctx)
    assert len({id(bell) for bell in bells}) == 3
    assert ctx.waiter.wakeup not in bells
