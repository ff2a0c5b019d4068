"""Bundles as they are to be on one cluster: which of them, and with which values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capi_llm import fields
from capi_llm.apps import values as merging
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import Origin, Release, Target
from capi_llm.errors import BadInput, Refused

SERVING = {"sandbox": "deployment", "kind": "knative", "existing": "knative"}
"""How models are served on clusters of a kind of plane, where nobody says it: a sandbox has no Knative."""

NONE = "none"
CONFIG_HASH = "configHash"

Set = Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Said:
    """What settings and command line say about values: by app, each with its place, the later wins."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By app."""

    found: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By app: what the cluster itself says, such as which Secrets are there."""

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By app: what the models mean for it. A bundle gets what it knows."""

    models_at: str = "models"
    where: str = "apps.values"
    files: tuple[Path, ...] = ()
    sets: tuple[str, ...] = ()


def wanted(
    bundles: Sequence[Bundle],
    names: Iterable[str] | None,
    kind: str,
    where: str,
    cni: str = "",
    *,
    brings: Collection[str] = (),
    spares: Collection[str] = (),
) -> tuple[Bundle, ...]:
    """The bundles to have on clusters of a plane of ``kind`` with network ``cni``: those that are named,
    else all that fit.

    All that fit are without those on demand, unless something ``brings`` them, and without ``spares``.
    Raises BadInput for a name that there is not, Refused for one that does not fit.
    """
    if names is None:
        return tuple(
            bundle
            for bundle in bundles
            if bundle.fits(kind, cni)
            and bundle.name not in spares
            and (not bundle.on_demand or bundle.name in brings)
        )
    known = {bundle.name: bundle for bundle in bundles}
    chosen = []
    for name in names:
        if name == NONE:
            continue
        if name not in known:
            raise fields.unknown(f"{where}: app", name, known)
        if not known[name].fits(kind):
            raise Refused(
                f"app {name!r} is not for clusters of a {kind}",
                why=f"it fits {', '.join(known[name].planes)}",
                fix="leave it out",
            )
        if not known[name].fits(kind, cni):
            raise Refused(
                f"app {name!r} is the network of other clusters",
                why=f"the network of this one is {cni}",
                fix="leave it out",
            )
        chosen.append(name)
    return tuple(bundle for bundle in bundles if bundle.name in chosen)


def any_of(names: Collection[str] | None) -> bool:
    """Whether ``names`` are any apps; without a word all that fit are."""
    return names is None or bool(set(names) - {NONE})


def needs(release: Release, bundles: Sequence[Bundle]) -> set[str]:
    """The bundles that ``release`` depends on, served as it is: a Deployment needs no Knative."""
    how = release.values.get("serving")
    others = {bundle.name for bundle in bundles if bundle.serving and how and bundle.serving != how}
    return set(release.bundle.depends_on) - others


def idle(releases: Sequence[Release]) -> set[str]:
    """The apps that are only for a way of serving that no other app uses."""
    used = {release.values.get("serving") for release in releases}
    return {
        release.app for release in releases if release.bundle.serving and release.bundle.serving not in used
    }


