"""The Deployments, StatefulSets and DaemonSets of a Helm release, as they are on the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from capi_llm import documents
from capi_llm.apps import evidence
from capi_llm.contract import workloads
from capi_llm.contract.helm import Release
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import Status, pending, ready

_KINDS = {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")}


def status(api: Api, release: Release) -> Status:
    """READY when all are; else the first that is not, with what its pod says."""
    count = 0
    for ref, obj in _live(api, release):
        if obj is None:
            return pending(f"{ref} is not there")
        seen = workloads.of(obj)
        if not seen.ready:
            why = _why(api, obj)
            text = f"{ref}: {why.message if why else seen.message}"
            return pending(text, cause=seen.cause, fix=(why or seen).fix)
        count += 1
    return ready(f"{release.version}, {count} workloads ready")


def absent(api: Api, release: Release) -> bool:
    """Whether one of them was taken away."""
    return any(obj is None for _, obj in _live(api, release))


def _live(api: Api, release: Release) -> Iterator[tuple[Ref, Object | None]]:
    """The workloads in the release's manifest, as they are on the cluster."""
    discovery = Discovery(api)
    for obj in documents.manifests(release.manifest):
        group = str(obj.get("apiVersion", "")).rpartition("/")[0]
        if (group, obj.get("kind")) not in _KINDS:
            continue
        ref = discovery.resource_for(obj).ref(obj)
        ref = Ref(ref.resource, ref.name, obj["metadata"].get("namespace") or release.namespace)
        yield ref, api.find(ref)


def _why(api: Api, obj: Object) -> Status | None:
    """What holds the first pod of a workload that has something to say."""
    for pod in evidence.pods(api, obj):
        status = workloads.of(pod)
        if not status.ready:
            name = pod["metadata"]["name"]
            return pending(f"pod {name}: {status.message}", cause=status.cause, fix=status.fix)
    return None
