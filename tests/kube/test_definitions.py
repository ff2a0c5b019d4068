"""New kinds whose API server dies before it serves them."""

from __future__ import annotations

import os

from test_apply import crd

from capi_llm.contract.conditions import conditions
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CRDS, Object
from control_plane import ControlPlane


def test_one_that_its_api_server_has_forgotten_is_established(api: Api, control_plane: ControlPlane) -> None:
    group = f"forgotten{os.getpid()}.example.com"
    definition = crd(group)
    apply(api, [definition])

    def not_yet(obj: Object) -> None:
        names_only = [item for item in obj["status"]["conditions"] if item["type"] == "NamesAccepted"]
        assert len(names_only) == 1
        obj["status"]["conditions"] = names_only

    # As it is in etcd when the API server dies in between.
    control_plane.kill_apiserver()
    key = f"/registry/apiextensions.k8s.io/customresourcedefinitions/{definition['metadata']['name']}"
    control_plane.rewrite(key, not_yet)
    control_plane.start()
    ref = CRDS.ref(definition)
    assert "Established" not in conditions(api.get(ref))

    assert [item.action for item in apply(api, [definition], timeout=30)] == ["unchanged"]
    found = api.get(ref)
    assert conditions(found)["Established"].true
    assert not found["metadata"].get("annotations")
