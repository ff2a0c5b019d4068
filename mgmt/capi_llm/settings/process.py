"""What this process has from outside besides settings: the machine's name, colour, what children inherit."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def hostname() -> str:
    """Name of this machine, as lock holders are told."""
    return socket.gethostname()


def no_colour() -> bool:
    """Whether the user wants no colour anywhere: NO_COLOR, see https://no-color.org."""
    return bool(os.environ.get("NO_COLOR"))


def has_display() -> bool:
    """Whether a browser could show something to the person at this terminal."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def kubeconfig_files() -> tuple[Path, ...]:
    """The person's own kubeconfig files, as kubectl takes them: KUBECONFIG, or ``~/.kube/config``."""
    named = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return tuple(Path(name).absolute() for name in named) or (Path.home() / ".kube" / "config",)


_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "GOGC")
"""GOGC: how lazily programs in Go collect their garbage, in percent (https://go.dev/doc/gc-guide#GOGC)."""


def child_environment() -> dict[str, str]:
    """What long-running parts inherit of the environment: nothing that could hold a secret."""
    return {key: os.environ[key] for key in _INHERITED if key in os.environ}


def proxies() -> dict[str, str]:
    """The proxies of the environment by scheme, ``no`` for what needs none, as :mod:`urllib` reads them."""
    from urllib.request import getproxies_environment

    return getproxies_environment()


def command_environment(**more: str) -> dict[str, str]:
    """The whole environment plus ``more``, for a command that the user asks to run."""
    return {**os.environ, **more}
