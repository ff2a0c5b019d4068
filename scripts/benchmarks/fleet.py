"""A plane with hundreds of clusters that stand still: real objects, and nobody who changes them.

One cluster is made as usual. Then Cluster API's managers are started again with a watch filter
that matches nothing: their webhooks answer, their controllers leave every object alone. The
cluster's objects are copied under other names, and their status is written as it was.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.place import Place
from capi_llm import plane
from capi_llm.clusters import tree
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    MACHINE_SETS,
    MACHINES,
    NAMESPACES,
    Object,
    Resource,
)
from capi_llm.sandbox.layout import Layout, layout
from capi_llm.sandbox.parts import MANAGERS
from sandboxes import Sandbox

PATTERN = "bench-pattern"
FLEET, ALONE = "fleet", "alone"
"""Namespaces: of all clusters, and of one copy that has its own to itself."""

KINDS: tuple[Resource, ...] = (CLUSTERS, KUBEADM_CONTROL_PLANES, MACHINE_DEPLOYMENTS, MACHINE_SETS, MACHINES)
"""What is copied, owners first."""

_SERVERS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


@dataclass(frozen=True)
class Fleet:
    """The sandbox with its clusters; ``machines`` is how many there are in namespace fleet."""

    sandbox: Sandbox
    clusters: int
    machines: int


def standing_still(place: Place) -> Fleet:
    """A fleet of the sizes of ``place``, every cluster of it ready; made once and kept."""
    if place.fleet is None:
        place.fleet = place.kept.enter_context(_made(place))
    found: Fleet = place.fleet
    return found


@contextlib.contextmanager
def _made(place: Place) -> Iterator[Fleet]:
    with place.sandbox(fresh=True) as sandbox:
        api, count = sandbox.api, place.sizes.clusters
        for namespace in (FLEET, ALONE):
            api.create(NAMESPACES, {"metadata": {"name": namespace}})
        place.say(f"making a cluster with {place.sizes.workers} workers")
        sandbox.cli("new-cluster", PATTERN, "-n", FLEET, "--workers", str(place.sizes.workers))
        stop_controllers(layout(sandbox.settings.state, sandbox.name))
        plane.bootstrap(sandbox.settings, name=sandbox.name)  # waits until the webhooks answer
        place.say(f"copying it {count} times")
        pattern = {kind: api.list(kind, FLEET) for kind in KINDS}
        wanted = [(FLEET, f"bench-{number:04}") for number in range(1, count)] + [(ALONE, "bench-0000")]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: copy(api, pattern, *item), wanted))
        views = tree.overview(tree.collect(api, None))
        if wrong := [view for view in views if not view.status.ready]:
            raise RuntimeError(
                f"{len(wrong)} clusters are not ready: {wrong[0].name}: {wrong[0].status.message}"
            )
        yield Fleet(sandbox, count, len(api.list(MACHINES, FLEET)))


def stop_controllers(where: Layout) -> None:
    """Start the managers again with a filter that no object matches.

    Supervisor's own program does it, so that capi-llm finds the configuration that it wrote down.
    """
    text = where.supervisor_config.read_text()
    where.supervisor_config.write_text(
        text.replace(" --insecure-diagnostics", " --insecure-diagnostics --watch-filter=nobody")
    )
    config = where.config / "supervisorctl.conf"
    config.write_text(f"[supervisorctl]\nserverurl = unix://{where.socket}\n")
    control = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(config)]
    for words in (["update"], ["start", *MANAGERS]):
        subprocess.run([*control, *words], check=True, capture_output=True)


def copy(api: Api, pattern: dict[Resource, list[Object]], namespace: str, name: str) -> None:
    """Create the objects of ``pattern`` as those of cluster ``name``, with their status."""
    uids: dict[tuple[str, str], str] = {}
    for kind in KINDS:
        for obj in pattern[kind]:
            new = renamed(obj, namespace, name)
            owners = new["metadata"].get("ownerReferences") or []
            for owner in owners:
                owner["uid"] = uids.get((owner["kind"], owner["name"]), owner["uid"])
            status = new.pop("status")
            made = api.create(kind, new)
            uids[kind.kind, made["metadata"]["name"]] = made["metadata"]["uid"]
            _as_observed(status, made["metadata"]["generation"])
            api.merge_patch(kind.ref(made), {"status": status}, subresource="status")


def renamed(obj: Object, namespace: str, name: str) -> Object:
    """``obj`` of the pattern as the same object of cluster ``name``. Pure."""
    text = json.dumps(obj).replace(PATTERN, name)
    new: Object = json.loads(text.replace(f'"namespace": "{FLEET}"', f'"namespace": "{namespace}"'))
    for key in _SERVERS:
        new["metadata"].pop(key, None)
    return new


def _as_observed(value: Any, generation: int) -> None:
    """Every ``observedGeneration`` in ``value`` as if its controller had seen this one."""
    if isinstance(value, dict):
        if "observedGeneration" in value:
            value["observedGeneration"] = generation
        for item in value.values():
            _as_observed(item, generation)
    elif isinstance(value, list):
        for item in value:
            _as_observed(item, generation)
