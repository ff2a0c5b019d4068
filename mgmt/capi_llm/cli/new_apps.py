"""The apps of a cluster that was just made, or found as it was asked for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from capi_llm.cli.options import State

if TYPE_CHECKING:
    from capi_llm.apps.stack import Stack
    from capi_llm.clusters.spec import ClusterSpec
    from capi_llm.kube.resources import Object
    from capi_llm.settings import Settings
    from capi_llm.steps.context import Plane
    from capi_llm.waiting import Status


def named(settings: Settings, option: str | None) -> tuple[str, ...] | None:
    """The apps of ``--apps``, None where it was not given. Refuses one that there is not, there or in the
    settings, before a cluster is made."""
    from capi_llm.apps import catalogue
    from capi_llm.apps.releases import NONE
    from capi_llm.apps.selection import bundles_of

    names = None if option is None else tuple(filter(None, option.split(",")))
    wanted = settings.apps if names is None else names
    if wanted is not None:
        where = "apps.wanted" if names is None else "--apps"
        catalogue.choose(bundles_of(settings), [name for name in wanted if name != NONE], where)
    return names


def check_engine(settings: Settings, here: Plane, names: tuple[str, ...] | None) -> None:
    """Refuse apps by Fleet on a plane without it, before a cluster is made."""
    from capi_llm.apps.fleet.registration import require_fleet
    from capi_llm.apps.releases import any_of

    engine = settings.delivery or here.identity.choices.get("delivery", "")
    if engine == "fleet" and any_of(settings.apps if names is None else names):
        require_fleet(here.api())


def check_kubernetes(settings: Settings, kind: str, spec: ClusterSpec, names: tuple[str, ...] | None) -> None:
    """Refuse apps that have nothing for the Kubernetes of a cluster, before that is made."""
    from capi_llm.apps import delivery, selection
    from capi_llm.apps.releases import NONE
    from capi_llm.clusters.topology import manifest

    target, bundles = delivery.target(manifest(spec)), selection.bundles_of(settings)
    if not any(bundle.too_new(target.kubernetes) for bundle in bundles):
        return
    own = selection.of(settings, kind, target, bundles, settings.provider_keys)
    # Without workers it gets its network alone.
    own.brought(names if any(pool.minimum for pool in spec.pools) else (NONE,))


def bring_network(state: State, here: Plane, cluster: Object, *, timeout: float) -> None:
    """Bring what is the network of a new cluster, as soon as its API server answers: without it no node is
    ever ready. Whatever apps are wanted; not where the cluster brings its own."""
    from capi_llm.cli.wait import wait_for
    from capi_llm.contract import capi
    from capi_llm.waiting import pending, ready

    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    cni = cluster["metadata"].get("labels", {}).get("cni", "")
    if not _network_bundle(state.settings, here.identity.kind, cni):
        return

    def initialized(view: Any, objects: Any) -> Status:
        own = (obj for obj in objects.clusters if obj["metadata"]["name"] == name)
        up = any(capi.control_plane_initialized(obj) for obj in own)
        return ready() if up else pending(view.status.message or "its first API server is being made")

    wait_for(state, here, name, namespace, timeout, verdict=initialized)
    _deliver_network(state, here, name, namespace, timeout)


def _deliver_network(state: State, here: Plane, name: str, namespace: str, timeout: float) -> None:
    from capi_llm.cli.app_delivery import deliver

    with _opened(state, here, name, namespace) as apps:
        deliver(state, apps, apps.network(), force=False, wait=False, timeout=timeout)


def _opened(state: State, here: Plane, name: str, namespace: str) -> contextlib.AbstractContextManager[Stack]:
    from capi_llm.apps import stack

    engine = here.identity.choices.get("delivery", "")
    return stack.opened(
        state.settings, here.identity.kind, here.api(), name, namespace, engine=engine, cancel=state.cancel
    )


def network_of_several(
    state: State, here: Plane, first: ClusterSpec, *, timeout: float
) -> Callable[[str], None] | None:
    """What brings the network to one of several new clusters, by its name; None where none is to be brought.

    It says nothing: the clusters have one picture.
    """
    from copy import copy

    from capi_llm.cli.console import Console
    from capi_llm.clusters import topology

    labels = topology.default_labels(first) | dict(first.labels)
    if not _network_bundle(state.settings, here.identity.kind, labels["cni"]):
        return None
    silent = copy(state)
    silent.console = Console(quiet=True)

    def bring(name: str) -> None:
        _deliver_network(silent, here, name, first.namespace, timeout)

    return bring


def _network_bundle(settings: Settings, kind: str, cni: str) -> bool:
    """Whether a bundle is that network."""
    from capi_llm.apps.selection import bundles_of

    return any(bundle.cni == cni and bundle.fits(kind) for bundle in bundles_of(settings) if bundle.cni)


def bring(
    state: State, here: Plane, name: str, namespace: str, names: tuple[str, ...] | None, *, timeout: float
) -> None:
    """Bring the apps that are wanted to a cluster that is ready, or say why not.

    ``names`` are those of the command line, None where it names none. ``timeout`` is in seconds.
    """
    from capi_llm.apps import stack
    from capi_llm.apps.releases import any_of
    from capi_llm.cli.app_delivery import deliver
    from capi_llm.contract.core import takes_pods
    from capi_llm.kube.resources import NODES

    if not any_of(state.settings.apps if names is None else names):
        return
    where = f"Cluster {namespace}/{name}"
    try:
        with _opened(state, here, name, namespace) as apps:
            if not any(takes_pods(node) for node in apps.workload.list(NODES)):
                later = f"once there are some, capi-llm apps apply {name} brings apps"
                state.console.say(f"{where} has no workers: {later}.")
                return
            releases = apps.choose(names or (), with_needs=True)
            deliver(state, apps, releases, force=False, wait=True, timeout=timeout)
    except stack.CanNotHaveApps as error:
        if names is not None:
            raise
        state.console.say(f"{where} has no apps: {error.why}.")


def follow_all(
    state: State,
    here: Plane,
    namespace: str,
    clusters: Sequence[str],
    names: tuple[str, ...] | None,
    *,
    timeout: float,
) -> None:
    """What follows when clusters are ready, for several side by side: the import of each, then its apps.

    ``timeout`` is for all of them together. What failed is said at the end, and the first of it raised.
    """
    from capi_llm import plane
    from capi_llm.apps.releases import any_of
    from capi_llm.cli import side_by_side
    from capi_llm.cli.imports import has_imports, wait_for_import

    deadline = time.monotonic() + timeout
    if not has_imports(here) and not any_of(state.settings.apps if names is None else names):
        return

    def left() -> float:
        return max(0.0, deadline - time.monotonic())

    def work(own: State, cluster: str) -> None:
        name = cluster.partition("/")[2]
        with plane.working_on_cluster(
            own.settings, own.plane, name, namespace, f"new-cluster {name}"
        ) as locked:
            wait_for_import(own, locked, name, namespace, left())
            bring(own, locked, name, namespace, names, timeout=left())

    failures = side_by_side.run(state, [f"{namespace}/{name}" for name in clusters], work)
    for error in failures[1:]:
        state.console.error(error)
    if failures:
        raise failures[0]
