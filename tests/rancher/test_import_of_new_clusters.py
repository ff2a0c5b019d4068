"""``new-cluster`` on a plane with Rancher ends when Rancher and Fleet have the clusters. Both are played."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from standin_rancher import condition, now, rancher_kinds, setting, upstream_kinds

from capi_llm import versions
from capi_llm.apps.fleet.kinds import FLEET_CLUSTERS
from capi_llm.contract import rancher
from capi_llm.contract.capi import control_plane_initialized
from capi_llm.errors import Conflict
from capi_llm.identity import Identities
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import CLUSTERS, CRDS, RANCHER_CLUSTERS, Object, Ref
from capi_llm.steps.choices import Choices
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
def plane(sandbox: Sandbox, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a plane that is the sandbox's API server with the kinds of Rancher and Fleet."""
    api, own = sandbox.api, rancher_kinds()
    apply(api, [*own, *upstream_kinds("fleet")], manager="test")
    settings = {"server-url": "https://rancher.example.com", "agent-tls-mode": "system-store", "cacerts": ""}
    apply(api, [setting(name, value) for name, value in settings.items()], manager="test")
    chosen = Choices(rancher=versions.RANCHER).as_mapping()
    identity = replace(sandbox.ctx.identity, name="with-rancher", kind="existing", choices=chosen)
    Identities(tmp_path).save(identity)
    yield {**sandbox.env, "CAPI_LLM_STATE": str(tmp_path), "CAPI_LLM_PLANE": identity.name}
    for kind in own:
        api.delete(CRDS.ref(kind))


class Importer:
    """Rancher's and Fleet's part: both have a cluster as soon as its API server answers."""

    def __init__(self, sandbox: Sandbox, namespace: str) -> None:
        self.api, self.namespace = sandbox.api, namespace
        self._end = threading.Event()
        self._failure: BaseException | None = None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join(30)
        assert self._failure is None

    def _work(self) -> None:
        try:
            while not self._end.wait(0.2):
                for cluster in self.api.list(CLUSTERS, self.namespace):
                    if control_plane_initialized(cluster):
                        self._import(cluster["metadata"]["name"])
        except BaseException as failure:
            self._failure = failure

    def _import(self, name: str) -> None:
        labels = {rancher.OWNED: "", rancher.OWNER: name, rancher.OWNER_NAMESPACE: self.namespace}
        managed = {"metadata": {"name": f"c-{name}", "labels": labels}, "spec": {"displayName": name}}
        with contextlib.suppress(Conflict):
            self.api.create(RANCHER_CLUSTERS, managed)
        conditions = [condition(kind) for kind in ("Connected", "AgentDeployed", "Ready")]
        ref = RANCHER_CLUSTERS.ref(managed)
        self.api.merge_patch(ref, {"status": {"conditions": conditions}}, subresource="status")
        ours: Object = {"metadata": {"name": name, "namespace": self.namespace}, "spec": {}}
        with contextlib.suppress(Conflict):
            self.api.create(FLEET_CLUSTERS, ours)
        agent: Object = {"namespace": "cluster-x", "agent": {"lastSeen": now()}}
        self.api.merge_patch(FLEET_CLUSTERS.ref(ours), {"status": agent}, subresource="status")


def test_clusters_are_there_when_rancher_and_fleet_have_them(
    sandbox: Sandbox, namespace: str, plane: dict[str, str]
) -> None:
    def new_cluster(*more: str) -> subprocess.CompletedProcess[str]:
        asked = ("new-cluster", "r", "-n", namespace, *IN_MEMORY, "--workers", "0", "--label", "cni=none")
        return subprocess.run(
            [sys.executable, "-m", "capi_llm", *asked, "--apps", "none", *more],
            env=plane,
            text=True,
            capture_output=True,
        )

    with Importer(sandbox, namespace).at_work():
        several, one = new_cluster("--count", "2"), new_cluster()
    assert several.returncode == one.returncode == 0, several.stderr + one.stderr
    assert "2 of 2 clusters are ready" in several.stderr
    for cluster, said in (("r-1", several.stderr), ("r-2", several.stderr), ("r", one.stderr)):
        assert f"Import of {namespace}/{cluster}" in said

    sandbox.api.delete(Ref(RANCHER_CLUSTERS, "c-r-2"))
    again = new_cluster("--count", "2", "--timeout", "15s")
    assert again.returncode == 4
    assert f"Import of {namespace}/r-1" in again.stderr
    assert f"the import of cluster {namespace}/r-2 is not" in again.stderr
    assert "Turtles has not begun to import it" in again.stderr
