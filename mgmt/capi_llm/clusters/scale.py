"""Another number of machines for a pool: a range for the autoscaler, or a fixed count.

Changing the range in the topology does not change how many machines there are: Cluster
API only uses it as a default. So after the topology has reached the MachineDeployment, the
MachineDeployment itself is scaled into the new range, where it is outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import tenacity

from capi_llm.clusters.kubeconfig import unknown_cluster
from capi_llm.clusters.spec import FIRST_POOL, ClusterSpec, Pool, Range
from capi_llm.clusters.topology import INTENT, intent, pool_entries, pool_entry, scaled_range, spec_of
from capi_llm.clusters.tree import CLUSTER_NAME, POOL_NAME
from capi_llm.contract.conditions import deleting, replicas
from capi_llm.errors import BadInput, Conflict, Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINE_DEPLOYMENTS, Object, Ref
from capi_llm.waiting import Status, Waiter, pending, ready, until


@dataclass(frozen=True)
class Scaled:
    """What was done: the pool's range before and after, and whether anything was written."""

    pool: str
    before: Range
    after: Range
    changed: bool


def scale(
    api: Api,
    name: str,
    namespace: str,
    pool: str,
    workers: Range,
    *,
    timeout: float = 60.0,
    waiter: Waiter | None = None,
) -> Scaled:
    """Give ``pool`` (``md-0`` if empty) another range, and bring its machines into it.

    Returns when the MachineDeployment wants the right number; wait for the machines with
    :func:`~capi_llm.clusters.create.wait_ready`. Zero writes where all is so already. Raises
    NotFound, BadInput for an unknown pool, Conflict where the Cluster changes all the time,
    TimedOut where the topology is not reconciled in ``timeout`` seconds.
    """
    pool = pool or FIRST_POOL
    before, after = _change(api, Ref(CLUSTERS, name, namespace), pool, workers)
    settled = _settle(api, name, namespace, after, timeout, waiter or Waiter(interval=0.3))
    return Scaled(pool, before.range, workers, before != after or settled)


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(Conflict),
    stop=tenacity.stop_after_attempt(10),
    wait=tenacity.wait_random(0.05, 0.3),
    reraise=True,
)
def _change(api: Api, ref: Ref, pool: str, workers: Range) -> tuple[Pool, Pool]:
    """Write the new range into the Cluster; the pool before and after.

    Tried again from the newest state on a Conflict: controllers write the Cluster's status
    all the time, and any write counts as a change.
    """
    cluster = api.find(ref)
    if cluster is None:
        others = [CLUSTERS.ref(obj) for obj in api.list(CLUSTERS)]
        raise unknown_cluster(ref.name, ref.namespace or "default", others)
    if deleting(cluster):
        raise Refused(f"cluster {ref.name!r} is being deleted", on=str(ref))
    have = spec_of(cluster)
    old = have.pool(pool)
    if old is None:
        known = ", ".join(item.name for item in have.pools)
        raise BadInput(
            f"cluster {ref.name!r} has no pool {pool!r}", why=f"it has {known or 'none'}", fix="--pool NAME"
        )
    new = replace(old, minimum=workers.minimum, maximum=workers.maximum, fixed=workers.fixed)
    if new != old:
        api.merge_patch(ref, _patch(cluster, have, new))
    return old, new


def _patch(cluster: Object, have: ClusterSpec, new: Pool) -> Object:
    entries = [
        pool_entry(new, entry) if entry["name"] == new.name else entry for entry in pool_entries(cluster)
    ]
    pools = tuple(new if pool.name == new.name else pool for pool in have.pools)
    word = "workers" if new.name == FIRST_POOL else "pools"
    asked = replace(have, pools=pools, given=have.given | {word})
    return {
        # A merge patch replaces the list, so it must not have changed since it was read.
        "metadata": {
            "resourceVersion": cluster["metadata"]["resourceVersion"],
            "annotations": {INTENT: intent(asked)},
        },
        "spec": {"topology": {"workers": {"machineDeployments": entries}}},
    }


def _settle(api: Api, name: str, namespace: str, pool: Pool, timeout: float, waiter: Waiter) -> bool:
    """Scale the MachineDeployment into the range, once the topology has reached it; whether it wrote."""
    wrote = False

    def probe() -> Status:
        nonlocal wrote
        deployment = _deployment(api, name, namespace, pool.name)
        if deployment is None:
            return pending(f"pool {pool.name} has no MachineDeployment yet")
        span = scaled_range(deployment["metadata"].get("annotations") or {})
        desired = replicas(deployment).desired
        if pool.fixed:
            if span is None and desired == pool.minimum:
                return ready()
            return pending(f"pool {pool.name} wants {desired} machines, not {pool.minimum} yet")
        if span != (pool.minimum, pool.maximum):
            return pending(f"the new range of pool {pool.name} has not reached its MachineDeployment yet")
        if pool.minimum <= desired <= pool.maximum:
            return ready()
        target = pool.minimum if desired < pool.minimum else pool.maximum
        ref = MACHINE_DEPLOYMENTS.ref(deployment)
        api.merge_patch(ref, {"spec": {"replicas": target}})
        wrote = True
        return pending(f"pool {pool.name} goes from {desired} to {target} machines")

    until(probe, what=f"pool {pool.name} of cluster {namespace}/{name}", timeout=timeout, waiter=waiter)
    return wrote


def _deployment(api: Api, name: str, namespace: str, pool: str) -> Object | None:
    selector = f"{CLUSTER_NAME}={name},{POOL_NAME}={pool}"
    found = [obj for obj in api.list(MACHINE_DEPLOYMENTS, namespace, selector) if not deleting(obj)]
    return found[0] if found else None
