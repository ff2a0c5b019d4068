"""Requests against a real API server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capi_llm import versions, waiting
from capi_llm.errors import BadInput, Conflict, Interrupted, NotFound, Unavailable
from capi_llm.kube import client
from capi_llm.kube.apply import apply
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import CLUSTERS, CONFIGMAPS, DEPLOYMENTS, NAMESPACES, NODES, Object, Ref
from control_plane import ControlPlane


def config_map(name: str, namespace: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def test_names_and_paths() -> None:
    assert str(Ref(CLUSTERS, "demo", "default")) == "Cluster default/demo"
    assert str(Ref(NODES, "n1")) == "Node n1"
    assert CLUSTERS.path() == "/apis/cluster.x-k8s.io/v1beta1/clusters"
    assert CONFIGMAPS.path("a", "b") == "/api/v1/namespaces/a/configmaps/b"
    assert NODES.path("ignored", "system:n/1") == "/api/v1/nodes/system%3An%2F1"
    assert DEPLOYMENTS.api_version == "apps/v1"
    assert str(CLUSTERS) == "clusters.cluster.x-k8s.io"


def test_create_get_patch_replace_delete(api: Api, namespace: str) -> None:
    ref = Ref(CONFIGMAPS, "one", namespace)
    assert api.find(ref) is None
    with pytest.raises(NotFound) as missing:
        api.get(ref)
    assert str(missing.value).startswith(f"can not read (ConfigMap {namespace}/one): configmaps")

    created = api.create(CONFIGMAPS, config_map("one", namespace, a="1"))
    assert api.get(ref)["data"] == {"a": "1"}
    assert created["kind"] == "ConfigMap"
    api.merge_patch(ref, {"data": {"a": None, "b": "2"}}, dry_run=True)
    assert api.get(ref)["data"] == {"a": "1"}
    assert api.merge_patch(ref, {"data": {"a": None, "b": "2"}})["data"] == {"b": "2"}

    with pytest.raises(Conflict):
        api.replace(CONFIGMAPS, created | {"data": {"c": "3"}})
    with pytest.raises(Conflict):
        api.delete(ref, uid="00000000-0000-0000-0000-000000000000")
    assert api.delete(ref, dry_run=True) is True
    assert api.get(ref)
    assert api.delete(ref, uid=created["metadata"]["uid"]) is True
    assert api.delete(ref) is False


def test_a_kind_that_does_not_exist(api: Api) -> None:
    assert api.find(Ref(CLUSTERS, "demo", "default")) is None
    assert api.delete(Ref(CLUSTERS, "demo", "default")) is False
    with pytest.raises(NotFound):
        api.list(CLUSTERS)


def test_list_comes_in_chunks(
    api: Api, namespace: str, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        obj = config_map(f"c{number:02}", namespace)
        obj["metadata"]["labels"] = {"odd": str(number % 2)}
        api.create(CONFIGMAPS, obj)
    monkeypatch.setattr(client, "CHUNK", 10)
    items = api.list(CONFIGMAPS, namespace)
    assert [item["metadata"]["name"] for item in items] == [f"c{number:02}" for number in range(25)]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}
    uris = [event["requestURI"] for event in control_plane.audit()]
    pages = [uri for uri in uris if f"namespaces/{namespace}/configmaps?limit=10" in uri]
    assert len(pages) == 3
    assert len(api.list(CONFIGMAPS, namespace, label_selector="odd=1")) == 12
    assert len(api.list(CONFIGMAPS, namespace, field_selector="metadata.name=c03")) == 1


def test_list_starts_again_when_its_snapshot_is_gone(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CHUNK", 10)

    class Compacting(Api):
        pages = 0

        def request(self, method: str, path: str, **arguments: Any) -> Any:
            answer = super().request(method, path, **arguments)
            if method == "GET" and path.endswith("/configmaps"):
                Compacting.pages += 1
                if Compacting.pages == 1:
                    late = self.create(CONFIGMAPS, config_map("late", namespace))
                    control_plane.compact(int(late["metadata"]["resourceVersion"]))
            return answer

    with Compacting.from_kubeconfig(control_plane.kubeconfig) as api:
        for number in range(25):
            api.create(CONFIGMAPS, config_map(f"c{number:02}", namespace))
        names = [item["metadata"]["name"] for item in api.list(CONFIGMAPS, namespace)]
    assert len(names) == len(set(names)) == 26
    assert "late" in names


def test_identity_version_and_readiness(api: Api) -> None:
    assert api.uid() == api.get(Ref(NAMESPACES, "kube-system"))["metadata"]["uid"]
    assert api.server_version().startswith("v1.")
    assert api.ready().ready


def test_many_threads_share_one_api(api: Api, namespace: str) -> None:
    def work(number: int) -> None:
        ref = Ref(CONFIGMAPS, f"c{number}", namespace)
        api.create(CONFIGMAPS, config_map(ref.name, namespace))
        api.merge_patch(ref, {"data": {"a": str(number)}})
        assert api.get(ref)["data"] == {"a": str(number)}
        assert api.delete(ref)

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(100)))
    assert api.list(CONFIGMAPS, namespace) == []


def test_requests_carry_our_name(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    api.find(Ref(CONFIGMAPS, "who-asks", namespace))
    ours = [event for event in control_plane.audit() if event["requestURI"].endswith("/who-asks")]
    assert {event["userAgent"] for event in ours} == {f"capi-llm/{versions.CLI}"}


def test_discovery(api: Api) -> None:
    discovery = Discovery(api)
    assert discovery.resource_for({"apiVersion": "apps/v1", "kind": "Deployment"}) == DEPLOYMENTS
    assert discovery.resource_for({"apiVersion": "v1", "kind": "Namespace"}) == NAMESPACES
    with pytest.raises(NotFound, match=r"no matches for kind \(Gateway in gateway.networking.k8s.io/v1\)"):
        discovery.resource_for({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"})
    with pytest.raises(NotFound):
        discovery.resource_for({"apiVersion": "v1", "kind": "Deployment"})
    with pytest.raises(BadInput):
        discovery.resource_for({"kind": "Deployment"})


def test_close_ends_retries(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.kubeconfig.read_text().replace(str(control_plane.port), "1")
    (tmp_path / "config").write_text(text)
    api = Api.from_kubeconfig(tmp_path / "config", retry_for=60)
    timer = threading.Timer(0.3, api.close)
    timer.start()
    with pytest.raises(Exception, match="connection refused"):
        api.uid()
    timer.join()


def test_cancel_ends_retries(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.kubeconfig.read_text().replace(str(control_plane.port), "1")
    (tmp_path / "config").write_text(text)
    cancel = waiting.Cancel()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started = time.monotonic()
    with Api.from_kubeconfig(tmp_path / "config", retry_for=60, cancel=cancel) as api:
        with pytest.raises(Interrupted):
            waiting.until(api.ready, what="the server", timeout=60, waiter=waiting.Waiter(cancel=cancel))
        with pytest.raises(Unavailable):
            api.uid()
        with pytest.raises(Interrupted), Informers(api, cancel=cancel) as informers:
            informers.of(CONFIGMAPS)
        with pytest.raises(Interrupted):
            apply(
                api, [config_map("one", "default") | {"apiVersion": "v1", "kind": "ConfigMap"}], cancel=cancel
            )
    timer.join()
    assert time.monotonic() - started < 10


def test_a_try_that_hung_is_not_the_last(control_plane: ControlPlane) -> None:
    """As right after the disk of its etcd was full: the first request hangs, the next is answered."""
    with Api.from_kubeconfig(control_plane.kubeconfig, retry_for=0.1) as api, contextlib.ExitStack() as stack:
        kube_system = Ref(NAMESPACES, "kube-system").path
        api.request("GET", kube_system)
        stack.enter_context(control_plane.pause_apiserver())

        def ask_until_it_hangs() -> None:
            while True:  # it stops some time after the signal
                api.request("GET", kube_system, timeout=0.5, retry_for=0)

        with pytest.raises(Unavailable, match="timed out"):
            ask_until_it_hangs()
        timer = threading.Timer(6, stack.close)
        timer.start()
        try:
            assert api.request("GET", kube_system, timeout=5)["metadata"]["uid"]
        finally:
            timer.join()


def test_importing_the_package_does_not_import_the_libraries() -> None:
    for module, absent in (("resources", "urllib3"), ("cache", "kubernetes")):
        code = f"import sys, capi_llm.kube.{module}; print({absent!r} in sys.modules)"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "False"
