"""How the command line starts, fails and ends, without any plane."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from capi_llm import errors, versions
from capi_llm.cli import console as console_module
from capi_llm.cli.console import Console, StepReport, columns, data
from capi_llm.cli.main import COMMANDS, cli, run
from capi_llm.cli.options import State, confirm, pass_state, timeout, yes
from capi_llm.cli.trees import lines
from capi_llm.clusters.tree import Node
from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.steps import budgets
from capi_llm.waiting import State as Progress
from capi_llm.waiting import Status, failed, pending, ready

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _places_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CAPI_LLM_KUBECONFIGS", str(tmp_path / "kubeconfigs"))
    for name in ("CAPI_LLM_PLANE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


Body = Callable[[], Any]


@pytest.fixture
def with_command() -> Iterator[Callable[[Body], None]]:
    """Adds the command ``try-me`` to the real group."""

    def add(body: Body) -> None:
        cli.add_command(click.Command("try-me", callback=body))

    yield add
    cli.commands.pop("try-me", None)


def raises(error: BaseException) -> Body:
    def body() -> None:
        raise error

    return body


# A program whose group has one more command, in a process of its own.
_PROGRAM = """
import sys
import click
from capi_llm.cli import main
{body}
main.cli.add_command(click.Command("try-me", callback=body))
main.main(sys.argv[1:])
"""


def program(body: str, *args: str) -> list[str]:
    return [sys.executable, "-c", _PROGRAM.format(body=body), *args, "try-me"]


def capi_llm(*args: str) -> list[str]:
    return [sys.executable, "-m", "capi_llm", *args]


# What is not imported


HEAVY = (
    "structlog",
    "httpx",
    "asyncio",
    "kubernetes",
    "urllib3",
    "rich",
    "cryptography",
    "psutil",
    "supervisor",
    "yaml",
)


def command_paths(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from command_paths(command, *above, name)


def test_help_and_version_import_nothing_heavy() -> None:
    helps = [[*path, "--help"] for path in [(), *command_paths(cli)]]
    source = (
        "import json, sys\n"
        "from capi_llm.cli.main import run\n"
        "for args in json.loads(sys.argv[1]):\n"
        "    code = run(args)\n"
        "    heavy = sorted(set(json.loads(sys.argv[2])) & set(sys.modules))\n"
        "    assert not code and not heavy, (args, code, heavy)\n"
    )
    calls = json.dumps([["--version"], *helps, ["version"]])
    done = subprocess.run(
        [sys.executable, "-c", source, calls, json.dumps(HEAVY)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"capi-llm, version {versions.CLI}" in done.stdout
    assert len(helps) > 15


def test_help_and_version_import_no_command() -> None:
    source = (
        "import sys\n"
        "from capi_llm.cli.main import run\n"
        "for args in (['--version'], ['--help'], ['-h'], ['bootstap']):\n"
        "    run(args)\n"
        "own = {name for name in sys.modules if name.startswith('capi_llm.cli.')}\n"
        "names = {'main', 'console', 'options', 'lazy', 'names', 'streams'}\n"
        "assert own == {f'capi_llm.cli.{name}' for name in names}, own\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_list_of_commands_says_what_they_say() -> None:
    first = {
        name: " ".join((command.help or "").split("\n\n")[0].split())
        for name, command in cli.commands.items()
    }
    assert first == {name: entry.help for name, entry in COMMANDS.items()}


@pytest.mark.parametrize("path", [(), *command_paths(cli)], ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "-h"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    usage, _, text = out.partition("\n\n")
    assert usage.startswith("Usage: capi-llm")
    assert not text.lstrip().startswith("Options:")


# Exit codes


def error_classes(root: type[CapiLlmError] = CapiLlmError) -> Iterator[type[CapiLlmError]]:
    if root.__module__ == errors.__name__:
        yield root
    for below in root.__subclasses__():
        yield from error_classes(below)


EXIT_CODES = {
    "BadInput": 2,
    "PrerequisiteMissing": 3,
    "TimedOut": 4,
    "Interrupted": 130,
}


def make(error: type[CapiLlmError]) -> CapiLlmError:
    more: dict[str, Any] = {}
    if issubclass(error, errors.CommandFailed):
        more = {"code": 7}
    elif issubclass(error, errors.ApiError) and not issubclass(error, errors.Unavailable):
        more = {"status": 400}
    return error("it failed", on="cluster default/demo", why="no reason", fix="try it", **more)


@pytest.mark.parametrize("error", [*error_classes()], ids=lambda error: error.__name__)
def test_every_error_has_its_exit_code_and_is_told_in_full_on_stderr(
    error: type[CapiLlmError],
    with_command: Callable[[Body], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_command(raises(make(error)))
    assert run(["try-me"]) == EXIT_CODES.get(error.__name__, 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Error: it failed (cluster default/demo): no reason\n  to go on: try it\n"


def test_an_exit_code_of_one_error_alone_counts(with_command: Callable[[Body], None]) -> None:
    """As the engine does for several failures joined."""
    error = errors.StepFailed("2 steps failed")
    error.exit_code = 4
    with_command(raises(error))
    assert run(["try-me"]) == 4


@pytest.mark.parametrize(
    "error", [KeyError("spec"), RecursionError("deep"), OSError(28, "No space left on device")]
)
def test_a_fault_of_ours_gives_no_traceback_and_says_what_to_do(
    error: Exception, with_command: Callable[[Body], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(raises(error))
    assert run(["try-me"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert f"capi-llm itself failed: {type(error).__name__}: {error}" in err
    assert "--debug" in err


@pytest.mark.parametrize("error", [KeyError("spec"), CapiLlmError("it failed")])
def test_with_debug_every_failure_shows_where_it_came_from(
    error: Exception, with_command: Callable[[Body], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(raises(error))
    assert run(["--debug", "try-me"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert Path(__file__).name in err
    assert "Error: " in err.splitlines()[-1] or "to go on" in err.splitlines()[-1]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), click.Abort(), EOFError()], ids=lambda error: type(error).__name__
)
def test_who_stops_a_command_is_told_that_it_can_go_on(
    error: BaseException, with_command: Callable[[Body], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(raises(error))
    assert run(["try-me"]) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (5, 5), (0, 0), ("text", 0)])
def test_a_command_may_name_its_exit_code(
    result: Any, code: int, with_command: Callable[[Body], None]
) -> None:
    with_command(lambda: result)
    assert run(["try-me"]) == code


# Usage


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["bootstap"], "Did you mean 'bootstrap'?"),
        (["planes", "lst"], "Did you mean 'list'?"),
        (["--quite", "status"], "Did you mean '--quiet'?"),
        (["bootstrap", "--dry-rum"], "Did you mean '--dry-run'?"),
        (["planes", "list", "-o", "xml"], "'xml' is not one of"),
        (["logs"], "Missing argument 'WHAT'"),
        (["planes", "use"], "Missing argument 'NAME'"),
        (["status", "--output"], "requires an argument"),
        (["logs", "etcd", "--tail", "-1"], "-1 is not in the range"),
        (["logs", "etcd", "--tail", "many"], "not a valid integer"),
        (["version", "extra"], "unexpected extra argument"),
        (["bootstrap", "--plane", "knd"], "there are: "),
        (["bootstrap", "--name", "My_Plane"], "use 'my-plane'"),
        (["--name", "../../etc", "destroy", "--yes"], "not a valid name"),
        (["planes", "use", "a/b"], "not a valid name"),
    ],
)
def test_what_was_typed_wrong_is_told_and_touches_nothing(
    args: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "state" / "planes").exists()
    assert not (tmp_path / "state" / "sandboxes").exists()


@pytest.mark.parametrize(
    "args", [["status"], ["destroy", "--yes"], ["logs", "etcd"], ["planes", "use", "demo"]]
)
def test_without_a_plane_the_way_to_one_is_named(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 1
    err = capsys.readouterr().err
    assert "there is no management plane" in err
    assert "capi-llm bootstrap" in err


def test_destroy_never_leaves_the_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "state" / "planes" / "other.json"
    precious.parent.mkdir(parents=True)
    precious.write_text("{}")
    (tmp_path / "state" / "sandboxes" / "other").mkdir(parents=True)
    for name in ("..", ".", "../..", str(tmp_path), "other/../..", "*"):
        assert run(["destroy", "--name", name, "--yes"]) == 2
    assert precious.read_text() == "{}"
    assert (tmp_path / "state" / "sandboxes" / "other").is_dir()


def test_a_broken_environment_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAPI_LLM_OFFLINE", "perhaps")
    assert run(["planes", "list"]) == 2
    assert "CAPI_LLM_OFFLINE=perhaps" in capsys.readouterr().err


# Options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h", 3600),
        ("1.5m", 90),
        (" 2s ", 2),
        ("0", 0),
        ("0.25s", 0.25),
    ],
)
def test_a_time_may_be_given_in_seconds_minutes_and_hours(text: str, seconds: float) -> None:
    assert times("--timeout", text) == [seconds]


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1d", "5 m", "1h30m", "1e3", "inf", "nan", ".5", "٣", "0x10"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time such as"):
        times("--timeout", text)


def test_without_a_time_the_table_of_budgets_says() -> None:
    assert times() == [budgets.DELETE]


def times(*args: str) -> list[float]:
    heard: list[float] = []

    @click.command()
    @timeout("DELETE")
    def command(timeout: float) -> None:
        heard.append(timeout)

    command.main(list(args), standalone_mode=False)
    return heard


def test_who_can_not_be_asked_must_say_yes(with_command: Callable[[Body], None]) -> None:
    state = State(Console())
    confirm(state, "Really?", yes=True)
    with pytest.raises(BadInput, match="needs a confirmation") as caught:
        confirm(state, "Really?", yes=False)
    assert caught.value.fix == "add --yes"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130), ("", 130)])
def test_a_person_is_asked_on_the_terminal(answer: str, code: int) -> None:
    body = (
        "from capi_llm.cli.options import State, confirm\n"
        "from capi_llm.cli.console import Console\n"
        "def body():\n"
        "    confirm(State(Console()), 'Really?', yes=False)\n"
        "    click.echo('done', err=True)\n"
    )
    shown, ended = on_terminal(program(body), answer=f"{answer}\n", after="Really?")
    assert ended == code
    assert ("done" in shown) == (code == 0)


def test_the_plane_may_be_named_before_and_after_the_command() -> None:
    @click.command("try-me")
    @yes("anything")
    @click.option("--name", "plane_option", default="", expose_value=False)
    @pass_state
    def command(state: State, yes: bool) -> None:
        raise AssertionError("not run")

    from capi_llm.cli.options import plane_name

    seen: list[str] = []

    @click.command("try-me")
    @plane_name
    @pass_state
    def named(state: State) -> None:
        seen.append(state.plane)

    cli.add_command(named)
    try:
        for args in (
            ["--name", "a", "try-me"],
            ["try-me", "--name", "b"],
            ["--name", "a", "try-me", "--name", "c"],
        ):
            assert run(args) == 0
        assert run(["try-me"]) == 0
    finally:
        cli.commands.pop("try-me")
    assert seen == ["a", "b", "c", ""]


# Signals and pipes


@contextlib.contextmanager
def started(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that has said ``ready`` on stdout."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


_WAITS = """
import threading
def body():
    click.echo("ready")
    threading.Event().wait(600)
