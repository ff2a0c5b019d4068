"""Which management planes there are: ``planes/NAME.json`` in the state folder.

The file is a locator, never a record of what was done: it says where the plane is
and how to know that it is the same one (the UID of its kube-system namespace). What
was done is read from the cluster itself.

A plane is chosen by ``--name``, then ``CAPI_LLM_PLANE``, then ``capi-llm planes use``,
then because it is the only one. Otherwise the choice is refused.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.errors import BadInput, CapiLlmError, NotFound, Refused
from capi_llm.files import sweep, write_private

SCHEMA_VERSION = 1

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""An RFC 1123 label."""


@dataclass(frozen=True)
class Identity:
    """One plane. ``uid`` is empty until its API server has answered once.

    ``instance`` is a random word that marks every process of a sandbox, and the containers of a
    kind plane; ``loopback`` is the 127.0.N.N that a sandbox's simulated machines listen on;
    ``ports`` are those assigned to it. ``choices`` is what was asked for when the plane was made:
    see :mod:`capi_llm.steps.choices`.
    """

    name: str
    kind: str
    kubeconfig: str
    context: str
    uid: str = ""
    instance: str = ""
    loopback: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    cli_version: str = versions.CLI
    schema_version: int = SCHEMA_VERSION


class Newer(Refused):
    """A plane file whose form only a newer capi-llm knows: nothing may be done to that plane."""


class Identities:
    """The plane files under ``state``."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "planes"
        self._used = state / "plane"

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json") if _NAME.fullmatch(path.stem))

    def find(self, name: str) -> Identity | None:
        """The plane called ``name``, or None.

        Raises BadInput for what can not be a plane's name (a path, for one), Refused for
        a file that can not be used.
        """
        path = self.path(check_name(name, "plane name"))
        try:
            data = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(f"the file of plane {name!r} can not be read", path, name, str(error)) from error
        return _parse(path, name, data)

    def all(self) -> list[Identity]:
        """The planes whose files can be read."""
        return self.sorted_out()[0]

    def sorted_out(self) -> tuple[list[Identity], dict[str, Refused]]:
        """The planes whose files can be read, and by name why others can not: no plane hides the others."""
        good: list[Identity] = []
        damaged: dict[str, Refused] = {}
        for name in self.names():
            try:
                plane = self.find(name)
            except Refused as error:
                damaged[name] = error
            else:
                good += [plane] if plane else []
        return good, damaged

    def save(self, plane: Identity) -> None:
        """Write ``plane`` atomically, mode 0600."""
        write_private(self.path(plane.name), json.dumps(dataclasses.asdict(plane), indent=2) + "\n")

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)
        if self.used() == name:
            self._used.unlink(missing_ok=True)
        sweep(self._folder, self.path(name).name)
        sweep(self._used.parent, self._used.name)

    def use(self, name: str) -> None:
        """Make ``name`` the plane of commands that do not name one."""
        if self.find(name) is None:
            raise self._unknown(name)
        write_private(self._used, name + "\n")

    def used(self) -> str:
        try:
            return self._used.read_text().strip()
        except (OSError, ValueError):
            return ""

    def resolve(self, flag: str, variable: str) -> Identity:
        """The plane that a command acts on. Raises NotFound or Refused, saying how to name one."""
        for name in (flag, variable, self.used()):
            if name:
                plane = self.find(name)
                if plane is None:
                    raise self._unknown(name)
                return plane
        names = self.names()
        if not names:
            raise NotFound("there is no management plane yet", fix="capi-llm bootstrap")
        if len(names) > 1:
            raise Refused(
                "there are several management planes and none was named",
                on=", ".join(names),
                fix=f"add --name {names[0]}, or choose one with `capi-llm planes use {names[0]}`",
            )
        found = self.find(names[0])
        if found is None:
            raise self._unknown(names[0])
        return found

    def _unknown(self, name: str) -> CapiLlmError:
        names = self.names()
        there = f"there are: {', '.join(names)}" if names else "there is none yet"
        return NotFound(
            f"there is no management plane called {name!r}",
            why=there,
            fix=f"capi-llm bootstrap --name {name}" if not names else "capi-llm planes list",
        )


def writable(plane: Identity) -> None:
    """Raise Refused where ``plane`` was last written by a newer capi-llm than this one."""
    try:
        newer = versions.parse(plane.cli_version)[:3] > versions.parse(versions.CLI)[:3]
    except ValueError:
        newer = True
    if newer:
        raise Refused(
            f"plane {plane.name!r} belongs to a newer capi-llm",
            why=f"it was written by {plane.cli_version}, this is {versions.CLI}",
            fix=f"install capi-llm {plane.cli_version} or newer",
        )


def check_uid(plane: Identity, uid: str) -> None:
    """Raise Refused where the API server is not the one that ``plane`` was recorded with."""
    if plane.uid and uid != plane.uid:
        raise Refused(
            f"another cluster answers where plane {plane.name!r} should be",
            on=plane.kubeconfig,
            why=f"its kube-system has UID {uid}, recorded is {plane.uid}",
            fix="check what listens there; a plane that is gone is forgotten by "
            f"`capi-llm destroy --name {plane.name} --yes`",
        )


def _parse(path: Path, name: str, data: Any) -> Identity:
    fields = {item.name for item in dataclasses.fields(Identity)}
    if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
        raise _damaged(f"the file of plane {name!r} is not one of ours", path, name)
    if data["schema_version"] > SCHEMA_VERSION:
        raise Newer(
            f"plane {name!r} was written by a newer capi-llm",
            on=str(path),
            why=f"its file has schema version {data['schema_version']}, this one knows {SCHEMA_VERSION}",
            fix=f"install capi-llm {data.get('cli_version', '')} or newer",
        )
    try:
        plane = Identity(**{key: value for key, value in data.items() if key in fields})
        _check_types(plane)
    except TypeError as error:
        raise _damaged(
            f"the file of plane {name!r} is incomplete or wrong", path, name, str(error)
        ) from error
    if plane.name != name:
        raise _damaged("a plane file has another plane's name", path, name, f"it says {plane.name!r}")
    return plane


def _damaged(what: str, path: Path, name: str, why: str = "") -> Refused:
    return Refused(
        what,
        on=str(path),
        why=why,
        fix=f"restore the file, or `capi-llm destroy --name {name} --yes`, "
        "which ends what it can still find and removes the file",
    )


def _check_types(plane: Identity) -> None:
    values: dict[str, Any] = dataclasses.asdict(plane)
    for name, value in values.items():
        wanted: type = {"ports": dict, "choices": dict, "schema_version": int}.get(name, str)
        if not isinstance(value, wanted):
            raise TypeError(f"{name} is {value!r}")
    for name, port in values["ports"].items():
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise TypeError(f"port {name} is {port!r}")
    for name, choice in values["choices"].items():
        if not isinstance(choice, str):
            raise TypeError(f"choice {name} is {choice!r}")


def check_name(name: str, what: str) -> str:
    """``name`` if it is an RFC 1123 label (as in Kubernetes). Raises BadInput otherwise."""
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63].strip("-")
        raise BadInput(
            f"{what} {name!r} is not a valid name",
            why="it must be lowercase letters, digits and '-', at most 63, "
            "and begin and end with a letter or digit",
            fix=f"use {suggestion!r}" if suggestion else "choose another name",
        )
    return name
