"""Each way in which an API server can refuse, and the exception that it becomes."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from scripted_server import reply

from capi_llm import waiting
from capi_llm.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CONFIGMAPS, NAMESPACES, SECRETS, Object, Ref, Resource
from control_plane import ControlPlane, free_port

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
_ADMISSION = "admissionregistration.k8s.io"
WEBHOOKS = Resource(
    _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False
)
POLICIES = Resource(
    _ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
BINDINGS = Resource(
    _ADMISSION,
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)


def config_map(name: str, namespace: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "data": {"a": "1"}}


# ---------------------------------------------------------------------- what the server says


def test_401_after_the_credentials_were_changed(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.nobody_kubeconfig.read_text().replace("token-of-nobody", "token-of-no-one")
    (tmp_path / "config").write_text(text)
    with (
        Api.from_kubeconfig(tmp_path / "config") as api,
        pytest.raises(Unauthorized, match="can not read") as caught,
    ):
        api.uid()
    assert "log in again" in str(caught.value)
    assert "token-of-no-one" not in str(caught.value)


def test_403_without_permission(control_plane: ControlPlane) -> None:
    with Api.from_kubeconfig(control_plane.nobody_kubeconfig) as api:
        with pytest.raises(Forbidden, match=r'can not list \(secrets in default\).*User "nobody"') as caught:
            api.list(SECRETS, "default")
        assert caught.value.status == 403
        assert "permission" in caught.value.fix
        assert api.ready().ready


def test_409_already_exists_and_changed_meanwhile(api: Api, namespace: str) -> None:
    first = api.create(CONFIGMAPS, config_map("one", namespace))
    with pytest.raises(Conflict, match="already exists") as caught:
        api.create(CONFIGMAPS, config_map("one", namespace))
    assert caught.value.reason == "AlreadyExists"
    api.merge_patch(Ref(CONFIGMAPS, "one", namespace), {"data": {"a": "2"}})
    with pytest.raises(Conflict, match="the object has been modified"):
        api.replace(CONFIGMAPS, first)


def test_409_where_another_manager_owns_the_field(api: Api, namespace: str) -> None:
    ref = Ref(CONFIGMAPS, "one", namespace)
    api.server_side_apply(ref, config_map("one", namespace), manager="helm")
    changed = config_map("one", namespace) | {"data": {"a": "2"}}
    with pytest.raises(Conflict, match=r"helm owns \.data\.a$") as caught:
        api.server_side_apply(ref, changed, manager="capi-llm", force=False)
    assert caught.value.reason == "FieldManagerConflict"


def test_400_and_422(api: Api, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"can not create \(ConfigMap .*/Not Valid\)"):
        api.create(CONFIGMAPS, config_map("Not Valid", namespace))
    with pytest.raises(Invalid):
        api.create(CONFIGMAPS, config_map("one", namespace) | {"data": 7})


def test_404_of_the_namespace_names_it(api: Api) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        api.create(CONFIGMAPS, config_map("one", "nowhere"))


def test_410_of_a_compacted_version(api: Api, namespace: str, control_plane: ControlPlane) -> None:
    first = api.create(CONFIGMAPS, config_map("one", namespace))
    last = api.merge_patch(Ref(CONFIGMAPS, "one", namespace), {"data": {"a": "2"}})
    control_plane.compact(int(last["metadata"]["resourceVersion"]))
    query = {"resourceVersion": first["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
    with pytest.raises(Gone):
        api.request("GET", CONFIGMAPS.path(namespace), query=query)


def test_403_of_a_quota_is_not_a_missing_permission(api: Api, namespace: str) -> None:
    quota = {"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": {"configmaps": "0"}}}
    api.create(QUOTAS, quota)
    # The quota's status is filled by the controller manager, which does not run here.
    ref = Ref(QUOTAS, "q", namespace)
    filled = {"status": {"hard": {"configmaps": "0"}, "used": {"configmaps": "0"}}}
    api.merge_patch(ref, filled, subresource="status")

    def denied() -> waiting.Status:
        try:
            api.create(CONFIGMAPS, config_map("one", namespace), dry_run=True)
        except Invalid as error:
            return waiting.ready(str(error))
        return waiting.pending("the quota is not seen yet")

    status = waiting.until(denied, what="the quota", timeout=20, waiter=waiting.Waiter(interval=0.1))
    assert "exceeded quota" in status.message


def test_403_of_a_namespace_that_is_being_deleted_is_a_conflict(api: Api, namespace: str) -> None:
    # Nothing finishes the deletion: the namespace controller does not run here.
    api.delete(Ref(NAMESPACES, namespace))
    with pytest.raises(Conflict, match="because it is being terminated") as caught:
        api.create(CONFIGMAPS, config_map("one", namespace))
    assert caught.value.status == 403
    assert "when the namespace is gone" in str(caught.value)


def test_secret_values_do_not_get_into_messages(api: Api, namespace: str) -> None:
    meta = {"name": "s", "namespace": namespace}
    for field in ({"stringData": {"password": 48151623}}, {"data": [48151623]}, {"date": "48151623"}):
        secret: Object = {"metadata": meta, **field}
        with pytest.raises(Invalid, match=r"can not apply \(Secret .*expected|not declared") as caught:
            api.server_side_apply(Ref(SECRETS, "s", namespace), secret, manager="test")
        assert "48151623" not in str(caught.value)
    encoded = base64.b64encode(b"correct horse").decode()
    secret = {"metadata": meta, "data": {"Not A Key": encoded}}
    with pytest.raises(Invalid) as invalid:
        api.create(SECRETS, secret)
    assert encoded not in str(invalid.value)
    assert "correct horse" not in str(invalid.value)


# ---------------------------------------------------------------------- admission


class Webhook(BaseHTTPRequestHandler):
    """An admission webhook that says no."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": review["request"]["uid"],
                "allowed": False,
                "status": {"message": "no such model"},
            },
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webhook(api: Api, namespace: str, control_plane: ControlPlane) -> Iterator[Callable[..., None]]:
    """Register a webhook at a URL, for ConfigMaps of the test's namespace."""
    name = f"{namespace}.test.example"

    def register(url: str) -> None:
        ca = base64.b64encode(control_plane.pki.ca.encode()).decode()
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
        hook = {
            "name": name,
            "clientConfig": {"url": url, "caBundle": ca},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        }
        api.create(WEBHOOKS, {"metadata": {"name": name}, "webhooks": [hook]})

    yield register
    api.delete(Ref(WEBHOOKS, name))


