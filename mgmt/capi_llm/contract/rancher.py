"""Rancher's objects: Settings, and the management Cluster that stands for an imported one.

As Rancher 2.13 and Turtles 0.25 write them: conditions of
https://github.com/rancher/rancher/tree/v2.13.8/pkg/controllers/management (clusterprovisioner,
clusterdeploy, clusterconnected), the import of
https://github.com/rancher/turtles/blob/v0.25.6/internal/controllers/import_controller_v3.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from capi_llm.contract import fleet, turtles
from capi_llm.contract.conditions import Object, conditions, deleting, finalizers, status_of
from capi_llm.waiting import Status, failed, pending, ready

AUTO_IMPORT = "cluster-api.cattle.io/rancher-auto-import"
"""Label on a Cluster, or on its Namespace, that has Turtles import it; ``false`` on the Cluster wins."""

IMPORTED = "imported"
"""Annotation that Turtles leaves on a Cluster whose Rancher cluster was deleted: it keeps from importing."""

NO_FLEET = "cluster-api.cattle.io/disable-fleet-auto-import"
"""Label on a Cluster that is to have no Fleet Cluster."""

OWNED = "cluster-api.cattle.io/owned"
OWNER = "cluster-api.cattle.io/capi-cluster-owner"
OWNER_NAMESPACE = "cluster-api.cattle.io/capi-cluster-owner-ns"
"""Labels by which the management Cluster of a Cluster is found; its own name is generated."""

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
"""What Go's strconv.ParseBool takes."""

_AGENT_FIX = (
    "on the workload cluster, see Deployment cattle-cluster-agent in cattle-system: its pods need a CNI, "
    "DNS, and to reach {url}"
)


def setting(obj: Object | None, value: str) -> Status:
    """Whether a Setting has ``value``; its own, or where that is empty its default."""
    if obj is None:
        return pending("Rancher has not made it yet")
    have = str(obj.get("value") or "")
    return ready(have) if have == value else pending(f"is {have!r}, is to become {value!r}")


def wants_import(cluster: Object, namespace: Object | None) -> bool:
    """Whether Turtles is to import a Cluster of Cluster API."""
    own = ((cluster.get("metadata") or {}).get("labels") or {}).get(AUTO_IMPORT)
    if own in _TRUE | _FALSE:
        return own in _TRUE
    return ((((namespace or {}).get("metadata") or {}).get("labels")) or {}).get(AUTO_IMPORT) in _TRUE


def of_cluster(cluster: Object, imported: Iterable[Object]) -> Object | None:
    """The management Cluster that stands for ``cluster``, found by its labels."""
    metadata = cluster["metadata"]
    wanted = {OWNER: metadata["name"], OWNER_NAMESPACE: metadata.get("namespace") or "default"}
    for obj in imported:
        labels = (obj.get("metadata") or {}).get("labels") or {}
        if OWNED in labels and all(labels.get(key) == value for key, value in wanted.items()):
            return obj
    return None


def imported(
    cluster: Object, namespace: Object | None, found: Object | None, settings: Mapping[str, str]
) -> Status:
    """How far a Cluster's import into Rancher is. ``found`` is its management Cluster.

    ``settings`` are Rancher's, by name: ``server-url``, ``agent-tls-mode`` and ``cacerts`` decide.
    """
    if found is not None:
        return management_cluster(found, settings.get("server-url", ""))
    name = cluster["metadata"]["name"]
    where = f"{cluster['metadata'].get('namespace') or 'default'}"
    if IMPORTED in (cluster["metadata"].get("annotations") or {}):
        return failed(
            "Rancher does not import it again",
            cause=f"it was imported once and deleted in Rancher, which left the annotation {IMPORTED}",
            fix=f"kubectl annotate clusters.cluster.x-k8s.io -n {where} {name} {IMPORTED}-",
        )
    if not wants_import(cluster, namespace):
        return failed(
            "Rancher does not import it",
            cause=f"neither the Cluster nor its namespace has the label {AUTO_IMPORT}=true",
            fix=f"kubectl label namespace {where} {AUTO_IMPORT}=true",
        )
    if not _control_plane_ready(cluster):
        return pending("the import begins when its control plane is ready")
    if problem := _trust(settings):
        return problem
    return pending(
        "Turtles has not begun to import it",
        cause="Turtles is busy, or can not download the import manifest from server-url",
        fix="see the log of rancher-turtles-controller-manager in cattle-turtles-system",
    )


