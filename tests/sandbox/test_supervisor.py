"""A real supervisor with small real parts: start, restart, reload, stop, and what is left after kills."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.sandbox import processes, supervisor
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import Part
from capi_llm.sandbox.supervisor import (
    INSTANCE_MARK,
    PART_MARK,
    SUPERVISOR,
    Supervisor,
    commands_of,
    configuration,
    instance_of,
)
from capi_llm.waiting import Waiter, pending, ready, until

PATIENCE = 30.0

_TALKS = """
import json, os, sys, time
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid()}), flush=True)
time.sleep(600)
"""


def eventually(true: Callable[[], object], what: str) -> None:
    until(
        lambda: ready() if true() else pending("not yet"),
        what=what,
        timeout=PATIENCE,
        waiter=Waiter(interval=0.02),
    )


def one_line(source: str) -> str:
    """Python source as one line: a supervisor's configuration holds no others."""
    return f"exec({source!r})"


def part(name: str, *args: str, **env: str) -> Part:
    return Part(name, (sys.executable, "-c", one_line(_TALKS), *args), "http://127.0.0.1:1/healthz", env)


def runs(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class Small:
    """One supervisor in a folder of its own."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.instance = secrets.token_hex(8)
        self.supervisor = Supervisor(layout)

    def configure(self, *parts: Part) -> None:
        self.supervisor.configure(parts, self.instance)

    def start(self, *parts: Part) -> None:
        self.configure(*parts)
        for part in parts:
            self.supervisor.start_part(part.name)
        for part in parts:
            self.said(part.name)

    def said(self, name: str, turn: int = -1, at_least: int = 1) -> dict[str, object]:
        """What a part said of itself when it started."""

        def lines() -> list[str]:
            log = self.layout.log(name)
            return log.read_text().splitlines() if log.exists() else []

        eventually(lambda: len(lines()) >= at_least, f"{name} says something")
        found = json.loads(lines()[turn])
        assert isinstance(found, dict)
        return found

    def pids(self) -> dict[str, int]:
        return {name: pid for pid, name in processes.running(self.instance).items()}

    def stop(self, *, at_once: bool = False) -> list[str]:
        return processes.stop(self.layout, self.instance, at_once=at_once)


@pytest.fixture
def small(here: Layout) -> Iterator[Small]:
    found = Small(here)
    try:
        yield found
    finally:
        for pid in processes.running(found.instance):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# Configuration


@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "100%", "%(here)s", "a;b", "a#b", "it's", "a,b", "a=b", "ünï", "$HOME", "a\\b", "~a"],
)
def test_parts_get_exactly_what_they_were_given_wherever_the_sandbox_is(small: Small, name: str) -> None:
    small.layout = Layout(small.layout.root / name)
    small.supervisor = Supervisor(small.layout)
    args = (
        f"--data={small.layout.root}/x",
        "100%",
        "%(ENV_HOME)s",
        'a "b" c',
        "it's",
        "",
        "$HOME `id` \\n",
        "--a=b,c",
    )
    small.start(part("one", *args, WHERE=f"{small.layout.root}/w,x=y", ODD="50% it's $HOME"))
    said = small.said("one")
    assert said["argv"] == list(args)
    env = said["env"]
    assert isinstance(env, dict)
    assert env["WHERE"] == f"{small.layout.root}/w,x=y"
    assert env["ODD"] == "50% it's $HOME"
    assert (env[INSTANCE_MARK], env[PART_MARK]) == (small.instance, "one")
    assert instance_of(small.layout) == small.instance
    assert commands_of(small.layout) == {"one": list(part("one", *args).argv)}


@pytest.mark.parametrize(
    "bad",
    [
        part("one", "a\nb"),
        part("one", "a #b"),
        part("one", "a ;b"),
        part("one", WHERE='a"b'),
        part("one", WHERE="a\nb"),
        part("one", WHERE="a ;b"),
    ],
)
def test_what_the_configuration_can_not_hold_is_refused(here: Layout, bad: Part) -> None:
    bad = replace(bad, argv=(bad.argv[0], *bad.argv[3:]))
    with pytest.raises(BadInput, match="can not be used"):
        configuration(here, (bad,), "word")


@pytest.mark.parametrize(
    "text", ["", "garbage", "[program:one]\n", "[program:one]\ncommand\n", "\x00", "[a]\n[a]\n"]
)
def test_a_damaged_configuration_names_nothing(here: Layout, text: str) -> None:
    here.config.mkdir(parents=True)
    assert (instance_of(here), commands_of(here)) == ("", {})
    here.supervisor_config.write_text(text)
    assert (instance_of(here), commands_of(here)) == ("", {})
    here.supervisor_config.write_bytes(b"\xff\xfe")
    assert (instance_of(here), commands_of(here)) == ("", {})


def test_parts_inherit_nothing_that_could_be_a_secret(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGROK_AUTHTOKEN", "hunter2")
    small.start(part("one"))
    assert "hunter2" not in json.dumps(small.said("one"))
    assert b"hunter2" not in Path(f"/proc/{small.pids()[SUPERVISOR]}/environ").read_bytes()


# Running


def test_nothing_runs_before_it_is_configured_and_nothing_starts_by_itself(small: Small) -> None:
    assert not small.supervisor.running()
    assert not small.supervisor.configured((part("one"),), small.instance)
    with pytest.raises(CapiLlmError, match="does not answer") as caught:
        small.supervisor.states()
    assert "bootstrap" in caught.value.fix
    small.configure(part("one"), part("two"))
    assert small.supervisor.running()
    assert small.supervisor.configured((part("one"), part("two")), small.instance)
    assert small.supervisor.states() == {"one": "STOPPED", "two": "STOPPED"}
    assert set(small.pids()) == {SUPERVISOR}


def test_parts_are_started_and_stopped_one_by_one_and_twice_is_as_good_as_once(small: Small) -> None:
    small.start(part("one"), part("two"))
    first = small.pids()
    assert set(first) == {SUPERVISOR, "one", "two"}
    small.supervisor.start_part("one")
    assert small.pids() == first
    for _ in range(2):
        small.supervisor.stop_part("one")
        assert small.supervisor.states()["one"] == "STOPPED"
    assert set(small.pids()) == {SUPERVISOR, "two"}
    with pytest.raises(CapiLlmError, match=r"refused (startProcess|getProcessInfo)"):
        small.supervisor.start_part("three")


def test_nothing_of_it_may_be_read_or_called_by_others(small: Small) -> None:
    small.start(part("one"))
    assert stat.S_IMODE(small.layout.socket.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(small.layout.socket.stat().st_mode)
    files = [path for path in small.layout.root.rglob("*") if path.is_file()]
    assert {"supervisord.conf", "supervisor.pid", "one.log", "supervisor.log"} <= {
        path.name for path in files
    }
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_supervisor_outlives_the_command_that_started_it(small: Small) -> None:
    small.start(part("one"))
    process = psutil.Process(small.pids()[SUPERVISOR])
    assert process.terminal() is None
    assert os.getsid(process.pid) != os.getsid(0)
    assert os.getpid() not in [parent.pid for parent in process.parents()[:1]]


def test_a_part_that_is_killed_is_started_again(small: Small) -> None:
    small.start(part("one"))
    for turn in range(1, 3):
        pid = small.said("one", at_least=turn)["pid"]
        assert isinstance(pid, int)
        eventually(lambda: small.supervisor.states()["one"] == "RUNNING", "one runs")
        os.kill(pid, signal.SIGKILL)
        assert small.said("one", at_least=turn + 1)["pid"] != pid


def test_a_part_that_can_not_start_is_tried_again_and_says_why(small: Small) -> None:
    fails = Part("fails", (sys.executable, "-c", one_line("print('no such flag'); raise SystemExit(1)")), "")
    small.configure(fails, replace(fails, name="absent", argv=("/nowhere/etcd",)))
    small.supervisor.start_part("fails")
    eventually(lambda: small.layout.log("fails").read_text().count("no such flag") >= 2, "a second try")
    assert small.supervisor.why("fails")
    with pytest.raises(CapiLlmError, match=r"refused (startProcess|getProcessInfo).*NO_FILE"):
        small.supervisor.start_part("absent")


def test_a_part_that_keeps_ending_is_tried_at_once_when_told_to(small: Small) -> None:
    """The supervisor waits a second longer after each try: in a night on a full disk, for minutes."""
    here = small.layout.root.parent / "room"
    source = f"import os, time; os.path.exists({str(here)!r}) or exit(1); time.sleep(600)"
    small.configure(Part("fails", (sys.executable, "-c", one_line(source)), ""))
    small.supervisor.start_part("fails")
    eventually(lambda: "Exited too quickly" in small.supervisor.why("fails"), "a first end")
    tries = 0

    def many() -> bool:
        nonlocal tries
        if small.supervisor.states()["fails"] == "BACKOFF":
            small.supervisor.start_part("fails")
            tries += 1
        return tries > 11

    # Twelve tries by itself would take 1 + 2 + 3 … + 12 seconds.
    until(
        lambda: ready() if many() else pending("not yet"),
        what="twelve tries", timeout=60, waiter=Waiter(interval=0.02),
    )  # fmt: skip
    here.touch()
    small.supervisor.start_part("fails")
    eventually(lambda: small.supervisor.states()["fails"] == "RUNNING", "it runs")


def test_a_new_configuration_touches_only_the_parts_that_changed(small: Small) -> None:
    small.start(part("kept"), part("changed", "old"), part("moved", WHERE="old"), part("removed"))
    before = small.pids()
    now = (part("kept"), part("changed", "new"), part("moved", WHERE="new"), part("added"))
    assert not small.supervisor.configured(now, small.instance)
    small.configure(*now)
    assert small.supervisor.configured(now, small.instance)
    states = small.supervisor.states()
    assert states.pop("kept") in ("STARTING", "RUNNING")
    assert states == {"changed": "STOPPED", "moved": "STOPPED", "added": "STOPPED"}
    assert {name: pid for name, pid in before.items() if runs(pid)} == {
        SUPERVISOR: before[SUPERVISOR],
        "kept": before["kept"],
    }
    for name in ("changed", "moved", "added"):
        small.supervisor.start_part(name)
    assert small.said("changed", at_least=2)["argv"] == ["new"]
    moved = small.said("moved", at_least=2)["env"]
    assert isinstance(moved, dict)
    assert moved["WHERE"] == "new"


def test_the_same_configuration_again_touches_nothing(small: Small) -> None:
    small.start(part("one"))
    before = small.pids()
    small.configure(part("one"))
    assert small.pids() == before
    assert small.supervisor.states()["one"] in ("STARTING", "RUNNING")


def test_a_part_that_keeps_ending_gets_its_new_configuration(small: Small) -> None:
    fails = Part("one", (sys.executable, "-c", "raise SystemExit(1)"), "")
    small.configure(fails)
    small.supervisor.start_part("one")
    eventually(lambda: small.supervisor.states()["one"] == "BACKOFF", "it is waiting to be started again")
    small.start(part("one", "good"))
    assert small.said("one")["argv"] == ["good"]


def test_a_reload_that_was_cut_off_is_finished_by_the_next(small: Small) -> None:
    """A kill between writing the configuration and telling the supervisor."""
    small.start(part("one", "old"))
    changed = (part("one", "new"), part("two"))
    small.layout.supervisor_config.write_text(configuration(small.layout, changed, small.instance))
    assert not small.supervisor.configured(changed, small.instance)
    small.supervisor._call("reloadConfig")
    small.supervisor.stop_part("one")
    small.supervisor._call("removeProcessGroup", "one")
    small.configure(*changed)
    assert small.supervisor.states() == {"one": "STOPPED", "two": "STOPPED"}


def test_a_part_that_is_ending_is_waited_for(small: Small) -> None:
    """Who told it to stop was killed meanwhile."""
    slow = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(4), sys.exit())); "
        "print('{}', flush=True); time.sleep(600)"
    )
    small.start(Part("one", (sys.executable, "-c", slow), ""))
    small.supervisor._call("stopProcess", "one", False)
    assert small.supervisor.states()["one"] == "STOPPING"
    small.start(part("one", "good"))
    assert small.said("one", at_least=2)["argv"] == ["good"]


def test_a_new_supervisor_takes_the_place_of_a_killed_one(small: Small) -> None:
    small.start(part("one"))
    old = small.pids()
    os.kill(old[SUPERVISOR], signal.SIGKILL)
    eventually(lambda: not runs(old[SUPERVISOR]), "the supervisor ends")
    assert not small.supervisor.running()
    assert small.layout.socket.exists()  # stale
    assert runs(old["one"])
    assert small.stop() == ["one"]
    small.start(part("one"))
    eventually(lambda: small.pids().get("one") not in (None, old["one"]), "a new process")


def test_a_supervisor_that_hangs_does_not_hang_us(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    small.start(part("one"))
    monkeypatch.setattr(supervisor, "_ANSWER_SECONDS", 0.2)
    pid = small.pids()[SUPERVISOR]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not small.supervisor.running()
        with pytest.raises(CapiLlmError, match="does not answer"):
            small.supervisor.states()
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(small.supervisor.running, "it answers again")


# Ending


@pytest.mark.parametrize("at_once", [False, True])
def test_stop_ends_everything_and_names_it(small: Small, at_once: bool) -> None:
    small.start(part("one"), part("two"))
    pids = small.pids()
    assert set(small.stop(at_once=at_once)) == {SUPERVISOR, "one", "two"}
    assert not any(runs(pid) for pid in pids.values())
    assert processes.running(small.instance) == {}
    assert small.stop(at_once=at_once) == []


@pytest.mark.parametrize("at_once", [False, True])
def test_stop_finds_the_parts_of_a_supervisor_that_was_killed(small: Small, at_once: bool) -> None:
    small.start(part("one"), part("two"))
    pids = small.pids()
    os.kill(pids.pop(SUPERVISOR), signal.SIGKILL)
    eventually(lambda: SUPERVISOR not in small.pids(), "the supervisor ends")
    assert small.pids() == pids
    assert set(small.stop(at_once=at_once)) == {"one", "two"}
    assert not any(runs(pid) for pid in pids.values())


def test_a_part_that_does_not_listen_is_killed(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = Part(
        "deaf",
        (
            sys.executable,
            "-c",
            one_line(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){_TALKS}"),
        ),
        "",
        stop_seconds=1,
    )
    small.start(deaf)
    pids = small.pids()
    os.kill(pids[SUPERVISOR], signal.SIGKILL)
    monkeypatch.setattr(processes, "_PATIENCE", 0.3)
    assert "deaf" in small.stop()
    eventually(lambda: not runs(pids["deaf"]), "the deaf part ends")


def test_a_part_that_was_started_just_before_its_supervisor_was_killed_is_ended(small: Small) -> None:
    """Parts that die all the time are always just being started."""
    flaps = Part("flaps", (sys.executable, "-c", one_line("import time; time.sleep(0.05)")), "")
    small.configure(*(replace(flaps, name=f"flaps-{number}") for number in range(3)))
    for number in range(3):
        small.supervisor.start_part(f"flaps-{number}")
    small.stop(at_once=True)
    eventually(lambda: not small.pids(), "all of it ends")


def test_what_was_started_while_the_others_were_ended_is_ended_too(small: Small) -> None:
    """As a part that the supervisor starts again just before it ends itself."""
    restarts = (
        "import os, signal, subprocess, sys\n"
        "def again(number, frame):\n"
        "    wait = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "    subprocess.Popen(wait, start_new_session=True)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, again)"
    )
    small.start(Part("one", (sys.executable, "-c", one_line(restarts + _TALKS)), ""))
    assert set(small.stop()) == {SUPERVISOR, "one"}
    assert small.pids() == {}


def test_two_sandboxes_do_not_end_each_other(small: Small) -> None:
    other = Small(Layout(small.layout.root.parent / "other"))
    try:
        small.start(part("one"))
        other.start(part("one"))
        small.stop()
        assert set(other.pids()) == {SUPERVISOR, "one"}
        assert other.supervisor.running()
    finally:
        other.stop(at_once=True)


# What is not ours


@contextlib.contextmanager
def foreign(*argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, env={**os.environ, **env}) as process:
        try:
            yield process
        finally:
            process.kill()


def _sleep() -> str:
    found = shutil.which("sleep")
    assert found
    return str(Path(found).resolve())


def test_what_carries_no_mark_or_anothers_is_left_alone(small: Small) -> None:
    """Also where it executes the very same program, and where a pid file names it."""
    small.configure(Part("one", (_sleep(), "600"), ""))
    with (
        foreign(_sleep(), "600") as plain,
        foreign(_sleep(), "600", **{INSTANCE_MARK: "other", PART_MARK: "one"}) as others,
        foreign(_sleep(), "600", **{INSTANCE_MARK: "", PART_MARK: "one"}) as empty,
    ):
        (small.layout.root / "supervisor.pid").write_text(f"{plain.pid}\n")
        assert set(small.pids()) == {SUPERVISOR}
        small.stop(at_once=True)
        for process in (plain, others, empty):
            assert process.poll() is None


def test_what_carries_the_mark_but_executes_something_else_is_left_alone(small: Small) -> None:
    """A shell that was started with a part's environment, for one."""
    small.configure(part("one"))
    marks = {INSTANCE_MARK: small.instance}
    with (
        foreign(_sleep(), "600", **marks, **{PART_MARK: "one"}) as as_part,
        foreign(_sleep(), "600", **marks, **{PART_MARK: SUPERVISOR}) as as_supervisor,
        foreign(_sleep(), "600", **marks, **{PART_MARK: "unknown"}) as unknown,
        foreign(_sleep(), "600", **marks) as without,
    ):
        strangers = (as_part, as_supervisor, unknown, without)
        eventually(
            lambda: {process.pid for process in strangers} <= set(processes.running(small.instance)),
            "all of them are seen",
        )
        assert small.stop(at_once=True) == [SUPERVISOR]
        for process in strangers:
            assert process.poll() is None


def test_a_script_of_the_users_own_is_ended_with_what_it_started(small: Small) -> None:
    """A wrapper executes its interpreter, and not the file that the configuration names."""
    root = small.layout.root.parent
    runs, replaced = root / "runs", root / "replaced"
    for path, line in ((runs, f"{_sleep()} 601 & wait"), (replaced, f"exec -a other {_sleep()} 600 600")):
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)
    small.configure(
        Part("runs", (str(runs), "--data=x", "600"), ""), Part("replaced", (str(replaced), "600", "600"), "")
    )
    for name in ("runs", "replaced"):
        small.supervisor.start_part(name)
    marked = lambda: processes.running(small.instance)  # noqa: E731
    eventually(
        lambda: sorted(marked().values()) == ["replaced", "runs", "runs", SUPERVISOR], "all of them run"
    )
    os.kill(small.pids()[SUPERVISOR], signal.SIGKILL)
    with foreign(_sleep(), "602", **{INSTANCE_MARK: small.instance, PART_MARK: "runs"}) as stranger:
        eventually(lambda: SUPERVISOR not in small.pids(), "the supervisor ends")
        assert set(small.stop(at_once=True)) == {"runs", "replaced"}
        eventually(lambda: set(marked()) == {stranger.pid}, "nothing but the stranger is left")
        assert stranger.poll() is None