@pytest.fixture
def denying(control_plane: ControlPlane) -> Iterator[str]:
    """URL of a webhook that says no."""
    server = HTTPServer(("127.0.0.1", 0), Webhook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = control_plane.pki.folder
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/validate"
    server.shutdown()
    thread.join()
    server.server_close()


def refused(api: Api, namespace: str) -> ApiError:
    """The error of a create, once the API server has noticed the webhook or policy."""
    caught: list[ApiError] = []

    def probe() -> waiting.Status:
        try:
            api.request(
                "POST",
                CONFIGMAPS.path(namespace),
                body=config_map("one", namespace),
                query={"dryRun": "All"},
                retry_for=0,
            )
        except ApiError as error:
            caught.append(error)
            return waiting.ready()
        return waiting.pending("allowed")

    waiting.until(probe, what="a refusal", timeout=20, waiter=waiting.Waiter(interval=0.1))
    return caught[-1]


def test_a_webhook_that_says_no_is_invalid(
    api: Api, namespace: str, webhook: Callable[..., None], denying: str
) -> None:
    webhook(denying)
    error = refused(api, namespace)
    assert isinstance(error, Invalid)
    assert "denied the request: no such model" in str(error)


def test_a_webhook_that_has_not_started_is_unavailable(
    api: Api, namespace: str, webhook: Callable[..., None]
) -> None:
    webhook(f"https://127.0.0.1:{free_port()}/validate")
    error = refused(api, namespace)
    assert isinstance(error, Unavailable)
    assert error.status == 500
    assert "failed calling webhook" in str(error)


def test_a_policy_that_says_no_is_invalid(api: Api, namespace: str) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "not today"}],
    }
    api.create(POLICIES, {"metadata": {"name": f"{namespace}.test"}, "spec": spec})
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "policyName": f"{namespace}.test",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    api.create(BINDINGS, {"metadata": {"name": f"{namespace}.test"}, "spec": binding})
    try:
        error = refused(api, namespace)
    finally:
        api.delete(Ref(BINDINGS, f"{namespace}.test"))
        api.delete(Ref(POLICIES, f"{namespace}.test"))
    assert isinstance(error, Invalid)
    assert "not today" in str(error)