def management_cluster(obj: Object, url: str = "") -> Status:
    """A ``clusters.management.cattle.io``: READY when the agent is connected and deployed and it is Ready."""
    metadata = obj.get("metadata") or {}
    name = metadata.get("name", "")
    if deleting(obj):
        held = ", ".join(finalizers(obj))
        return pending(
            f"{name} is being deleted" + (f", held by {held}" if held else ""),
            fix="keep the label of the import until it is gone; see that Rancher and Turtles run"
            if held
            else "",
        )
    found = conditions(obj)
    agent = _AGENT_FIX.format(url=url or "server-url")
    connected = found.get("Connected")
    was = found.get("Provisioned")
    if connected is not None and connected.false:
        why = connected.message or connected.reason or "no word of why"
        return pending(
            f"{name}: its agent is not connected: {why}",
            cause="the agent was there and is away"
            if was is not None and was.true
            else "the agent does not reach Rancher",
            fix=agent,
        )
    if connected is None or not connected.true:
        waits = found.get("Waiting") or found.get("Pending")
        why = waits.message if waits is not None and not waits.true else ""
        return pending(
            f"{name}: waiting for its agent to connect" + (f": {why}" if why else ""),
            cause="the import manifest is not applied, or the agent does not start or reach Rancher",
            fix=f"{agent}; after an import with a wrong URL delete namespace cattle-system there, "
            "Turtles makes it anew",
        )
    for step in ("AgentDeployed", "Ready"):
        condition = found.get(step)
        if condition is None or not condition.true:
            why = (condition.message or condition.reason) if condition is not None else ""
            return pending(
                f"{name}: {step} is not true yet" + (f": {why}" if why else ""),
                fix=agent if step == "AgentDeployed" else "",
            )
    return ready(f"{name} is connected and ready")


def fleet_cluster(
    cluster: Object, found: Object | None, *, provider: Object | None, config: Object | None
) -> Status:
    """The Fleet Cluster that Cluster API's add-on provider makes of ``cluster``, beside it.

    ``provider`` is the provider's CAPIProvider, ``config`` the FleetAddonConfig.
    """
    if found is not None:
        return fleet.agent(found)
    metadata = cluster["metadata"]
    if provider is None:
        return failed(
            "there is no Fleet Cluster",
            cause="Rancher 2.13 leaves it to Cluster API's add-on provider for Fleet, which is not there",
            fix="capi-llm bootstrap installs it",
        )
    status = turtles.provider(provider)
    if not status.ready:
        return pending(f"the add-on provider for Fleet {status.message}", cause=status.cause, fix=status.fix)
    if config is None:
        return pending(
            "there is no FleetAddonConfig fleet-addon-config",
            cause="without it the add-on provider makes no Fleet Cluster",
            fix="see ConfigMap fleet-addon-config in fleet-addon-system; capi-llm bootstrap writes it",
        )
    if NO_FLEET in (metadata.get("labels") or {}):
        return failed(
            "it is left out of Fleet",
            cause=f"its label {NO_FLEET} says so",
            fix=f"take that label off Cluster {metadata.get('namespace') or 'default'}/{metadata['name']}",
        )
    return pending(
        "the add-on provider has not made a Fleet Cluster yet",
        cause="its selectors do not match Cluster or namespace, or the control plane is not there yet",
        fix=f"see the log of caapf-controller-manager in fleet-addon-system, and the label {AUTO_IMPORT}",
    )


def _trust(settings: Mapping[str, str]) -> Status | None:
    """A combination of settings with which every import fails."""
    if not settings.get("server-url"):
        return pending(
            "Rancher has no server-url, so there is no import manifest",
            fix="capi-llm bootstrap sets it",
        )
    if settings.get("agent-tls-mode") == "strict" and not settings.get("cacerts"):
        return failed(
            "every import fails: ca-certs setting value is empty",
            cause="agent-tls-mode is strict, and Rancher has no certificate authority of its own to tell",
            fix="set agent-tls-mode to system-store: capi-llm bootstrap does where Rancher is behind ngrok",
        )
    return None


def _control_plane_ready(cluster: Object) -> bool:
    found = conditions(cluster)
    for name in ("ControlPlaneReady", "ControlPlaneAvailable", "ControlPlaneInitialized"):
        if name in found and found[name].true:
            return True
    return bool(status_of(cluster).get("controlPlaneReady"))
