"""Other programs: the only module that starts a process.

:func:`run` starts a program in a session of its own, so that it and all its children
can be ended together: on a timeout, when the user stops, and on any error in here.
What it prints is kept and can be followed line by line. Secrets are taken out of
everything that may be shown; what the caller gets back is unchanged.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import selectors
import shutil
import signal
import subprocess  # the one place
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from capi_llm.errors import CapiLlmError, CommandFailed, PrerequisiteMissing, TimedOut
from capi_llm.waiting import Cancel

Child = subprocess.Popen[bytes]
"""A program that was started and goes on."""

_log = logging.getLogger(__name__)

_TICK = 0.2
_GRACE = 5.0
_TAIL_LINES = 30
_CHUNK = 65536


@dataclass(frozen=True)
class Output:
    """What a program printed, and its exit code (negative: the signal that ended it)."""

    stdout: str
    stderr: str
    code: int


def which(name: str) -> Path | None:
    """Where ``name`` is on PATH, if it is an executable there."""
    found = shutil.which(name)
    return Path(found).absolute() if found else None


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float | None = None,
    cancel: Cancel | None = None,
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    check: bool = True,
    secrets: Sequence[str] = (),
    inherit: Sequence[int] = (),
) -> Output:
    """Run ``argv`` to its end and return what it printed.

    ``env`` replaces the whole environment. ``timeout`` is in seconds. ``on_line`` hears
    every line of stdout and stderr as it comes, ``on_tick`` is called about five times a
    second; both in the calling thread. ``secrets`` never appear in lines or errors. ``inherit`` are
    open files that the program gets too, so that a lock on one is held as long as it lives.

    Raises PrerequisiteMissing if the program is absent or not executable, CommandFailed if
    it ends with an error and ``check`` is set, TimedOut, Interrupted. No process of the
    program's group is left when this raises.
    """
    words = [str(word) for word in argv]
    name = Path(words[0]).name
    shown = _mask(" ".join(words), secrets)
    if cancel is not None:
        cancel.check()
    streams = _Streams(stdin, on_line, secrets)
    _log.info("running %s", shown)
    process = _start(words, env, cwd, inherit)
    try:
        with process:
            try:
                streams.follow(process, timeout, cancel, on_tick)
            except BaseException:
                _end_group(process)
                raise
    except _OutOfTime:
        raise TimedOut(
            f"{name} did not end within {timeout:g} s",
            on=shown,
            why=_tail(streams.text("stderr") or streams.text("stdout"), secrets),
        ) from None
    output = Output(streams.text("stdout"), streams.text("stderr"), process.returncode)
    if check and output.code:
        tail = _tail(output.stderr or output.stdout, secrets)
        raise CommandFailed(
            f"{name} failed, {_end(output.code)}", code=output.code, output=tail, on=shown, why=tail
        )
    return output


def attach(argv: Sequence[str | Path], *, env: Mapping[str, str]) -> int:
    """Run ``argv`` on this terminal, for a command of the user's own; returns its exit code.

    Ctrl-C goes to the command, which decides what it means. Raises PrerequisiteMissing.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _opened(argv, env=env, preexec_fn=_default_interrupt).wait()
    finally:
        signal.signal(signal.SIGINT, before)


def detach(argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str]) -> Child:
    """Start ``argv`` without a terminal, in a session of its own, so that it goes on when this process ends.

    What it prints goes to the end of ``log``, which has to be there. Raises PrerequisiteMissing.
    """
    with log.open("ab") as file:
        null = subprocess.DEVNULL
        return _opened(argv, env=env, stdin=null, stdout=file, stderr=file, start_new_session=True)


