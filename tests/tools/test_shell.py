"""Running other programs: output, failures, secrets, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from capi_llm import shell
from capi_llm.errors import CapiLlmError, CommandFailed, Interrupted, PrerequisiteMissing, TimedOut
from capi_llm.waiting import Cancel, pending, ready, until


def gone(pid: int) -> None:
    def probe():
        alive = psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return pending("alive") if alive else ready()

    until(probe, what=f"end of {pid}", timeout=10)


def child_of(pid_file: Path, timeout: float = 10) -> int:
    until(
        lambda: ready() if pid_file.exists() and pid_file.read_text().strip() else pending("no pid yet"),
        what="child",
        timeout=timeout,
    )
    return int(pid_file.read_text())


def test_output() -> None:
    lines: list[str] = []
    script = "printf 'a\\nb'; printf 'c\\r\\n' >&2; exit 3"
    output = shell.run(["sh", "-c", script], check=False, on_line=lines.append)
    assert output == shell.Output("a\nb", "c\r\n", 3)
    assert sorted(lines) == ["a", "b", "c"]


def test_input_and_output_larger_than_any_pipe() -> None:
    text = "grün " * 500_000
    assert shell.run(["cat"], stdin=text).stdout == text


def test_program_that_does_not_read_its_input() -> None:
    assert shell.run(["true"], stdin="x" * 1_000_000).code == 0


def test_environment_and_folder(tmp_path: Path) -> None:
    output = shell.run(["sh", "-c", "echo $A; pwd"], env={"A": "1", "PATH": os.defpath}, cwd=tmp_path)
    assert output.stdout.split() == ["1", str(tmp_path)]


def test_not_utf8() -> None:
    assert shell.run(["printf", r"\377"]).stdout == "\ufffd"


def test_failure_tells_the_end_of_the_output() -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(["sh", "-c", "seq 100 >&2; exit 7"])
    assert caught.value.code == 7
    assert caught.value.what == "sh failed, exit code 7"
    assert caught.value.output.splitlines()[0] == "71"
    assert caught.value.output.splitlines()[-1] == "100"


def test_ended_by_a_signal() -> None:
    with pytest.raises(CommandFailed, match="ended by SIGKILL"):
        shell.run(["sh", "-c", "kill -9 $$"])


def test_absent_program(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteMissing, match="it is not there"):
        shell.run(["no-such-program"])
    (tmp_path / "data").write_text("x")
    with pytest.raises(PrerequisiteMissing, match="not executable"):
        shell.run([tmp_path / "data"])
    with pytest.raises(CapiLlmError, match="folder to work in"):
        shell.run(["true"], cwd=tmp_path / "none")


def test_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shell.which("tool") is None
    (tmp_path / "tool").touch()
    assert shell.which("tool") is None
    (tmp_path / "tool").chmod(0o755)
    assert shell.which("tool") == tmp_path / "tool"


def test_secrets_are_not_shown() -> None:
    lines: list[str] = []
    with pytest.raises(CommandFailed) as caught:
        shell.run(
            ["sh", "-c", "echo got hunter2; echo hunter2 >&2; exit 1", "--password=hunter2"],
            secrets=["hunter2", ""],
            on_line=lines.append,
        )
    assert "hunter2" not in f"{caught.value} {caught.value.output} {caught.value.on} {lines}"
    assert "--password=***" in caught.value.on
    assert shell.run(["echo", "hunter2"], secrets=["hunter2"]).stdout == "hunter2\n"


def test_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; echo started; wait"
    with pytest.raises(TimedOut, match=r"sh did not end within 3 s") as caught:
        shell.run(["sh", "-c", script], timeout=3)
    assert caught.value.why == "started"
    gone(child_of(tmp_path / "pid"))


def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    cancel = Cancel()

    def stop() -> None:
        child_of(tmp_path / "pid")
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        shell.run(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid; wait"], cancel=cancel)
    thread.join()
    gone(child_of(tmp_path / "pid"))


def test_one_that_will_not_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_GRACE", 0.3)
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    with pytest.raises(TimedOut):
        shell.run(["sh", "-c", script], timeout=3)
    gone(child_of(tmp_path / "pid"))


def test_stopped_before_it_starts(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        shell.run(["touch", tmp_path / "f"], cancel=cancel)
    assert not (tmp_path / "f").exists()


def test_error_in_a_listener_ends_the_program(tmp_path: Path) -> None:
    def listener(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="hello"):
        shell.run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo hello; sleep 100"], on_line=listener)
    gone(child_of(tmp_path / "pid"))


def test_a_daemon_left_behind_does_not_hold_us(tmp_path: Path) -> None:
    started = time.monotonic()
    output = shell.run(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid; echo done"])
    assert output.stdout == "done\n"
    assert time.monotonic() - started < 5
    os.kill(child_of(tmp_path / "pid"), signal.SIGKILL)


def test_ticks() -> None:
    ticks: list[float] = []
    shell.run([sys.executable, "-c", "import time; time.sleep(0.7)"], on_tick=lambda: ticks.append(0))
    assert len(ticks) >= 3


def test_ctrl_c_ends_the_program(tmp_path: Path) -> None:
    # Its number is written down when the program is looked after.
    code = (
        "from pathlib import Path\nfrom capi_llm import shell\n"
        f"shell.run(['sh', '-c', 'echo $$; sleep 100'], on_line=Path('{tmp_path}/pid').write_text)\n"
    )
    parent = psutil.Popen([sys.executable, "-c", code], stderr=-3)
    pid = child_of(tmp_path / "pid")
    parent.send_signal(signal.SIGINT)
    assert parent.wait(15) != 0
    gone(pid)
