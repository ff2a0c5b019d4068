"""The binding that newer kubeadm counts on, on a real API server that stands for the cluster's own."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator

import pytest

from audit import writes
from capi_llm.clusters import kubelet_access
from capi_llm.errors import NotFound
from capi_llm.kube.resources import CLUSTERS, KUBEADM_CONTROL_PLANES, SECRETS, Ref
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox
BINDING = Ref(kubelet_access.BINDINGS, kubelet_access.NAME)


@pytest.fixture
def kubeadm(sandbox: Sandbox, namespace: str) -> Iterator[str]:
    """A Cluster whose kubeconfig leads to the sandbox's API server, with a paused kubeadm control plane."""
    api, name = sandbox.api, "real"
    meta = {"name": name, "namespace": namespace}
    template = {"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "DockerMachineTemplate"}
    text = base64.b64encode(sandbox.kubeconfig.read_bytes()).decode()
    api.create(SECRETS, {"metadata": meta | {"name": f"{name}-kubeconfig"}, "data": {"value": text}})
    api.create(CLUSTERS, {"metadata": meta, "spec": {}})
    labels = {"cluster.x-k8s.io/cluster-name": name}
    spec = {
        "version": "v1.32.2",
        "replicas": 1,
        "kubeadmConfigSpec": {},
        "machineTemplate": {"infrastructureRef": template | meta},
    }
    about = meta | {"labels": labels, "annotations": {"cluster.x-k8s.io/paused": ""}}
    control_plane = api.create(KUBEADM_CONTROL_PLANES, {"metadata": about, "spec": spec})
    yield name
    for ref in (KUBEADM_CONTROL_PLANES.ref(control_plane), BINDING):
        with contextlib.suppress(NotFound):
            api.delete(ref)


def test_it_is_made_once_and_what_is_there_stays(sandbox: Sandbox, namespace: str, kubeadm: str) -> None:
    api = sandbox.api
    assert kubelet_access.allow(api, kubeadm, namespace).startswith(f"{BINDING} made in the cluster")
    made = api.get(BINDING)
    assert (made["roleRef"]["kind"], made["roleRef"]["name"]) == ("ClusterRole", "system:kubelet-api-admin")
    (subject,) = made["subjects"]
    assert (subject["kind"], subject["name"]) == ("User", "kube-apiserver-kubelet-client")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "kube-apiserver-kubelet-client",
            "resourceAttributes": {"verb": "create", "resource": "nodes", "subresource": "proxy"},
        },
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert api.request("POST", path, body=review)["status"]["allowed"]

    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    assert kubelet_access.allow(api, kubeadm, namespace) == ""
    assert writes(log, after=before, agent="capi-llm/") == []


def test_a_cluster_that_does_not_answer_here_is_no_reason_to_stop(
    sandbox: Sandbox, namespace: str, kubeadm: str
) -> None:
    api = sandbox.api
    secret = Ref(SECRETS, f"{kubeadm}-kubeconfig", namespace)
    text = sandbox.kubeconfig.read_text().replace(api.server, "https://127.0.0.1:1")
    api.merge_patch(secret, {"data": {"value": base64.b64encode(text.encode()).decode()}})
    said = kubelet_access.allow(api, kubeadm, namespace)
    assert "127.0.0.1:1: connection refused" in said
    assert said.endswith(f"Newer kubeadm counts on {BINDING}: make sure that it is there.")
    assert api.find(BINDING) is None


def test_in_memory_machines_have_no_kubelets(sandbox: Sandbox, namespace: str) -> None:
    sandbox.cli("new-cluster", "dream", "-n", namespace, *IN_MEMORY, "--workers", "0", "--no-wait")
    cluster = Ref(CLUSTERS, "dream", namespace)
    until(
        lambda: (
            ready()
            if "infrastructureRef" in sandbox.api.get(cluster)["spec"]
            else pending("Cluster API has not said yet what it is made of")
        ),
        what=str(cluster), timeout=60, waiter=Waiter(interval=0.1),
    )  # fmt: skip
    assert kubelet_access.allow(sandbox.api, "dream", namespace) == ""
    assert sandbox.api.find(BINDING) is None