# ---------------------------------------------------------------------- servers that are away


def test_connection_refused_is_tried_for_a_bounded_time(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.kubeconfig.read_text().replace(f":{control_plane.port}", f":{free_port()}")
    (tmp_path / "config").write_text(text)
    with Api.from_kubeconfig(tmp_path / "config", retry_for=1) as api:
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer from https://127\.0\.0\.1:.*: connection refused"):
            api.uid()
        assert time.monotonic() - started < 20
        status = api.ready()
        assert status.state is waiting.State.PENDING
        assert "connection refused" in status.message


def test_a_request_outlasts_a_restart_of_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    with Api.from_kubeconfig(control_plane.kubeconfig, retry_for=60) as api:
        control_plane.kill_apiserver()
        starter = threading.Timer(0.5, control_plane.start_apiserver)
        starter.start()
        # A create is sent again too: while the connection is refused it surely never arrived.
        api.create(CONFIGMAPS, config_map("one", namespace))
        starter.join()
        assert api.get(Ref(CONFIGMAPS, "one", namespace))["data"] == {"a": "1"}
    control_plane.start()


def test_a_hanging_server_times_out(control_plane: ControlPlane, api: Api) -> None:
    with control_plane.pause_apiserver():
        started = time.monotonic()

        def ask() -> None:
            while True:  # it stops some time after the signal
                api.request("GET", "/version", timeout=0.5, retry_for=0)

        with pytest.raises(Unavailable, match="timed out"):
            ask()
        assert time.monotonic() - started < 15


def test_an_untrusted_certificate_is_final(
    control_plane: ControlPlane, scripted: Any, tmp_path: Path
) -> None:
    _, server = scripted(reply(200))
    text = control_plane.kubeconfig.read_text().replace(control_plane.server, server.url)
    (tmp_path / "other").write_text(text)
    with Api.from_kubeconfig(tmp_path / "other") as stranger:
        started = time.monotonic()
        with pytest.raises(ApiError, match="is not trusted") as caught:
            stranger.uid()
        assert not isinstance(caught.value, Unavailable)
        assert time.monotonic() - started < 5
        assert stranger.ready().failed


STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
TOO_MANY = reply(429, STATUS | {"message": "too many requests", "code": 429}, Retry_After="1")
GOOD = reply(200, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}})
ONE = Ref(CONFIGMAPS, "one", "default")


def test_429_waits_as_long_as_the_server_asks(scripted: Any) -> None:
    api, server = scripted(TOO_MANY, GOOD)
    started = time.monotonic()
    api.create(CONFIGMAPS, config_map("one", "default"))
    assert time.monotonic() - started >= 1
    assert len(server.requests) == 2


