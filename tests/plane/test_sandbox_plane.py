"""The sandbox as a management plane: what is there, who may enter, what a second run does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import stat
from pathlib import Path

import psutil
import pytest

from audit import writes
from capi_llm import plane
from capi_llm.kube.resources import PODS, Ref, Resource
from capi_llm.sandbox import processes
from capi_llm.sandbox.parts import MANAGERS, PROVIDER
from capi_llm.settings import Settings
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import Sandbox

pytestmark = pytest.mark.sandbox

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")


def test_every_step_is_ready(sandbox: Sandbox) -> None:
    overview = plane.overview(sandbox.settings, sandbox.name)
    assert overview.ready, [step for step in overview.steps if not step.status.ready]


def test_second_bootstrap_writes_nothing(sandbox: Sandbox) -> None:
    log = sandbox.ctx.sandbox.audit_log
    before, pids = log.stat().st_size, processes.running(sandbox.ctx.identity.instance)
    assert writes(log, agent="capi-llm/"), "the log does show the writes of the first run"
    results = plane.bootstrap(sandbox.settings, name=sandbox.name)
    assert {result.outcome for result in results} == {"unchanged"}
    assert writes(log, agent="capi-llm/", after=before) == []
    assert processes.running(sandbox.ctx.identity.instance) == pids


def test_bootstrap_dry_run_says_why(sandbox: Sandbox) -> None:
    lines = sandbox.cli("bootstrap", "--dry-run").stdout.splitlines()
    assert lines[0].split() == ["STEP", "WOULD", "WHY"]
    assert {line.split()[1] for line in lines[1:]} == {"keep"}
    assert len(lines) == len(plane.SANDBOX) + 1


def test_everything_listens_on_loopback_only(sandbox: Sandbox) -> None:
    addresses = set()
    for pid in processes.running(sandbox.ctx.identity.instance):
        for connection in psutil.Process(pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                addresses.add(connection.laddr.ip)
    assert addresses
    assert all(address.startswith("127.") for address in addresses), addresses


def ask(port: int, path: str, context: ssl.SSLContext | None = None) -> int:
    """The HTTP status that ``path`` answers with; without ``context`` plain HTTP is spoken."""
    with contextlib.closing(
        http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    ) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_etcd_answers_the_api_servers_certificate_only(sandbox: Sandbox) -> None:
    layout, port = sandbox.ctx.sandbox, sandbox.ctx.identity.ports["etcd"]
    own = ssl.create_default_context(cafile=layout.certificate("etcd-ca"))
    own.load_cert_chain(layout.certificate("etcd-client"), layout.key("etcd-client"))
    assert ask(port, "/version", own) == 200
    nameless = ssl.create_default_context(cafile=layout.certificate("etcd-ca"))
    kubernetes = ssl.create_default_context(cafile=layout.certificate("etcd-ca"))
    kubernetes.load_cert_chain(layout.certificate("admin"), layout.key("admin"))
    for context in (None, nameless, kubernetes):
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(port, "/version", context)


def test_the_api_server_tells_nothing_without_a_certificate(sandbox: Sandbox) -> None:
    context = ssl.create_default_context(cafile=sandbox.ctx.sandbox.certificate("ca"))
    assert ask(sandbox.ctx.identity.ports["kube-apiserver"], "/api/v1/secrets", context) == 403


def test_nothing_is_readable_by_others(sandbox: Sandbox) -> None:
    root = sandbox.ctx.sandbox.root
    open_ = [
        str(path)
        for path in root.rglob("*")
        if not path.is_symlink() and path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_ == []
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_managers_run_with_their_own_permissions(sandbox: Sandbox) -> None:
    log = sandbox.ctx.sandbox.audit_log
    users = {write.user for write in writes(log)}
    assert not {user for user in users if user.startswith("capi-llm:")} - {
        f"capi-llm:{name}" for name in (*MANAGERS, PROVIDER)
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "capi-llm:capi-bootstrap",
            "resourceAttributes": {"verb": "delete", "resource": "nodes"},
        },
    }
    answer = sandbox.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    assert answer["status"]["allowed"] is False


def test_logs_of_every_part(sandbox: Sandbox) -> None:
    for part in ("etcd", "kube-apiserver", *MANAGERS):
        assert sandbox.cli("logs", part, "--tail", "5").stdout.strip() or part == "etcd"
    result = sandbox.cli("logs", "kube-apiserve", check=False)
    assert result.returncode == 2
    assert "did you mean 'kube-apiserver'?" in result.stderr
    assert json.loads(sandbox.cli("logs", "audit", "--tail", "1").stdout)["kind"] == "Event"


def test_pods_run_simulated(sandbox: Sandbox, namespace: str) -> None:
    ref = Ref(PODS, "simulated", namespace)
    until(
        lambda: (
            ready()
            if sandbox.api.find(Ref(SERVICE_ACCOUNTS, "default", namespace))
            else pending("no ServiceAccount yet")
        ),
        what="the namespace's ServiceAccount",
        timeout=30,
        waiter=Waiter(interval=0.1),
    )
    sandbox.api.create(
        PODS,
        {
            "metadata": {"name": "simulated", "namespace": namespace},
            "spec": {"containers": [{"name": "main", "image": "example.invalid/none"}]},
        },
    )
    until(
        lambda: (
            ready()
            if sandbox.api.get(ref).get("status", {}).get("phase") == "Running"
            else pending(str(sandbox.api.get(ref).get("status")))
        ),
        what="the pod",
        timeout=30,
        waiter=Waiter(interval=0.1),
    )


def test_an_unfinished_plane_says_what_it_needs(settings: Settings) -> None:
    overview = plane.plan(settings, name="never")
    states = {step.step: step.status for step in overview.steps}
    assert states["executables"].ready
    assert not states["etcd"].ready
    assert states["etcd"].message == "needs supervisor"
    assert not settings.state.exists() or not list(settings.state.rglob("*.json"))


def test_files_of_the_plane_are_where_docs_say(sandbox: Sandbox) -> None:
    assert Path(sandbox.ctx.identity.kubeconfig).is_file()
    assert os.stat(sandbox.ctx.sandbox.socket).st_mode & 0o777 == 0o600


VALIDATING = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)


def test_status_sees_what_was_changed_by_hand_and_asks_for_no_dry_run_of_manifests(sandbox: Sandbox) -> None:
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    found = json.loads(sandbox.cli("status", "-o", "json").stdout)
    steps = {step["name"]: step for step in found["plane"]["steps"]}
    assert steps["cluster-api"] == {
        "name": "cluster-api",
        "state": "Ready",
        "message": "61 objects in place",
    }
    with log.open() as file:
        file.seek(before)
        assert "customresourcedefinitions" not in file.read()

    changed = Ref(VALIDATING, "capi-validating-webhook-configuration")
    obj = sandbox.api.get(changed)
    obj["webhooks"][0]["failurePolicy"] = "Ignore"
    sandbox.api.request("PUT", changed.path, body=obj, query={"fieldManager": "kubectl-edit"})
    try:
        assert f"cluster-api: 1 of 61 objects to apply, first {changed}" in sandbox.cli("status").stdout
    finally:
        sandbox.cli("bootstrap")
    assert sandbox.api.get(changed)["webhooks"][0]["failurePolicy"] == "Fail"
    assert sandbox.cli("status").stdout.startswith("Ready: ")
