"""What an upgrade must not do: the version skew policy of Kubernetes and the rules of Cluster API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from capi_llm import versions
from capi_llm.clusters import tree
from capi_llm.contract import capi, rollout
from capi_llm.contract.conditions import deleting
from capi_llm.errors import Refused
from capi_llm.kube.resources import CLUSTERS, Object, Ref

_KUBELET_SKEW = 3


def check_state(cluster: Object, ref: Ref) -> None:
    """Refused where the cluster is none that a new version would go through."""
    if deleting(cluster):
        raise Refused(f"cluster {ref.name!r} is being deleted", on=str(ref))
    if not rollout.topology_version(cluster):
        raise Refused(
            f"cluster {ref.name!r} was not made from a ClusterClass",
            on=str(ref),
            fix="upgrade its control plane and its MachineDeployments one by one",
        )
    if capi.paused(cluster):
        raise Refused(
            f"cluster {ref.name!r} is paused, so that nothing would upgrade its machines",
            on=str(ref),
            fix=f"capi-llm kubeconfig --management -- kubectl -n {ref.namespace} patch {CLUSTERS} {ref.name} "
            '--type merge -p \'{"spec":{"paused":false}}\'',
        )


def check_step(have: str, want: str, name: str, namespace: str) -> None:
    """One minor version at a time and never back.

    From https://kubernetes.io/releases/version-skew-policy (kube-apiserver must not skip minor
    versions; a kubelet must not be newer than it) and ``validateTopologyVersion`` in
    https://github.com/kubernetes-sigs/cluster-api/blob/v1.10.7/internal/webhooks/cluster.go.
    """
    old, new = versions.parse(have), versions.parse(want)
    if new.precedence < old.precedence:
        raise Refused(
            f"cluster {name!r} can not go back from {have} to {want}",
            why="Kubernetes does not support downgrades, nor does Cluster API",
            fix=f"name {have} or a newer version, or make a new cluster with --version {want}",
        )
    if new.major == old.major and new.minor <= old.minor + 1:
        return
    steps = [f"v{old.major}.{minor}.0" for minor in range(old.minor + 1, new.minor)] + [want]
    where = "" if namespace == "default" else f" -n {namespace}"
    raise Refused(
        f"cluster {name!r} can not go from {have} to {want} at once",
        why="Kubernetes supports one minor version at a time",
        fix=("\n" + " " * 12).join(f"capi-llm upgrade cluster {name} --to {step}{where}" for step in steps),
    )


def check_kubelets(machines: Iterable[Object], want: str) -> None:
    """No kubelet more than three minor versions older than the new API server (two before 1.28).

    From https://kubernetes.io/releases/version-skew-policy/#kubelet.
    """
    new = versions.parse(want)
    allowed = _KUBELET_SKEW if (new.major, new.minor) >= (1, 28) else _KUBELET_SKEW - 1
    for machine in machines:
        runs = rollout.kubelet_version(machine) or rollout.machine_version(machine)
        if runs and new.minor - versions.parse(runs).minor > allowed:
            raise Refused(
                f"machine {machine['metadata']['name']} would be too old for {want}",
                why=f"its kubelet is {runs}, and Kubernetes supports {allowed} minor versions between "
                "API server and kubelet",
                fix="bring the pool of that machine to the cluster's present version first",
            )


def check_settled(objects: tree.Objects, have: str, name: str, namespace: str) -> None:
    """Cluster API takes no other version while one is under way (``validateTopologyVersion``, as above)."""
    where = "" if namespace == "default" else f" -n {namespace}"
    initialized = [capi.control_plane_initialized(obj) for obj in objects.clusters]
    if not all(initialized) or not objects.control_planes:
        raise Refused(
            f"the control plane of cluster {name!r} is still being made",
            fix=f"capi-llm wait cluster {name}{where}, then this command again",
        )
    left = next(behind(objects, have), None)
    if left is not None:
        raise Refused(
            f"cluster {name!r} is still being upgraded to {have}",
            why=left,
            fix=f"capi-llm upgrade cluster {name} --to {have}{where} waits for its end; "
            "then this command again",
        )


def behind(objects: tree.Objects, version: str) -> Iterator[str]:
    """What has not arrived at ``version``, the control plane first."""
    for obj in objects.control_planes:
        wanted, runs = rollout.control_plane_versions(obj)
        if wanted != version:
            yield f"the control plane has not taken over {version} yet"
        elif runs != version:
            yield f"the control plane still has machines of {runs or 'an unknown version'}"
    for obj in objects.machine_deployments:
        if not deleting(obj) and rollout.pool_version(obj) != version:
            yield f"pool {pool_name(obj)} has not taken over {version} yet"
    for obj in objects.machines:
        name, kubelet = obj["metadata"]["name"], rollout.kubelet_version(obj)
        if rollout.machine_version(obj) != version:
            yield f"machine {name} runs {rollout.machine_version(obj)}"
        elif kubelet and _numbers(kubelet) != _numbers(version):
            yield f"machine {name} was made with an image of another version: its kubelet is {kubelet}"


def pool_name(deployment: Object) -> str:
    """The name of a MachineDeployment's pool in the topology."""
    labels = deployment["metadata"].get("labels") or {}
    return str(labels.get(tree.POOL_NAME) or deployment["metadata"]["name"])


def _numbers(version: str) -> tuple[int, int, int]:
    return versions.parse(version)[:3]
