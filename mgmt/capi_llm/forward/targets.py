"""What to forward: the known apps, and any Service, as a person writes them.

``litellm``, ``litellm:4001`` (another local port), ``svc/NAME:PORT``, ``svc/NAME:LOCAL:PORT``. PORT
is a number or a name of the Service's; a LOCAL of 0 is any free port.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from capi_llm.errors import BadInput

PRIVILEGED = 1024
"""Ports below this one need root; their local port is 8000 higher (80 → 8080, 443 → 8443)."""


SAME = -1
"""Local port of a target that has not been given one."""


@dataclass(frozen=True)
class Place:
    """A Service and its port, by number or by name."""

    namespace: str
    service: str
    port: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


@dataclass(frozen=True)
class App:
    """An app that is known by name. ``places`` are tried in turn, as charts put it into several.

    ``scheme`` is what its address begins with; ``page`` says that people open it in a browser, and
    ``management`` that it runs beside Cluster API and not on workload clusters.
    """

    name: str
    local: int
    places: tuple[Place, ...]
    scheme: str = "http"
    page: bool = False
    management: bool = False


@dataclass(frozen=True)
class Target:
    """One forward: a local port (0: any; SAME: that of the Service) and where it leads."""

    name: str
    local: int
    place: Place
    scheme: str = "http"
    page: bool = False

    def __str__(self) -> str:
        return str(self.place)


APPS = (
    App("openwebui", 8080, (Place("llm", "openwebui", "8080"),), page=True),
    App("litellm", 4000, (Place("llm", "litellm", "4000"),)),
    App("ollama", 11434, (Place("llm", "ollama", "11434"),)),
    App(
        "rancher", 8443, (Place("cattle-system", "rancher", "443"),),
        scheme="https", page=True, management=True,
    ),
    # The Service of the chart zero-to-jupyterhub, in the namespaces that its guide and recipes use.
    App(
        "jupyterhub", 8000,
        tuple(Place(namespace, "proxy-public", "80") for namespace in ("jupyterhub", "jhub")), page=True,
    ),
    # ingress-nginx's chart, RKE2's copy of it, and k3s' Traefik.
    App(
        "ingress", 8080,
        (
            Place("ingress-nginx", "ingress-nginx-controller", "80"),
            Place("kube-system", "rke2-ingress-nginx-controller", "80"),
            Place("kube-system", "traefik", "80"),
        ),
        page=True,
    ),
)  # fmt: skip
"""Every known app, in the order in which they get their local ports."""

BY_NAME = {app.name: app for app in APPS}

_SERVICE = re.compile(r"(?:svc|service)/(?P<name>[^:/]+)(?P<ports>(?::[^:]+){1,2})")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def is_target(word: str) -> bool:
    """Whether ``word`` means something to forward, and not a cluster."""
    return word.split(":")[0] in BY_NAME or word.startswith(("svc/", "service/"))


def app(word: str) -> tuple[App, int]:
    """The app that ``word`` names, and its local port. Raises BadInput."""
    name, _, local = word.partition(":")
    if name not in BY_NAME:
        close = difflib.get_close_matches(name, BY_NAME, 1)
        raise BadInput(
            f"there is no known app {name!r}",
            why=f"there are {', '.join(BY_NAME)}",
            fix=f"did you mean {close[0]!r}?" if close else f"name its Service: svc/{name}:PORT",
        )
    found = BY_NAME[name]
    return found, _number(local, word, least=0) if local else found.local


def service(word: str, namespace: str) -> Target:
    """``svc/NAME:[LOCAL:]PORT`` as a target. Raises BadInput."""
    match = _SERVICE.fullmatch(word)
    if match is None or not _NAME.fullmatch(match["name"]):
        raise BadInput(
            f"{word!r} is not something to forward",
            why=f"it is svc/NAME:PORT, svc/NAME:LOCAL:PORT or one of {', '.join(BY_NAME)}",
        )
    *before, port = match["ports"][1:].split(":")
    if port.isdigit():
        _number(port, word, least=1)
    elif not _PORT_NAME.fullmatch(port):
        raise BadInput(f"{port!r} is no port", on=word, why="a port is a number or its name in the Service")
    local = _number(before[0], word, least=0) if before else SAME
    return Target(f"svc/{match['name']}", local, Place(namespace, match["name"], port))


def local_port(target: Target, port: int) -> Target:
    """``target`` with a local port, where it has none of its own yet, for ``port`` of its Service."""
    if target.local != SAME:
        return target
    return replace(target, local=port + 8000 if port < PRIVILEGED else port)


def _number(text: str, word: str, *, least: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) < 1 << 16:
        raise BadInput(f"{text!r} is no port", on=word, why=f"a port is a number from {least} to 65535")
    return int(text)
