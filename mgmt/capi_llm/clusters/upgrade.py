"""Another Kubernetes version for a cluster: the rules, the plan, the change, and the wait for its end.

Cluster API takes a new ``topology.version`` through the cluster in this order: the control
plane, one machine after the other; then the pools, as many at once as the annotation
``topology.cluster.x-k8s.io/upgrade-concurrency`` says (one without it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import tenacity

from capi_llm import versions
from capi_llm.clusters import skew, tree
from capi_llm.clusters.create import Verdict
from capi_llm.clusters.kubeconfig import unknown_cluster
from capi_llm.clusters.topology import INTENT, intent, kubernetes_label, pool_entries, spec_of
from capi_llm.contract import capi, rollout
from capi_llm.contract.conditions import replicas
from capi_llm.errors import Conflict, Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINE_DEPLOYMENTS, Object, Ref
from capi_llm.provider.kinds import KWOK_CONTROL_PLANES
from capi_llm.waiting import Status, pending, ready


@dataclass(frozen=True)
class Stage:
    """One thing that is taken to the new version: ``machines`` there are, ``behind`` of them to replace."""

    what: str
    before: str
    machines: int
    behind: int
    how: str


@dataclass(frozen=True)
class Plan:
    """What an upgrade does, in order. ``begun``: the topology asks for ``after`` already."""

    name: str
    namespace: str
    before: str
    after: str
    begun: bool
    concurrency: int
    stages: tuple[Stage, ...]

    @property
    def done(self) -> bool:
        return self.begun and not any(stage.behind or stage.before != self.after for stage in self.stages)


def plan(api: Api, name: str, namespace: str, version: str) -> Plan:
    """What has to be done for ``version``. Changes nothing.

    Raises NotFound; Refused where the version skew policy, Cluster API or the cluster's state
    forbids it, with what to do instead.
    """
    ref = Ref(CLUSTERS, name, namespace)
    cluster = api.find(ref)
    if cluster is None:
        others = [CLUSTERS.ref(obj) for obj in api.list(CLUSTERS)]
        raise unknown_cluster(name, namespace, others)
    skew.check_state(cluster, ref)
    objects = _of_cluster(tree.collect(api, namespace), name)
    have = rollout.topology_version(cluster)
    begun = have == version
    if not begun:
        skew.check_step(have, version, name, namespace)
        skew.check_kubelets(objects.machines, version)
        skew.check_settled(objects, have, name, namespace)
    held = rollout.held_back(pool_entries(cluster))
    if held:
        pool, why = next(iter(held.items()))
        raise Refused(
            f"pool {pool!r} is held back from upgrades",
            on=str(ref),
            why=f"by the annotation {why}",
            fix="take the annotation out of the Cluster's topology; "
            "until then no upgrade of this cluster comes to an end",
        )
    before = _oldest(objects, have)
    return Plan(
        name,
        namespace,
        before,
        version,
        begun,
        rollout.upgrade_concurrency(cluster),
        tuple(_stages(objects, version)),
    )


def ask(api: Api, wanted: Plan) -> None:
    """Ask the webhooks of Cluster API about every change of ``wanted``, by server-side dry run.

    Raises Invalid with their words. Changes nothing. Nothing is left to ask where it has begun.
    """
    if wanted.begun:
        return
    ref = Ref(CLUSTERS, wanted.name, wanted.namespace)
    api.merge_patch(ref, _patch(api.get(ref), wanted.after), dry_run=True)
    objects = _of_cluster(tree.collect(api, wanted.namespace), wanted.name)
    for obj in objects.control_planes:
        api.merge_patch(tree.resource_of(obj).ref(obj), {"spec": {"version": wanted.after}}, dry_run=True)
    for obj in objects.machine_deployments:
        change = {"spec": {"template": {"spec": {"version": wanted.after}}}}
        api.merge_patch(MACHINE_DEPLOYMENTS.ref(obj), change, dry_run=True)


def start(api: Api, wanted: Plan) -> bool:
    """Write the version into the Cluster; False where it is there already, and nothing was written.

    Tried again on a Conflict, as controllers write the Cluster's status all the time; refused
    where somebody changed the version meanwhile.
    """
    if wanted.begun:
        return False
    _start(api, Ref(CLUSTERS, wanted.name, wanted.namespace), wanted)
    return True


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(Conflict),
    stop=tenacity.stop_after_attempt(10),
    wait=tenacity.wait_random(0.05, 0.3),
    reraise=True,
)
def _start(api: Api, ref: Ref, wanted: Plan) -> None:
    cluster = api.get(ref)
    have = rollout.topology_version(cluster)
    if have == wanted.after:
        return
    if have != wanted.before:
        raise Refused(
            f"the version of cluster {ref.name!r} was changed meanwhile",
            on=str(ref),
            why=f"it was {wanted.before} and is {have}",
            fix="run the same command again",
        )
    api.merge_patch(ref, _patch(cluster, wanted.after))


def verdict(version: str) -> Verdict:
    """READY only when control plane, pools and every machine of a cluster run ``version``.

    For :func:`~capi_llm.clusters.create.wait_ready`: it is asked at every change.
    """

    def look(view: tree.ClusterView, objects: tree.Objects) -> Status:
        cluster = next(obj for obj in objects.clusters if _is(obj, view.name, view.namespace))
        asked = rollout.topology_version(cluster)
        if asked != version:
            return Status(view.status.state.FAILED, f"somebody else changed the version to {asked} meanwhile")
        own = _of_cluster(objects, view.name)
        behind = next(skew.behind(own, version), None)
        new = sum(rollout.machine_version(obj) == version for obj in own.machines)
        progress = f"{new} of {len(own.machines)} machines run {version}"
        if view.status.failed:
            return view.status
        if not view.status.ready:
            return pending(f"{progress}; {view.status.message}", cause=view.status.cause, fix=view.status.fix)
        return ready() if behind is None else pending(f"{progress}; {behind}")

    return look


def _stages(objects: tree.Objects, version: str) -> Iterator[Stage]:
    for obj in objects.control_planes:
        own = [
            item
            for item in objects.machines
            if capi.CONTROL_PLANE_MACHINE in (item["metadata"].get("labels") or {})
        ]
        wanted, runs = rollout.control_plane_versions(obj)
        if tree.resource_of(obj) == KWOK_CONTROL_PLANES:
            behind = int((runs or wanted) != version)
            how_it_is = f"the version only: its API server stays the sandbox's {versions.KUBERNETES}"
            yield Stage("control plane", runs or wanted, 1, behind, how_it_is)
            continue
        how = rollout.control_plane_strategy(obj)
        text = "one after the other" if how.surge else "one after the other, the old one first"
        yield _stage(
            "control plane", runs or wanted, own, replicas(obj).desired, version, _on_delete(how, text)
        )
    for obj in objects.machine_deployments:
        name = obj["metadata"]["name"]
        own = [
            item
            for item in objects.machines
            if (item["metadata"].get("labels") or {}).get(tree.DEPLOYMENT_NAME) == name
        ]
        how = rollout.pool_strategy(obj)
        text = f"up to {how.surge} new first" if how.surge else ""
        if how.unavailable:
            text = ", ".join(filter(None, (text, f"up to {how.unavailable} old gone at a time")))
        yield _stage(
            f"pool {skew.pool_name(obj)}",
            rollout.pool_version(obj),
            own,
            replicas(obj).desired,
            version,
            _on_delete(how, text),
        )


def _stage(what: str, before: str, machines: Sequence[Object], desired: int, version: str, how: str) -> Stage:
    behind = sum(rollout.machine_version(obj) != version for obj in machines)
    return Stage(what, before, max(desired, len(machines)), behind, how)


def _on_delete(how: rollout.Strategy, text: str) -> str:
    return "each when you delete it (strategy OnDelete)" if how.kind == "OnDelete" else text


def _patch(cluster: Object, version: str) -> Object:
    have = spec_of(cluster)
    asked = replace(have, version=version, given=have.given | {"version"})
    return {
        "metadata": {
            "resourceVersion": cluster["metadata"]["resourceVersion"],
            "annotations": {INTENT: intent(asked)},
            "labels": kubernetes_label(have.labels, have.version, version),
        },
        "spec": {"topology": {"version": version}},
    }


def _of_cluster(objects: tree.Objects, name: str) -> tree.Objects:
    def own(items: Iterable[Object]) -> list[Object]:
        return [obj for obj in items if (obj["metadata"].get("labels") or {}).get(tree.CLUSTER_NAME) == name]

    clusters = [obj for obj in objects.clusters if obj["metadata"]["name"] == name]
    control_planes = (tree.control_plane_of(obj, objects.control_planes) for obj in clusters)
    return tree.Objects(
        clusters,
        [obj for obj in control_planes if obj is not None],
        own(objects.machine_deployments),
        own(objects.machines),
    )


def _is(obj: Object, name: str, namespace: str) -> bool:
    return (obj["metadata"]["name"], obj["metadata"].get("namespace") or "default") == (name, namespace)


def _oldest(objects: tree.Objects, have: str) -> str:
    """The oldest version that is there: with an upgrade under way, not what the topology says."""
    found = [have, *(rollout.machine_version(obj) for obj in objects.machines)]
    return min((item for item in found if item), key=lambda item: versions.parse(item).precedence)
