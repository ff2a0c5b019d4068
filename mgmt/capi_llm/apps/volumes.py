"""Volumes of a sandbox's clusters: simulated ones, one for each claim, as there is no provisioner.

A simulated pod writes nothing; what counts is that its claim is bound, as the scheduler waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from capi_llm import versions
from capi_llm.errors import Conflict
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref, Resource

VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SIMULATED = f"{versions.GROUP}/simulated"


def simulate(api: Api, objects: Sequence[Object]) -> None:
    """Have a volume for each claim among ``objects``; one whose claim is another by now is freed for it."""
    for claim in objects:
        if claim["kind"] != CLAIMS.kind or claim["apiVersion"] != CLAIMS.api_version:
            continue
        wanted = _volume(claim)
        ref = Ref(VOLUMES, wanted["metadata"]["name"])
        live = api.find(ref)
        if live is None:
            with suppress(Conflict):
                api.create(VOLUMES, wanted)
            continue
        bound = (live["spec"].get("claimRef") or {}).get("uid")
        now = api.find(CLAIMS.ref(claim))
        if bound and (now is None or now["metadata"]["uid"] != bound):
            api.merge_patch(ref, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})


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
                "kind": CLAIMS.kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
            },
        },
    }
