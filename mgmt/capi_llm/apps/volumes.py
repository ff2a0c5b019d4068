"""Volumes of a sandbox's clusters: simulated ones, one for each claim, as there is no provisioner.

A simulated pod writes nothing; what counts is that its claim is bound, as the scheduler waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from capi_llm import versions
from capi_llm.errors import Conflict
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref, Resource

VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
SIMULATED = f"{versions.GROUP}/simulated"


def simulate(api: Api, objects: Sequence[Object]) -> None:
    """Have a volume for each claim among ``objects``; one whose claim is gone is made anew."""
    for claim in objects:
        if claim["kind"] != "PersistentVolumeClaim" or claim["apiVersion"] != "v1":
            continue
        wanted = _volume(claim)
        ref = Ref(VOLUMES, wanted["metadata"]["name"])
        live = api.find(ref)
        if live is not None and (live.get("status") or {}).get("phase") in ("Released", "Failed"):
            api.delete(ref, uid=live["metadata"]["uid"])
            live = None
        if live is None:
            try:
                api.create(VOLUMES, wanted)
            except Conflict:  # the one before is still on its way out; the next apply makes it
                continue


def _volume(claim: Object) -> Object:
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "metadata": {
            "name": f"simulated-{metadata['namespace']}-{metadata['name']}"[:253],
            "labels": {SIMULATED: "true"},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "storageClassName": spec.get("storageClassName") or "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/simulated"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
            },
        },
    }