def test_no_instance_is_no_process() -> None:
    with foreign(_sleep(), "600", **{INSTANCE_MARK: ""}):
        assert processes.running("") == {}


def test_a_signal_does_not_reach_who_got_the_pid_later() -> None:
    """A process object whose start time is another's stands for one whose pid was given away."""
    with foreign(_sleep(), "600") as process:
        stale = psutil.Process(process.pid)
        stale._ident = (stale.pid, stale.create_time() - 100)  # type: ignore[attr-defined]
        processes._signal(stale, signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        processes._signal(psutil.Process(process.pid), signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
        processes._signal(stale, signal.SIGKILL)


def test_who_has_ended_meanwhile_needs_no_signal_though_its_group_is_still_there() -> None:
    """The kernel does not know its number as a process then, and still does not give it away."""
    source = (
        "import subprocess, sys; subprocess.Popen(['sleep', '600']); print(1, flush=True); sys.stdin.read()"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdin is not None
    assert leader.stdout is not None
    leader.stdout.readline()
    found = psutil.Process(leader.pid)
    leader.stdin.close()
    leader.wait(PATIENCE)
    try:
        processes._signal(found, signal.SIGKILL)
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.stdout.close()


def test_a_part_whose_executable_was_replaced_on_disk_is_still_ours(small: Small) -> None:
    """An upgrade of the cache while the sandbox runs."""
    program = small.layout.root.parent / "part"
    shutil.copy(_sleep(), program)
    small.configure(Part("one", (str(program), "600"), ""))
    small.supervisor.start_part("one")
    eventually(lambda: "one" in small.pids(), "one runs")
    eventually(lambda: psutil.Process(small.pids()["one"]).exe() == str(program), "one executes its program")
    program.unlink()
    assert set(small.stop(at_once=True)) == {SUPERVISOR, "one"}
    assert small.pids() == {}