def of(
    bundles: Sequence[Bundle], kind: str, target: Target, said: Said, set_values: Set
) -> tuple[Release, ...]:
    """The releases of ``bundles`` on ``target``, in the same order, each as its Kubernetes asks for.

    ``set_values`` puts helm's ``--set`` over values. Raises BadInput, NotFound.
    """
    customized = {bundle.name: bundle.customization(target.kubernetes) for bundle in bundles}
    bundles = [bundle.on(target.kubernetes) for bundle in bundles]
    names = [bundle.name for bundle in bundles]
    files = [merging.of_file(path, names) for path in said.files]
    merging.check_sets(said.sets, names)
    by_app = {}
    for bundle in bundles:
        origins = [Origin(bundle.values, "", bundle.document, ("helm", "values"))]
        if (custom := customized[bundle.name]) is not None:
            origins.append(Origin(custom.values, "", bundle.document, custom.below))
        origins.append(Origin(_of_plane(bundle, kind, target), f"plane of kind {kind}"))
        models = {word: item for word, item in said.models.get(bundle.name, {}).items() if bundle.knows(word)}
        if models:
            origins.append(Origin(models, said.models_at))
        if bundle.name in said.found:
            origins.append(Origin(said.found[bundle.name], "what is in the cluster"))
        own = said.settings.get(bundle.name)
        if own:
            origins.append(Origin(own, f"{said.where}.{bundle.name}"))
        for file in files:
            if bundle.name in file.values:
                origins.append(Origin(file.values[bundle.name], "", file.document, (bundle.name,)))
        by_app[bundle.name] = tuple(origins)
    merged = {name: merging.merge(*(item.values for item in origins)) for name, origins in by_app.items()}
    if said.sets:
        merged = set_values(merged, said.sets)
        for name in names:
            by_app[name] = (*by_app[name], Origin(_by_set(said.sets, name), f"--set {name}"))
    for bundle in bundles:
        _point_at_configuration(bundle, bundles, merged)
    return tuple(
        _release(
            _choice(bundle, by_app[bundle.name]), target, merged.get(bundle.name) or {}, by_app[bundle.name]
        )
        for bundle in bundles
    )


def _choice(bundle: Bundle, origins: Sequence[Origin]) -> Bundle:
    """``bundle`` with what its customizations come to below the words of all others.

    Customizations are left only where the target's Kubernetes is not known here, so that Fleet chooses: what
    it chooses lies over everything else.
    """
    said = [origin.values for origin in origins[1:]]
    left = (replace(item, values=merging.unsaid(item.values, *said)) for item in bundle.customizations)
    return replace(bundle, customizations=tuple(left))


def _release(
    bundle: Bundle, target: Target, values: Mapping[str, Any], origins: tuple[Origin, ...]
) -> Release:
    if bundle.place == "workload":
        return Release(bundle, bundle.release, bundle.namespace, values, origins)
    # On the management side there is one for each cluster, beside the Cluster object.
    name = f"{target.name}-{bundle.release}"
    if len(name) > 53:
        raise BadInput(f"app {bundle.name}: the name of its Helm release is too long", on=name)
    return Release(bundle, name, target.namespace, values, origins)


def _of_plane(bundle: Bundle, kind: str, target: Target) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if bundle.knows("serving"):
        found["serving"] = SERVING[kind]
    if bundle.place == "management" and bundle.knows("autoDiscovery"):
        found["autoDiscovery"] = {"clusterName": target.name, "namespace": target.namespace}
        found["clusterAPIKubeconfigSecret"] = f"{target.name}-kubeconfig"
    network = ((bundle.values.get("installation") or {}).get("calicoNetwork")) or {}
    if network.get("ipPools") and target.pods:
        # Calico refuses a pool outside of the network that kubeadm was told.
        like = network["ipPools"][0]
        pools = [{**like, "cidr": cidr} for cidr in target.pods]
        found["installation"] = {"calicoNetwork": {"ipPools": pools}}
    return found


def _point_at_configuration(
    bundle: Bundle, bundles: Sequence[Bundle], merged: dict[str, dict[str, Any]]
) -> None:
    """Have the pods of ``bundle`` change with the bundles that configure them, if it knows ``configHash``."""
    own = merged.setdefault(bundle.name, {})
    above = [other for other in bundles if other.name in bundle.depends_on]
    if not above or not bundle.knows(CONFIG_HASH) or own.get(CONFIG_HASH):
        return
    parts = [[other.digest, merged.get(other.name) or {}] for other in above]
    text = json.dumps(parts, sort_keys=True)
    own[CONFIG_HASH] = hashlib.sha256(text.encode()).hexdigest()[:16]


def _by_set(sets: Iterable[str], app: str) -> dict[str, Any]:
    """The paths that ``--set`` says of ``app``, as a tree without values: for the place of a mistake."""
    found: dict[str, Any] = {}
    for text in sets:
        first, *path = text.partition("=")[0].partition("[")[0].split(".")
        at = found
        for part in path if first == app else ():
            at = at.setdefault(part, {})
    return found