def beside(argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> Child:
    """Start ``argv`` in this process's own group; it prints where this one prints.

    Its stdin ends when this process does, however that ends. Raises PrerequisiteMissing.
    """
    return _opened(argv, env=env, cwd=cwd, stdin=subprocess.PIPE)


def end(child: Child, seconds: float) -> None:
    """End ``child``, at once where it has not ended by itself ``seconds`` later."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _start(
    words: list[str], env: Mapping[str, str] | None, cwd: Path | None, inherit: Sequence[int]
) -> Child:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return _opened(words, env=env, cwd=cwd, start_new_session=True, pass_fds=inherit, **pipes)


def _opened(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None, cwd: Path | None = None, **options: Any
) -> Child:
    words = [str(word) for word in argv]
    try:
        return subprocess.Popen(words, env=dict(env) if env is not None else None, cwd=cwd, **options)
    except OSError as error:
        if cwd is not None and not cwd.is_dir():
            raise CapiLlmError("the folder to work in does not exist", on=str(cwd)) from error
        why = {FileNotFoundError: "it is not there", PermissionError: "it is not executable"}
        raise PrerequisiteMissing(
            f"{words[0]} can not be run",
            why=why.get(type(error), error.strerror or str(error)),
            fix=f"install {Path(words[0]).name} and have it on PATH",
        ) from error


class _OutOfTime(Exception):
    """The deadline passed."""


class _Stream:
    """One pipe of the program: all that came, and the line that is not complete yet."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, on_line: Callable[[str], None]) -> None:
        text = self._decoder.decode(data, final=not data)
        self.parts.append(text)
        *lines, self._rest = (self._rest + text).split("\n")
        if not data and self._rest:
            lines.append(self._rest)
        for line in lines:
            on_line(line.rstrip("\r"))


class _Streams:
    """The program's three pipes, served by one thread: no side can block the other."""

    def __init__(self, stdin: str, on_line: Callable[[str], None] | None, secrets: Sequence[str]) -> None:
        self._on_line = on_line
        self._secrets = secrets
        self._input = memoryview(stdin.encode())
        self._streams = {"stdout": _Stream(), "stderr": _Stream()}

    def _hear(self, line: str) -> None:
        if self._on_line is not None:
            self._on_line(_mask(line, self._secrets))

    def text(self, name: str) -> str:
        return "".join(self._streams[name].parts)

    def follow(
        self,
        process: subprocess.Popen[bytes],
        timeout: float | None,
        cancel: Cancel | None,
        on_tick: Callable[[], None] | None,
    ) -> None:
        """Until the program has ended and its pipes are empty."""
        started = next_tick = time.monotonic()
        ended: float | None = None
        with selectors.DefaultSelector() as selector:
            self._register(selector, process)
            while True:
                for key, _ in selector.select(_TICK) if selector.get_map() else ():
                    self._serve(selector, key)
                if not selector.get_map():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_TICK)
                now = time.monotonic()
                if cancel is not None:
                    cancel.check()
                if on_tick is not None and now >= next_tick:
                    next_tick = now + _TICK
                    on_tick()
                if process.poll() is not None:
                    # A daemon that it left behind may hold the pipes open for ever.
                    ended = ended or now
                    if not selector.get_map() or now - ended > 2 * _TICK:
                        return
                if timeout is not None and now - started > timeout and ended is None:
                    raise _OutOfTime

    def _register(self, selector: selectors.BaseSelector, process: subprocess.Popen[bytes]) -> None:
        for name in ("stdout", "stderr"):
            pipe: IO[bytes] = getattr(process, name)
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, name)
        assert process.stdin is not None
        self._stdin = process.stdin
        os.set_blocking(self._stdin.fileno(), False)
        selector.register(self._stdin, selectors.EVENT_WRITE, "stdin")

    def _serve(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        if key.data == "stdin":
            try:
                written = os.write(key.fd, self._input[:_CHUNK]) if self._input else 0
            except BlockingIOError:
                return
            except BrokenPipeError:
                written = len(self._input)
            self._input = self._input[written:]
            if not self._input:
                selector.unregister(key.fileobj)
                with contextlib.suppress(BrokenPipeError):
                    self._stdin.close()
            return
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        self._streams[key.data].feed(data, self._hear)
        if not data:
            selector.unregister(key.fileobj)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the program and its children to end, then make them.

    The second signal goes out right after the program is reaped: the number of its group
    is either still taken by its children, or not yet given to anybody else.
    """
    if process.returncode is not None:
        return
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _tail(text: str, secrets: Sequence[str]) -> str:
    return _mask("\n".join(text.strip().splitlines()[-_TAIL_LINES:]), secrets)


def _end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
