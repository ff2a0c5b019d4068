"""Locks between real processes: who is kept out, who is named, and what a kill leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_llm import locks
from capi_llm.errors import CapiLlmError, Refused
from capi_llm.waiting import Waiter, pending, ready, until

_HOLDER = """
import sys
from pathlib import Path
from capi_llm import locks
folder, name, command, shared = sys.argv[1:]
with locks.hold(Path(folder), name, command=command, shared=shared == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def python(source: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A real process that has printed its first line; it is gone at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def held(
    folder: Path, name: str, command: str = "other", how: str = "alone"
) -> Iterator[subprocess.Popen[str]]:
    with python(_HOLDER, str(folder), name, command, how) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def end(process: subprocess.Popen[str]) -> None:
    """Let it release its lock and end by itself."""
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_lock_keeps_others_out_and_names_the_holder(tmp_path: Path) -> None:
    with held(tmp_path, "demo", "bootstrap --name demo") as process:
        for shared in (False, True):
            with (
                pytest.raises(Refused, match="working on demo") as caught,
                locks.hold(tmp_path, "demo", command="mine", shared=shared),
            ):
                raise AssertionError("two hold it")
            assert "`bootstrap --name demo`" in caught.value.on
            assert f"pid {process.pid} on " in caught.value.on
            assert " since 20" in caught.value.on
        with locks.hold(tmp_path, "other", command="mine"):
            pass


def test_the_name_of_a_cluster_is_told_with_its_plane_and_namespace(tmp_path: Path) -> None:
    with (
        locks.hold(tmp_path, "demo.default.web", command="scale web"),
        pytest.raises(Refused, match="demo / default / web"),
        locks.hold(tmp_path, "demo.default.web", command="mine"),
    ):
        raise AssertionError("two hold it")


def test_a_lock_is_free_after_its_block_and_after_an_error_in_it(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locks.hold(tmp_path, "demo", command="mine"):
            raise ZeroDivisionError
    with locks.hold(tmp_path, "demo", command="mine"):
        pass


def test_a_killed_holder_frees_its_lock(tmp_path: Path) -> None:
    with held(tmp_path, "demo") as process:
        process.kill()
        process.wait()
        with locks.hold(tmp_path, "demo", command="mine"):
            pass


def test_sharers_work_side_by_side_and_keep_out_who_wants_it_alone(tmp_path: Path) -> None:
    with (
        held(tmp_path, "demo", "scale a", "shared") as first,
        held(tmp_path, "demo", "scale b", "shared") as second,
        locks.hold(tmp_path, "demo", command="scale c", shared=True),
    ):
        with pytest.raises(Refused) as caught, locks.hold(tmp_path, "demo", command="destroy"):
            raise AssertionError("held alone beside sharers")
        for command, pid in (("scale a", first.pid), ("scale b", second.pid), ("scale c", os.getpid())):
            assert f"`{command}`, pid {pid} " in caught.value.on


def test_only_sharers_that_still_hold_the_lock_are_named(tmp_path: Path) -> None:
    with held(tmp_path, "demo", "stays", "shared"):
        with (
            held(tmp_path, "demo", "killed", "shared") as killed,
            held(tmp_path, "demo", "ended", "shared") as ended,
        ):
            killed.kill()
            killed.wait()
            end(ended)
        with locks.hold(tmp_path, "demo", command="mine", shared=True):
            pass
        with pytest.raises(Refused) as caught, locks.hold(tmp_path, "demo", command="destroy"):
            raise AssertionError("held alone beside a sharer")
    assert "`stays`" in caught.value.on
    for gone in ("killed", "ended", "mine"):
        assert gone not in caught.value.on


def test_who_held_the_lock_before_is_not_named(tmp_path: Path) -> None:
    with locks.hold(tmp_path, "demo", command="a long command that came before"):
        pass
    with (
        locks.hold(tmp_path, "demo", command="now", shared=True),
        pytest.raises(Refused) as caught,
        locks.hold(tmp_path, "demo", command="mine"),
    ):
        raise AssertionError("two hold it")
    assert "before" not in caught.value.on
    assert "`now`" in caught.value.on


@pytest.mark.parametrize(
    "text", [b"", b"\xff\x00", b"{", b"[1]\n", b'{"command": 1}\n{"pid"', b"x" * 100_000]
)
def test_a_holder_that_can_not_be_read_is_still_a_holder(tmp_path: Path, text: bytes) -> None:
    with held(tmp_path, "demo"):
        (tmp_path / "demo.lock").write_bytes(text)
        with pytest.raises(Refused) as caught, locks.hold(tmp_path, "demo", command="mine"):
            raise AssertionError("two hold it")
        assert caught.value.on


def test_a_waiter_gets_the_lock_when_its_holder_is_killed(tmp_path: Path) -> None:
    got = threading.Event()

    def take() -> None:
        with locks.hold(tmp_path, "demo", command="mine", wait=True):
            got.set()

    with held(tmp_path, "demo") as process:
        waiter = threading.Thread(target=take)
        waiter.start()
        try:
            until_blocked(waiter, tmp_path / "demo.lock")
            assert not got.is_set()
        finally:
            process.kill()
            waiter.join(20)
    assert got.is_set()


def until_blocked(thread: threading.Thread, path: Path) -> None:
    """Until somebody waits for the lock of ``path``: the kernel lists such waits with ``->``."""
    inode = f":{path.stat().st_ino} "
    until(
        lambda: (
            ready()
            if any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())
            else pending("nobody waits")
        ),
        what="a waiter",
        timeout=20,
        waiter=Waiter(interval=0.01),
    )
    assert thread.is_alive()


def test_a_lock_file_removed_by_its_holder_leaves_one_lock(tmp_path: Path) -> None:
    """Two that waited for a file that is removed must not both hold: one its old file, one the new."""
    inside = []
    most = []

    def take() -> None:
        with locks.hold(tmp_path, "demo", command="mine", wait=True):
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            locks.remove(tmp_path, "demo")  # from here on the next may hold the new one

    with held(tmp_path, "demo") as process:
        takers = [threading.Thread(target=take) for _ in range(8)]
        for taker in takers:
            taker.start()
        until_blocked(takers[0], tmp_path / "demo.lock")
        locks.remove(tmp_path, "demo")
        process.kill()
        for taker in takers:
            taker.join(20)
    assert most == [1] * len(takers)


def test_who_waited_for_a_removed_lock_file_waits_for_the_new_one(tmp_path: Path) -> None:
    """Else it would hold the lock of a file that is gone, beside the holder of the new one."""
    got = threading.Event()

    def take() -> None:
        with locks.hold(tmp_path, "demo", command="mine", wait=True):
            got.set()

    waiter = threading.Thread(target=take)
    path = tmp_path / "demo.lock"
    with held(tmp_path, "demo", "first") as first:
        waiter.start()
        until_blocked(waiter, path)
        locks.remove(tmp_path, "demo")
        with held(tmp_path, "demo", "second") as second:
            end(first)
            until_blocked(waiter, path)
            assert not got.is_set()
            end(second)
            waiter.join(20)
    assert got.is_set()


def test_remove_takes_the_plane_and_its_clusters_and_nobody_elses(tmp_path: Path) -> None:
    for name in ("demo", "demo.default.a", "demo.default.b", "demo-2", "demo-2.default.a"):
        with locks.hold(tmp_path, name, command="mine"):
            pass
    locks.remove(tmp_path, "demo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-2.default.a.lock", "demo-2.lock"]


def test_a_lock_file_is_private_and_never_inherited(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "locks", "demo", command="mine"):
        assert (tmp_path / "locks" / "demo.lock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
        with python("import sys; print(); sys.stdin.read()") as child:
            targets = [os.readlink(path) for path in Path(f"/proc/{child.pid}/fd").iterdir()]
            assert not [target for target in targets if target.endswith(".lock")]


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CapiLlmError, match="lock file can not be made") as caught,
        locks.hold(tmp_path / "file", "demo", command="mine"),
    ):
        raise AssertionError("held")
    assert "CAPI_LLM_STATE" in caught.value.fix


# Tokens of processes

_TOKEN = "import sys; from capi_llm import locks; print(locks.process_token(), flush=True); sys.stdin.read()"


def token_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_is_dead_once_it_was_killed() -> None:
    with python(_TOKEN) as process:
        token = token_of(process)
        assert len(token.split("/")) == 4
        assert not locks.is_dead(token)
        process.kill()
        process.wait()
        assert locks.is_dead(token)


def test_a_process_is_dead_though_nobody_asked_for_its_end() -> None:
    """In a container without an init process a killed orphan stays a zombie for ever."""
    with python(_TOKEN) as process:
        token = token_of(process)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        assert locks.is_dead(token)


def test_a_stopped_process_is_not_dead() -> None:
    with python(_TOKEN) as process:
        token = token_of(process)
        process.send_signal(signal.SIGSTOP)
        assert not locks.is_dead(token)


def test_a_recycled_pid_is_another_process() -> None:
    mine = locks.process_token()
    assert not locks.is_dead(mine)
    before, _, started = mine.rpartition("/")
    assert locks.is_dead(f"{before}/{int(started) - 1}")


def test_nothing_is_known_about_processes_elsewhere() -> None:
    boot, namespace, _, started = locks.process_token().split("/")
    gone = f"{2**22 + 1}"  # above the highest pid of Linux
    assert locks.is_dead(f"{boot}/{namespace}/{gone}/{started}")
    assert not locks.is_dead(f"another-boot/{namespace}/{gone}/{started}")
    assert not locks.is_dead(f"{boot}/1/{gone}/{started}")


@pytest.mark.parametrize("token", ["", "None", "a/b/c", "a/b/c/d/e", "///", "x"])
def test_what_is_no_token_names_no_dead_process(token: str) -> None:
    assert not locks.is_dead(token)


@pytest.mark.parametrize("pid", ["", "x", "-1", "0", "99999999999999999999"])
def test_a_token_with_an_odd_pid_raises_nothing(pid: str) -> None:
    boot, namespace, _, started = locks.process_token().split("/")
    locks.is_dead(f"{boot}/{namespace}/{pid}/{started}")
