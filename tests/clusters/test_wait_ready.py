"""What a wait for a cluster believes, over objects that Cluster API v1.10.7 wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from capi_llm.clusters import create, tree
from capi_llm.clusters.tree import Objects
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import Waiter, Wakeup


@pytest.mark.parametrize("kind", ["MachineDeployment", "KubeadmControlPlane"])
def test_informers_that_are_not_of_one_moment_are_not_believed(
    scenario: Callable[[str], Objects], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The Cluster says already that its topology is brought about; what was changed is not seen yet."""
    known = scenario("ready")
    asked: list[str] = []

    def find(ref: Ref) -> Object:
        """The object with a change that the informers do not know, until they are looked at a third time."""
        asked.append(ref.resource.kind)
        (obj,) = (
            obj
            for obj in (*known.control_planes, *known.machine_deployments)
            if (obj["kind"], obj["metadata"]["name"]) == (ref.resource.kind, ref.name)
        )
        live = copy.deepcopy(obj)
        if ref.resource.kind == kind and asked.count(kind) < 3:
            live["metadata"]["generation"] += 1
        return live

    informers: Any = SimpleNamespace(api=SimpleNamespace(find=find), wakeup=Wakeup())
    monkeypatch.setattr(tree, "collect", lambda *_: known)
    monkeypatch.setattr(create, "_catch_up", lambda *_: None)
    said: list[str] = []
    view = create.wait_ready(
        informers, "up", timeout=30,
        waiter=Waiter(interval=0.01, report=lambda status: said.append(status.message)),
    )  # fmt: skip
    assert view.status.ready
    assert asked.count(kind) == 3
    assert said[0].startswith(f"a change of {kind} default/up-")
    assert said[0].endswith("is not seen yet")
