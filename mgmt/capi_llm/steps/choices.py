"""What a plane of kind ``kind`` or ``existing`` was asked to be, when it was made.

It is written into the plane's file, so that ``bootstrap`` without options goes on with the same
recipe, and a newer capi-llm with other defaults does not change a plane that is there. It is
the user's intent, never a record of what was done: that is read from the cluster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capi_llm import compatibility, versions
from capi_llm.errors import BadInput, Refused
from capi_llm.identity import Identity
from capi_llm.settings import Found, Settings

DEFAULT_CLUSTER = "llm-rancher"
"""The kind cluster of the plane that nobody has named."""


def _of(path: str, default: str = "") -> Any:
    """A field that the setting ``path`` fills."""
    return field(default=default, metadata={"setting": path})


@dataclass(frozen=True)
class Choices:
    """All are text; empty is: not on such a plane."""

    rancher: str = _of("rancher.version")
    """Rancher's version; empty: a plane without Rancher."""

    hostname: str = _of("rancher.hostname")
    expose: str = _of("management.expose")
    ingress_class: str = _of("rancher.ingressClass")
    certificate: str = _of("rancher.certificate")
    """Secret with Rancher's certificate, where the user brings one."""

    webhook_certs: str = _of("management.webhookCerts", "self")
    delivery: str = _of("apps.delivery", "direct")
    cluster: str = _of("management.name")
    """Name of the kind cluster."""

    kubernetes: str = _of("management.kubernetes")
    node_image: str = _of("management.nodeImage")

    @classmethod
    def of(cls, identity: Identity) -> Choices:
        """Those that are written in the plane's file; what it does not say is as of old."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in identity.choices.items() if name in names})

    def as_mapping(self) -> dict[str, str]:
        return dataclasses.asdict(self)


def new(settings: Settings, kind: str, name: str, default_name: str) -> Choices:
    """The choices of a new plane: what was said, else the defaults of this version.

    Raises BadInput for two that do not go together.
    """
    if kind == "sandbox":
        return Choices(webhook_certs="", delivery="")
    rancher = settings.rancher_version if _rancher_wanted(settings, default=True) else ""
    said = {**_said(settings)}
    if not rancher and (found := settings.said("management.expose")):
        raise BadInput(
            f"{found.where}: there is no Rancher to expose",
            why="the plane is to be without Rancher",
            fix="leave it out, or leave --without-rancher out",
        )
    cluster = kubernetes = image = ""
    if kind == "kind":
        cluster = said.get("cluster") or (DEFAULT_CLUSTER if name == default_name else name)
        kubernetes = said.get("kubernetes") or versions.NODE_KUBERNETES
        image = said.get("node_image") or _node_image(kubernetes)
        kubernetes = _kubernetes_of(image) or kubernetes
    return Choices(
        rancher=rancher,
        hostname=settings.rancher_hostname if rancher else "",
        expose=_exposure(settings, said, kind) if rancher else "",
        ingress_class=said.get("ingress_class", "") if rancher else "",
        certificate=said.get("certificate", "") if rancher else "",
        webhook_certs=said.get("webhook_certs") or "self",
        delivery=said.get("delivery") or ("fleet" if rancher else "direct"),
        cluster=cluster,
        kubernetes=kubernetes,
        node_image=image,
    )


def upgraded(identity: Identity, settings: Settings) -> Identity:
    """``identity`` with the Rancher that is said now, where it is newer. Raises BadInput, Refused."""
    have, said = Choices.of(identity).rancher, settings.said("rancher.version")
    if not have or said is None or str(said.value) == have:
        return identity
    target = compatibility.step_towards(have, str(said.value))
    return dataclasses.replace(identity, choices={**identity.choices, "rancher": target.rancher})


def check_same(identity: Identity, settings: Settings) -> None:
    """Raise Refused where something else is said now than the plane was made with."""
    if identity.kind == "sandbox":
        return
    choices = Choices.of(identity)
    changed = list(_changed(choices, settings))
    if changed:
        raise Refused(
            f"plane {identity.name!r} was made with other choices; nothing was changed",
            why="; ".join(changed),
            fix="leave that out to go on with the plane as it is, or choose another --name for a plane "
            "with it; `bootstrap --upgrade` takes a plane to newer versions",
        )


def _changed(choices: Choices, settings: Settings) -> Iterator[str]:
    wanted = _rancher_wanted(settings, default=bool(choices.rancher))
    if wanted != bool(choices.rancher):
        have = f"with Rancher {choices.rancher}" if choices.rancher else "without Rancher"
        yield f"it is {have}"
    for item in dataclasses.fields(Choices):
        found = settings.said(item.metadata["setting"])
        have = getattr(choices, item.name)
        if found is None or (item.name in _OF_RANCHER and not choices.rancher):
            continue
        if item.name == "kubernetes" and settings.said("management.nodeImage"):
            continue  # the image says it
        if str(found.value) != have:
            yield f"{found.where} says {found.value}, it has {have or 'none'}"


_OF_RANCHER = ("rancher", "hostname", "expose", "ingress_class", "certificate")


def _said(settings: Settings) -> Mapping[str, str]:
    found = {item.name: settings.said(item.metadata["setting"]) for item in dataclasses.fields(Choices)}
    return {name: str(item.value) for name, item in found.items() if item}


def _rancher_wanted(settings: Settings, *, default: bool) -> bool:
    found: Found | None = settings.said("management.rancher")
    return default if found is None else bool(found.value)


def _exposure(settings: Settings, said: Mapping[str, str], kind: str) -> str:
    if said.get("expose"):
        return said["expose"]
    if settings.ngrok_api_key and settings.ngrok_authtoken:
        return "ngrok"
    return "docker" if kind == "kind" else ""


def _node_image(kubernetes: str) -> str:
    return versions.NODE_IMAGES.get(kubernetes, f"kindest/node:{kubernetes}")


def _kubernetes_of(image: str) -> str:
    """The Kubernetes version that the tag of a node image says; "" where it says none."""
    tag = image.partition("@")[0].rpartition(":")[2]
    try:
        return str(versions.parse(tag))
    except ValueError:
        return ""
