"""Where capi-llm keeps things, and what the environment asks for.

The only module that reads environment variables and configuration files:
everything below the command line gets values, never names of variables. A file ``.env``
in the current folder is read too; the environment wins over it.

=======================  ====================================================
variable                 what it sets
=======================  ====================================================
CAPI_LLM_STATE           state folder (planes, sandboxes, locks); default
                         ``$XDG_STATE_HOME/capi-llm`` or ``~/.local/state/capi-llm``
CAPI_LLM_CACHE           cache folder (executables); default
                         ``$XDG_CACHE_HOME/capi-llm`` or ``~/.cache/capi-llm``
CAPI_LLM_KUBECONFIGS     folder for kubeconfig files; default ``./kubeconfigs``
CAPI_LLM_PLANE           name of the management plane that commands act on
CAPI_LLM_PARTS_DIR       folder with executables of your own for the sandbox
CAPI_LLM_PART_<NAME>     path of one of them, such as CAPI_LLM_PART_KUBE_APISERVER
CAPI_LLM_OFFLINE         ``1``: never use the network for the sandbox's parts
=======================  ====================================================
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capi_llm.errors import BadInput

_PART_PREFIX = "CAPI_LLM_PART_"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


@dataclass(frozen=True)
class Settings:
    """What one run of the command line works with. All paths are absolute."""

    state: Path
    cache: Path
    kubeconfigs: Path
    plane: str = ""
    parts_dir: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the variables in the table above. Raises BadInput for a value that can not be right.

        Without ``environ``, those that the environment lacks are taken from ``.env`` in the current folder.
        """
        env = {**_dotenv(), **os.environ} if environ is None else environ
        home = _home(env)
        state = _folder(env, "CAPI_LLM_STATE") or _xdg(env, "XDG_STATE_HOME", home / ".local/state")
        cache = _folder(env, "CAPI_LLM_CACHE") or _xdg(env, "XDG_CACHE_HOME", home / ".cache")
        parts = {
            key.removeprefix(_PART_PREFIX).lower().replace("_", "-"): _path(env, key)
            for key, value in env.items()
            if key.startswith(_PART_PREFIX) and value
        }
        return cls(
            state=state,
            cache=cache,
            kubeconfigs=_folder(env, "CAPI_LLM_KUBECONFIGS") or _absolute("the folder", "kubeconfigs"),
            plane=env.get("CAPI_LLM_PLANE", ""),
            parts_dir=_folder(env, "CAPI_LLM_PARTS_DIR"),
            parts=parts,
            offline=_switch(env, "CAPI_LLM_OFFLINE"),
        )


def hostname() -> str:
    """Name of this machine, as lock holders are told."""
    return socket.gethostname()


def no_colour() -> bool:
    """Whether the user wants no colour anywhere: NO_COLOR, see https://no-color.org."""
    return bool(os.environ.get("NO_COLOR"))


def child_environment() -> dict[str, str]:
    """What long-running parts inherit of the environment: nothing that could hold a secret."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if key in os.environ}


def command_environment(**more: str) -> dict[str, str]:
    """The whole environment plus ``more``, for a command that the user asks to run."""
    return {**os.environ, **more}


def _dotenv() -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        found = dotenv_values(".env", interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "the file .env can not be read", why=str(error), fix="correct it, or move it away"
        ) from error
    return {
        name: value for name, value in found.items() if name.startswith("CAPI_LLM_") and value is not None
    }


def _home(env: Mapping[str, str]) -> Path:
    try:
        return _absolute("HOME", env["HOME"]) if env.get("HOME") else Path.home()
    except RuntimeError as error:
        raise BadInput(
            "no home folder is known", why=str(error), fix="set HOME, or CAPI_LLM_STATE and CAPI_LLM_CACHE"
        ) from error


def _path(env: Mapping[str, str], name: str) -> Path:
    """The variable as an absolute path; ``~`` at its beginning is the home folder."""
    value = env[name]
    if value == "~" or value.startswith("~/"):
        return _home(env) / value[2:]
    return _absolute(name, value)


def _absolute(name: str, value: str) -> Path:
    try:
        return Path(value).absolute()
    except OSError as error:  # a relative path, and the current folder is gone
        raise BadInput(
            f"{name} {value!r} leads nowhere",
            why=f"the current folder: {error.strerror or error}",
            fix="change to another folder",
        ) from error


def _folder(env: Mapping[str, str], name: str) -> Path | None:
    if not env.get(name):
        return None
    path = _path(env, name)
    try:
        file = path.exists() and not path.is_dir()
    except OSError as error:
        raise BadInput(
            f"{name} must name a folder",
            on=str(path),
            why=error.strerror or str(error),
            fix="name another folder",
        ) from error
    if file:
        raise BadInput(f"{name} must name a folder", on=str(path), why="it is a file", fix="name a folder")
    return path


def _xdg(env: Mapping[str, str], name: str, default: Path) -> Path:
    # The XDG base directory specification: relative values are to be ignored.
    value = Path(env.get(name, ""))
    return (value if value.is_absolute() else default) / "capi-llm"


def _switch(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "").lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadInput(f"{name} must be 1 or 0", on=f"{name}={value}", fix=f"unset {name}, or set it to 1")
