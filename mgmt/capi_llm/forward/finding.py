"""From words to targets of one cluster: which of the known apps are there, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from capi_llm.errors import BadInput, NotFound
from capi_llm.forward.targets import APPS, App, Place, Target, app, service
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SERVICES, Ref


def targets(api: Api, words: Sequence[str], namespace: str = "") -> list[Target]:
    """The targets that ``words`` name. Raises NotFound for an app that is not there, BadInput."""
    found: list[Target] = []
    for word in words:
        if word.startswith(("svc/", "service/")):
            found.append(service(word, namespace or "default"))
            continue
        known, local = app(word)
        place = _place(api, known, namespace)
        if place is None:
            looked = ", ".join(str(item) for item in _places(known, namespace))
            raise NotFound(
                f"{known.name} is not on this cluster",
                why=f"there is no Service {looked}",
                fix=f"name it: svc/NAME:{known.local}:PORT -n NAMESPACE",
            )
        found.append(_target(known, local, place))
    names = [item.name for item in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BadInput(
            f"{twice} was named twice", fix="name it once; one forward takes any number of connections"
        )
    return found


def every(api: Api, namespace: str = "", *, management: bool = False) -> list[Target]:
    """All known apps that are on the cluster; a local port that two want goes to the first.

    ``management``: those of a management cluster too.
    """
    found: list[Target] = []
    taken: set[int] = set()
    for known in APPS:
        place = None if known.management and not management else _place(api, known, namespace)
        if place is None:
            continue
        local = next(port for port in range(known.local, 1 << 16) if port not in taken)
        taken.add(local)
        found.append(_target(known, local, place))
    return found


def _target(known: App, local: int, place: Place) -> Target:
    return Target(known.name, local, place, known.scheme, known.page)


def _places(known: App, namespace: str) -> list[Place]:
    places = [replace(place, namespace=namespace) if namespace else place for place in known.places]
    return list(dict.fromkeys(places))


def _place(api: Api, known: App, namespace: str) -> Place | None:
    for place in _places(known, namespace):
        if api.find(Ref(SERVICES, place.service, place.namespace)) is not None:
            return place
    return None