def test_429_longer_than_the_bound_is_raised_at_once(scripted: Any) -> None:
    api, server = scripted(reply(429, STATUS | {"message": "too many", "code": 429}, Retry_After="60"))
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        api.get(ONE)
    assert time.monotonic() - started < 15
    assert caught.value.retry_after == 60
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [503, 504])
def test_what_may_be_done_twice_is_sent_again_and_a_creation_is_not(scripted: Any, status: int) -> None:
    bad = reply(status, b"<html>gateway</html>")
    api, server = scripted(bad, GOOD)
    assert api.get(ONE)["metadata"]["name"] == "one"
    assert len(server.requests) == 2

    api, server = scripted(bad, GOOD)
    api.server_side_apply(ONE, config_map("one", "default"), manager="test", force=True)
    assert len(server.requests) == 2

    api, server = scripted(bad, GOOD)
    api.merge_patch(ONE, {"data": {}})
    assert len(server.requests) == 2

    api, server = scripted(bad, GOOD)
    with pytest.raises(Unavailable, match=f"HTTP {status}$"):
        api.create(CONFIGMAPS, config_map("one", "default"))
    assert len(server.requests) == 1


def test_an_answer_cut_short_is_unavailable(scripted: Any) -> None:
    api, _ = scripted(GOOD[:-5], retry_for=0)
    with pytest.raises(Unavailable):
        api.get(ONE)


def test_no_answer_at_all_is_unavailable(scripted: Any) -> None:
    api, _ = scripted(b"", retry_for=0)
    with pytest.raises(Unavailable):
        api.get(ONE)


def test_something_else_than_an_api_server(scripted: Any) -> None:
    page = reply(200, b"<html>It works!</html>")
    api, server = scripted(page)
    for ask in (lambda: api.get(ONE), lambda: api.list(CONFIGMAPS), api.server_version):
        with pytest.raises(ApiError, match="did not answer like a Kubernetes API server"):
            ask()
    assert len(server.requests) == 3


def test_a_redirect_does_not_carry_the_token_away(scripted: Any) -> None:
    other, target = scripted(GOOD)
    api, _ = scripted(reply(302, b"", Location=f"{target.url}/api/v1/namespaces/default/configmaps/one"))
    with pytest.raises(ApiError):
        api.get(ONE)
    assert target.requests == []
    other.close()


def test_403_of_a_server_that_is_starting_is_unavailable(scripted: Any) -> None:
    no = reply(403, STATUS | {"message": 'configmaps "one" is forbidden: User "x" cannot get', "code": 403})
    starting = reply(500, b"[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n")
    api, _ = scripted(no, starting, GOOD)
    assert api.get(ONE)["metadata"]["name"] == "one"
    api, _ = scripted(no, starting, retry_for=0)
    with pytest.raises(Unavailable, match="still starting"):
        api.get(ONE)


def test_a_server_that_has_not_all_its_paths_yet_is_waited_for(scripted: Any) -> None:
    """Also with what must not be sent twice, and longer than one that does not answer."""
    why = "the request has been made before all known HTTP paths have been installed, please try again"
    early = reply(503, STATUS | {"message": why, "code": 503}, Retry_After="1")
    api, server = scripted(early, early, GOOD, retry_for=1)
    assert api.create(CONFIGMAPS, config_map("one", "default"))["metadata"]["name"] == "one"
    assert len(server.requests) == 3


def test_a_server_that_forbids_to_ask_whether_it_is_ready_is_starting(scripted: Any) -> None:
    """So it is for an administrator by RBAC, as kubeadm's: its roles are not read yet."""
    told = {"message": 'forbidden: User "kubernetes-admin" cannot get path "/readyz"', "code": 403}
    no = reply(403, STATUS | told)
    api, _ = scripted(no, no, GOOD)
    assert api.get(ONE)["metadata"]["name"] == "one"
    api, _ = scripted(no, no)
    status = api.ready()
    assert status.state is waiting.State.PENDING
    assert "still starting" in status.message


def test_readiness_names_the_checks_that_fail(scripted: Any) -> None:
    api, _ = scripted(reply(500, b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"))
    status = api.ready()
    assert status.state is waiting.State.PENDING
    assert status.message == "the API server is not ready: etcd failed"
