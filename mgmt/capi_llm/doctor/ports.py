"""Loopback addresses and ports for a sandbox: tried by binding them, as its parts will."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.checks import Check, missing, ok
from capi_llm.errors import CapiLlmError, PrerequisiteMissing
from capi_llm.identity import Identities
from capi_llm.sandbox import ports
from capi_llm.settings import Settings


@dataclass(frozen=True)
class Ports:
    """Facts: what a new sandbox would get, or why it gets nothing."""

    ports: str
    loopback: str
    no_ports: str = ""
    no_loopback: str = ""
    fix: str = ""


def gather(settings: Settings) -> Ports:
    try:
        planes = Identities(settings.state).all()
    except CapiLlmError:
        planes = []  # told by the theme of planes
    found, none, fix = "", "", ""
    try:
        assigned = ports.assign(port for plane in planes for port in plane.ports.values())
        found = f"{len(assigned)} free ones, such as {min(assigned.values())}"
    except PrerequisiteMissing as error:
        none, fix = error.brief, error.fix
    try:
        loopback, nowhere = ports.assign_loopback(plane.loopback for plane in planes), ""
    except PrerequisiteMissing as error:
        loopback, nowhere, fix = "", error.brief, error.fix
    return Ports(found, loopback, none, nowhere, fix)


def judge(seen: Ports) -> list[Check]:
    return [
        missing("ports", seen.no_ports, seen.fix) if seen.no_ports else ok("ports", seen.ports),
        missing("loopback", seen.no_loopback, seen.fix)
        if seen.no_loopback
        else ok("loopback", f"{seen.loopback} is free for simulated machines"),
    ]