"""

_RUNS_STEPS = """
from pathlib import Path
from capi_llm.identity import Identities, Identity
from capi_llm.settings import Settings
from capi_llm.steps import engine
from capi_llm.steps.context import Context, Plane
from capi_llm.waiting import pending

class Never(engine.Step):
    name = "never"
    timeout = 600.0
    def probe(self, ctx):
        return pending("for ever")
    def apply(self, ctx):
        click.echo("ready")

def body():
    settings = Settings(Path("/nowhere"), Path("/nowhere"), Path("/nowhere"))
    engine.run((Never(),), Context(settings, Plane(Identities(settings.state), Identity("a", "b", "c", "d"))))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("body", [_WAITS, _RUNS_STEPS], ids=["waits", "runs steps"])
def test_a_signal_ends_a_command_with_130_and_the_way_to_go_on(body: str, number: signal.Signals) -> None:
    with started(program(body)) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert "same command again" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("args", [["version"], ["--help"], ["planes", "list", "-o", "json"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_reason_to_complain(args: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            capi_llm(*args), stdout=write, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == -signal.SIGPIPE  # as kubectl, and every program that does not ignore it


def test_a_reader_that_goes_in_the_middle_is_no_reason_to_complain() -> None:
    body = "def body():\n    click.echo('ready')\n    while True: click.echo('x' * 4096)\n"
    with started(program(body)) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == -signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "args",
    [["version"], ["version", "-o", "json"], ["--help"], ["--version"], ["classes", "list"]],
    ids=" ".join,
)
def test_data_that_can_not_be_written_is_a_failure_of_that(args: list[str], unbuffered: str) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            capi_llm(*args), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, env=env
        )
    assert done.returncode == 1
    assert "the output can not be written (stdout): No space left on device\n  to go on: " in done.stderr
    assert "capi-llm itself failed" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_messages_that_can_not_be_written_do_not_stop_the_work() -> None:
    body = "def body():\n    for n in range(3): click.echo('…', err=True)\n    click.echo('done')\n"
    with open("/dev/full", "w") as full:
        done = subprocess.run(program(body), stdout=subprocess.PIPE, stderr=full, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_closed_stdout_is_nothing_to_write_to() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *capi_llm("version")], stderr=subprocess.PIPE, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_terminal_that_has_no_check_mark_gets_something_else(encoding: str) -> None:
    body = "def body():\n    click.echo('✓ ready')\n    click.echo('… waiting', err=True)\n"
    done = subprocess.run(
        program(body), capture_output=True, timeout=PATIENCE, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    assert b"ready" in done.stdout
    assert b"waiting" in done.stderr


# Colour and drawing


def on_terminal(argv: list[str], *, answer: str = "", after: str = "", **env: str) -> tuple[str, int]:
    """Run on a terminal of its own; what it showed and its exit code."""
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(
        argv, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm-256color", **env}
    ) as process:
        os.close(slave)
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                if select.select([master], [], [], 0.1)[0]:
                    try:
                        part = os.read(master, 4096)
                    except OSError:  # the other side is closed
                        break
                    if not part:
                        break
                    shown += part
                if answer and after.encode() in shown:
                    os.write(master, answer.encode())
                    answer = ""
            code = process.wait(PATIENCE)
        finally:
            process.kill()
            os.close(master)
    return shown.decode(errors="replace"), code


_FAILS = """
from capi_llm.errors import CapiLlmError
def body():
    raise CapiLlmError("it failed")
"""

_ESCAPE = "\x1b["


def test_errors_are_red_on_a_terminal_and_only_there() -> None:
    shown, code = on_terminal(program(_FAILS))
    assert (code, _ESCAPE in shown, "it failed" in shown) == (1, True, True)
    shown, code = on_terminal(program(_FAILS), NO_COLOR="1")
    assert (code, _ESCAPE in shown, "it failed" in shown) == (1, False, True)
    done = subprocess.run(program(_FAILS), capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == "Error: it failed\n"


_DRAWS = """
from capi_llm.cli.console import Console, StepReport
from capi_llm.waiting import pending, ready
def body():
    console = Console()
    with console.drawing() as drawing:
        report = StepReport(console, drawing)
        report.step("etcd", pending("starting"))
        report.progress("executables", "compiling [kwok]", 0.5)
        report.step("etcd", ready("healthy"), outcome="done", seconds=1.25)
        report.step("kwok", ready("healthy"), outcome="unchanged")
"""


def test_steps_are_drawn_in_place_on_a_terminal() -> None:
    shown, code = on_terminal(program(_DRAWS))
    assert code == 0
    assert _ESCAPE in shown
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "… etcd: starting" in shown
    assert "compiling [kwok]" in shown
    assert "etcd: healthy (1.2 s)" in shown


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_off_a_terminal_steps_are_plain_lines(env: dict[str, str]) -> None:
    """FORCE_COLOR, which many CI systems set, must not make drawings in a log file."""
    done = subprocess.run(
        program(_DRAWS), capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **env}
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "… executables: compiling [kwok] [██████████░░░░░░░░░░]  50 %",
        "✓ etcd: healthy (1.2 s)",
    ]


def test_a_dumb_terminal_gets_plain_lines() -> None:
    shown, _ = on_terminal(program(_DRAWS), TERM="dumb", NO_COLOR="1")
    assert _ESCAPE not in shown
    assert "✓ etcd: healthy (1.2 s)" in shown


def test_quiet_leaves_out_progress_and_keeps_errors_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    with console.drawing() as drawing:
        report = StepReport(console, drawing)
        report.step("etcd", ready("healthy"), outcome="done")
        report.progress("etcd", "starting")
        drawing.show(["a line"])
    console.say("hello")
    console.mark(ready(), "hello")
    console.error(CapiLlmError("it failed"))
    data({"a": 1}, "json")
    out, err = capsys.readouterr()
    assert err == "Error: it failed\n"
    assert json.loads(out) == {"a": 1}


def test_progress_is_not_said_all_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console()
    with console.drawing() as drawing:
        report = StepReport(console, drawing)
        for number in range(50):
            report.progress("executables", f"file {number}")
            report.progress("other", f"file {number}", 2.0)
        assert len(capsys.readouterr().err.splitlines()) == 2
        monkeypatch.setattr(console_module, "_QUIET_SECONDS", 0.0)
        report.progress("executables", "the end")
    assert "the end" in capsys.readouterr().err


def test_steps_may_report_from_many_threads(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.drawing() as drawing:
        report = StepReport(console, drawing)

        def work(name: str) -> None:
            for _ in range(20):
                report.step(name, pending("under way"))
                report.step(name, ready("there"), outcome="done", seconds=0.1)

        threads = [threading.Thread(target=work, args=(f"step-{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 160
    assert all(re.fullmatch(r"✓ step-\d: there \(0\.1 s\)", line) for line in said)


def test_a_changed_line_is_said_once_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().drawing() as drawing:
        drawing.show(["a"])
        drawing.show(["a", "b"])
        drawing.show(["[bold]c[/bold]"], plain=["plain"])
        drawing.show(["d"], plain=[])
    assert capsys.readouterr().err.splitlines() == ["a", "b", "plain"]


# Data


def test_data_is_the_same_in_json_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"b": [1, None, True], "a": "ünï: [x]"}
    data(value, "json")
    assert json.loads(capsys.readouterr().out) == value
    data(value, "yaml")
    out = capsys.readouterr().out
    assert yaml.safe_load(out) == value
    assert out.startswith("b:")


@pytest.mark.parametrize("output", ["json", "yaml"])
@pytest.mark.parametrize("command", [["version"], ["planes", "list"]], ids=" ".join)
def test_data_names_its_version(command: list[str], output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "-o", output]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    read = json.loads if output == "json" else yaml.safe_load
    assert read(out)["apiVersion"] == versions.API_VERSION


def test_columns_are_aligned_and_end_without_spaces() -> None:
    assert columns([("NAME", "KIND"), ("a", "sandbox"), ("longer", "")]) == [
        "NAME    KIND",
        "a       sandbox",
        "longer",
    ]
    assert columns([]) == []


def node(label: str, status: Status, *children: Node) -> Node:
    return Node(label=label, status=status, children=children)


def test_a_tree_shows_what_is_not_ready_and_why() -> None:
    tree = node(
        "Cluster demo",
        pending("1 of 3"),
        node("control plane", ready("all there"), node("machine a", ready())),
        node(
            "workers",
            failed("broken", cause="no image"),
            node("machine b", pending("")),
            node("machine c", failed("gone")),
        ),
    )
    assert lines(tree) == [
        "… Cluster demo  1 of 3",
        "├─ ✓ control plane",
        "│  └─ ✓ machine a",
        "└─ ✗ workers  broken (no image)",
        "   ├─ … machine b",
        "   └─ ✗ machine c  gone",
    ]


def test_every_state_has_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    for state in Progress:
        Console().mark(Status(state), "text")
        assert lines(node("label", Status(state)))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["✓", "…", "✗"]
