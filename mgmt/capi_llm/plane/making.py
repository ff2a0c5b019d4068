"""Which plane a bootstrap is about: its name, its kind, and what it is asked to be."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from capi_llm.containers.docker import Docker
from capi_llm.errors import BadInput, Refused
from capi_llm.identity import Identities, Identity, check_name, writable
from capi_llm.plane import recipes
from capi_llm.sandbox import ports, workload
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.supervisor import instance_of
from capi_llm.settings import Settings, command_environment
from capi_llm.steps import choices
from capi_llm.steps.kind_cluster import instance_in


class Chosen(NamedTuple):
    """The plane to make or to resume. ``why`` says in one line why it has this kind; empty: it was said."""

    name: str
    kind: str
    why: str = ""


def choose(settings: Settings, name: str = "", kind: str = "") -> Chosen:
    """Name and kind of the plane to make or to resume. A new plane that nobody has named is called
    like its kind.

    Raises BadInput for a kind that there is not, Refused where the plane is of another kind, or where
    several planes are there and none was named.
    """
    kind = kind or settings.kind
    if kind and kind not in recipes.KINDS:
        raise BadInput(
            f"there is no plane kind {kind!r}",
            why=f"there are: {', '.join(recipes.KINDS)}",
            fix="capi-llm bootstrap --plane sandbox",
        )
    chosen = _named(settings, name)
    found = Identities(settings.state).find(chosen) if chosen else None
    if found is not None:
        recipes.check_kind(found)
        if kind and kind != found.kind:
            raise Refused(
                f"plane {chosen!r} is of kind {found.kind}",
                why=f"kind {kind} was asked for",
                fix=f"leave --plane and plane.kind out, or choose another --name for a plane of kind {kind}",
            )
        return Chosen(chosen, found.kind)
    why = ""
    if not kind:
        kind, why = _kind_here()
    return Chosen(check_name(chosen or kind, "plane name"), kind, why)


def choose_name(settings: Settings, name: str = "") -> str:
    """The name of the plane that a reader is about, also where there is none yet."""
    return check_name(_named(settings, name) or "sandbox", "plane name")


def kind_of(settings: Settings, name: str = "") -> str:
    """The kind of the plane that a command is about; of one that is not there, what was said, or sandbox."""
    found = Identities(settings.state).find(choose_name(settings, name))
    return found.kind if found else settings.kind or "sandbox"


def _named(settings: Settings, name: str) -> str:
    """The plane that was named, or the only one; "" where there is none."""
    identities = Identities(settings.state)
    names = identities.names()
    chosen = name or settings.plane or identities.used() or (names[0] if len(names) == 1 else "")
    if not chosen and names:
        return identities.resolve("", "").name  # refuses, and says how to name one
    return chosen


def _kind_here() -> tuple[str, str]:
    """The kind of a plane of which nobody has said one, and why."""
    docker = Docker.here(command_environment())
    version = docker.version() if docker else ""
    if version:
        return "kind", f"a kind cluster, as Docker {version} answers"
    return "sandbox", (
        "a sandbox, as no Docker answers: real control plane on this machine, simulated machines"
    )


def identity(settings: Settings, chosen: Chosen, *, upgrade: bool = False) -> Identity:
    """The plane's identity: as recorded, or a new one, which is not written down yet.

    With ``upgrade``, a newer Rancher may be said than the recorded one. Raises Refused where the
    recorded one has other choices than are said now.
    """
    found = Identities(settings.state).find(chosen.name)
    if found is None:
        return _NEW[chosen.kind](settings, chosen.name)
    writable(found)
    if upgrade:
        found = choices.upgraded(found, settings)
    choices.check_same(found, settings)
    _check_place(found, settings)
    return found


def _new_sandbox(settings: Settings, name: str) -> Identity:
    others = Identities(settings.state).all()
    folder = layout(settings.state, name)
    return Identity(
        name=name,
        kind="sandbox",
        kubeconfig=str(folder.admin_kubeconfig),
        context=f"capi-llm-{name}",
        # Where only the plane file was lost, what still runs is known by its word and taken over.
        instance=instance_of(folder) or secrets.token_hex(8),
        loopback=ports.assign_loopback(plane.loopback for plane in others),
        ports=ports.assign(workload.reserved_ports(settings.state)),
    )


def _new_kind(settings: Settings, name: str) -> Identity:
    wanted = choices.new(settings, "kind", name, "kind")
    return Identity(
        name=name,
        kind="kind",
        kubeconfig=str(folder(settings, name) / "kubeconfig"),
        context=f"kind-{wanted.cluster}",
        # Where only the plane file was lost, the cluster is known by its word and taken over.
        instance=instance_in(folder(settings, name)) or secrets.token_hex(8),
        choices=wanted.as_mapping(),
    )


def _new_existing(settings: Settings, name: str) -> Identity:
    file, context = settings.said("management.kubeconfig"), settings.said("management.context")
    if file is None or context is None:
        raise BadInput(
            "a plane of kind existing needs --kubeconfig and --context",
            why="capi-llm never takes the kubeconfig and context that happen to be current",
            fix="kubectl config get-contexts -o name lists the contexts",
        )
    wanted = choices.new(settings, "existing", name, "existing")
    return Identity(
        name=name,
        kind="existing",
        kubeconfig=str(file.value),
        context=str(context.value),
        instance=secrets.token_hex(8),
        choices=wanted.as_mapping(),
    )


_NEW = {"sandbox": _new_sandbox, "kind": _new_kind, "existing": _new_existing}


def _check_place(recorded: Identity, settings: Settings) -> None:
    """Raise Refused where another cluster is named than the one that the plane ``existing`` is on."""
    if recorded.kind != "existing":
        return
    for path, have in (
        ("management.kubeconfig", recorded.kubeconfig),
        ("management.context", recorded.context),
    ):
        said = settings.said(path)
        if said is not None and str(said.value) != have:
            raise Refused(
                f"plane {recorded.name!r} is another cluster",
                why=f"{said.where} says {said.value}, recorded is {have}",
                fix="leave it out, or choose another --name",
            )


def folder(settings: Settings, name: str) -> Path:
    """Where the files of the kind plane ``name`` are."""
    return settings.state / "kind" / name
