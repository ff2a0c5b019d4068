"""A Helm release as a step: real helm, a repository on loopback, a real API server."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standin_charts import Repository, deployment

from audit import Write, writes
from capi_llm.contract import helm as contract
from capi_llm.errors import BadInput, NotFound, PrerequisiteMissing, Refused, TimedOut
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import DEPLOYMENTS, PODS, SECRETS, Ref, Resource
from capi_llm.sandbox import executables
from capi_llm.steps import engine
from capi_llm.steps.chart import OWNER, HelmRelease, Wanted
from capi_llm.steps.context import Context
from capi_llm.tools.helm import Chart
from sandboxes import times_out, without_charts

WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"color": {"type": "string"}, "image": {"type": "string"}, "global": {}},
}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    found = Repository(tmp_path / "repository")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        publish(found, version)
    yield found
    found.close()


def publish(repository: Repository, version: str, **more: Any) -> None:
    repository.publish(
        "small",
        version,
        {
            "main.yaml": deployment("small", "{{ .Values.image }}")
            + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: small}\n"
            + 'data: {color: "{{ .Values.color }}"}\n'
        },
        values={"color": "red", "image": f"registry.example/small:{version}"},
        schema=SCHEMA,
        **more,
    )


def step(
    repository: Repository | str,
    namespace: str,
    version: str = "1.0.0",
    *,
    timeout: float = 30.0,
    **more: Any,
) -> HelmRelease:
    url = repository if isinstance(repository, str) else repository.url
    upgrade = bool(more.pop("upgrade", False))
    values: Mapping[str, Any] = more.pop("values", {"color": "blue"})
    wanted = Wanted("small", namespace, Chart("small", url, version), values, **more)
    return HelmRelease("small", lambda ctx: wanted, upgrade=upgrade, timeout=timeout)


def release(api: Api, namespace: str) -> contract.Release:
    (found,) = contract.newest(api.list(SECRETS, namespace))
    return found


def helm(ctx: Context, *argv: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """helm as somebody else runs it."""
    command = [executables.one(ctx.settings, "helm"), *argv, "--kubeconfig", ctx.identity.kubeconfig]
    return subprocess.run(command, check=check, text=True, capture_output=True)


def written(ctx: Context, after: int) -> list[Write]:
    """Writes by us and by helm."""
    found = writes(ctx.sandbox.audit_log, after=after)
    return [write for write in found if write.agent.startswith(("capi-llm", "Helm"))]


def test_installed_once_and_then_left(ctx: Context, api: Api, repository: Repository, own: str) -> None:
    here = step(repository, own)
    assert "small 1.0.0 from http" in engine.probe_all((here,), ctx)[0].status.message
    (done,) = engine.run((here,), ctx)
    assert (done.outcome, done.status.message) == ("done", "1.0.0, 1 workloads ready")
    found = release(api, own)
    assert (found.version, found.values, found.status) == ("1.0.0", {"color": "blue"}, "deployed")
    assert OWNER in found.labels

    before, asked = ctx.sandbox.audit_log.stat().st_size, len(repository.asked)
    (again,) = engine.run((here,), ctx)
    assert again.outcome == "unchanged"
    assert written(ctx, before) == []
    assert len(repository.asked) == asked

    engine.remove((here,), ctx)
    assert api.find(Ref(DEPLOYMENTS, "small", own)) is None
    engine.remove((here,), ctx)


def test_what_changed_is_put_right(ctx: Context, api: Api, repository: Repository, own: str) -> None:
    engine.run((step(repository, own),), ctx)
    green = step(repository, own, values={"color": "green"})
    assert "its values differ: color" in engine.probe_all((green,), ctx)[0].status.message
    engine.run((green,), ctx)
    assert (release(api, own).values, release(api, own).revision) == ({"color": "green"}, 2)

    api.delete(Ref(DEPLOYMENTS, "small", own))
    assert "Deployment" in engine.probe_all((green,), ctx)[0].status.message
    engine.run((green,), ctx)
    assert api.find(Ref(DEPLOYMENTS, "small", own)) is not None


def test_a_newer_pin_waits_for_the_word(ctx: Context, api: Api, repository: Repository, own: str) -> None:
    engine.run((step(repository, own),), ctx)
    (result,) = engine.run((step(repository, own, "1.1.0"),), ctx)
    assert result.outcome == "unchanged"
    assert result.status.message == "1.0.0; `capi-llm bootstrap --upgrade` brings 1.1.0"
    upgrade = step(repository, own, "1.1.0", upgrade=True)
    assert engine.probe_all((upgrade,), ctx)[0].status.message == "1.0.0 is to become 1.1.0"
    engine.run((upgrade,), ctx)
    assert release(api, own).version == "1.1.0"
    # And an older capi-llm leaves what a newer one has brought.
    (older,) = engine.run((step(repository, own, "1.0.0", upgrade=True),), ctx)
    assert (older.outcome, release(api, own).version) == ("unchanged", "1.1.0")
    assert "newer than 1.0.0; left as it is" in older.status.message


@pytest.mark.parametrize("state", ["pending-install", "pending-upgrade", "failed", "uninstalling"])
def test_what_a_dead_run_left_is_put_right(
    ctx: Context, api: Api, repository: Repository, own: str, state: str
) -> None:
    engine.run((step(repository, own),), ctx)
    if state == "pending-upgrade":
        engine.run((step(repository, own, values={"color": "green"}),), ctx)
    pretend(api, own, state)
    assert state in engine.probe_all((step(repository, own),), ctx)[0].status.message
    (done,) = engine.run((step(repository, own),), ctx)
    assert done.outcome == "done"
    assert (release(api, own).status, release(api, own).values) == ("deployed", {"color": "blue"})


def pretend(api: Api, namespace: str, state: str, **labels: str | None) -> None:
    """Have the newest revision say ``state``, as helm leaves it when it is killed."""
    found = release(api, namespace)
    ref = Ref(SECRETS, found.secret, namespace)
    packed = base64.b64decode(base64.b64decode(api.get(ref)["data"]["release"]))
    data = json.loads(gzip.decompress(packed))
    data["info"]["status"] = state
    text = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(data).encode()))).decode()
    api.merge_patch(ref, {"metadata": {"labels": {"status": state, **labels}}, "data": {"release": text}})


def test_a_run_on_another_machine_is_waited_for(
    ctx: Context, api: Api, repository: Repository, own: str
) -> None:
    engine.run((step(repository, own),), ctx)
    pretend(api, own, "pending-upgrade", **{OWNER: "elsewhere"})
    with pytest.raises(Refused, match=r"helm is at work on .*machine elsewhere"):
        engine.run((step(repository, own, timeout=600),), ctx)


def test_another_tools_release_is_taken_or_refused_and_never_written(
    ctx: Context, api: Api, repository: Repository, own: str
) -> None:
    archive = repository.folder / "small-1.0.0.tgz"
    helm(ctx, "install", "small", archive, "--namespace", own, "--wait")
    before = ctx.sandbox.audit_log.stat().st_size
    (result,) = engine.run((step(repository, own, "2.0.0", upgrade=True),), ctx)
    assert result.outcome == "unchanged"
    assert "1.0.0 is there, of another tool; left as it is" in result.status.message

    choosy = step(repository, own, "2.0.0", refuses=lambda version: f"{version} is too old")
    with pytest.raises(Refused, match=r"1.0.0 is there and can not be used .*1.0.0 is too old"):
        engine.run((choosy,), ctx)
    assert engine.probe_all((choosy,), ctx)[0].status.failed

    pretend(api, own, "pending-upgrade")
    with pytest.raises(Refused, match="of another tool is pending-upgrade"):
        engine.run((step(repository, own),), ctx)
    found = [
        write for write in written(ctx, before) if not write.uri.startswith(f"/api/v1/namespaces/{own}/sec")
    ]
    assert found == []
    engine.remove((step(repository, own),), ctx)
    assert release(api, own).version == "1.0.0"


def test_what_can_not_be_had(ctx: Context, repository: Repository, own: str, tmp_path: Path) -> None:
    ctx = replace(ctx, settings=replace(ctx.settings, cache=without_charts(ctx.settings.cache, tmp_path)))
    with pytest.raises(NotFound, match=r"chart small 9.9.9 from .* can not be had") as caught:
        engine.run((step(repository, own, "9.9.9"),), ctx)
    assert "see which versions" in caught.value.fix
    with pytest.raises(PrerequisiteMissing, match="can not be had") as missing:
        engine.run((step(f"{repository.url}/nothing", own),), ctx)
    assert (missing.value.exit_code, "404" in missing.value.why) == (3, True)
    assert "index.yaml is there" in missing.value.fix
    with pytest.raises(PrerequisiteMissing, match="connection refused") as away:
        engine.run((step("http://127.0.0.1:9", own),), ctx)
    assert "let this machine reach the repository" in away.value.fix
    offline = replace(ctx, settings=replace(ctx.settings, offline=True))
    with pytest.raises(PrerequisiteMissing, match="is not in the cache"):
        engine.run((step(repository, own),), offline)


def test_values_that_do_not_fit(ctx: Context, api: Api, repository: Repository, own: str) -> None:
    with pytest.raises(BadInput, match=r"the values do not fit chart small 1.0.0") as caught:
        engine.run((step(repository, own, values={"color": 7}),), ctx)
    assert caught.value.exit_code == 2
    assert "color: Invalid type. Expected: string, given: integer" in caught.value.why
    assert contract.newest(api.list(SECRETS, own)) == []


def test_a_cluster_that_the_chart_does_not_take(ctx: Context, repository: Repository, own: str) -> None:
    publish(repository, "3.0.0", kube="< 1.20.0-0")
    with pytest.raises(Refused, match=r"does not run on Kubernetes v1\.\d+.*it wants < 1.20.0-0"):
        engine.run((step(repository, own, "3.0.0"),), ctx)


def test_objects_of_another_release(ctx: Context, repository: Repository, own: str) -> None:
    helm(ctx, "install", "first", repository.folder / "small-1.0.0.tgz", "--namespace", own)
    with pytest.raises(Refused, match=r"small is there and is not of this Helm release") as caught:
        engine.run((step(repository, own),), ctx)
    assert "first" in caught.value.why


def test_a_kind_that_is_not_there(ctx: Context, repository: Repository, own: str) -> None:
    text = "apiVersion: cert-manager.example/v1\nkind: Issuer\nmetadata: {name: rancher}\n"
    repository.publish("small", "4.0.0", {"main.yaml": text}, schema=SCHEMA)
    with pytest.raises(Refused, match=r"needs Issuer of cert-manager\.example/v1"):
        engine.run((step(repository, own, "4.0.0"),), ctx)


def test_a_pod_that_does_not_start_is_named(ctx: Context, api: Api, repository: Repository, own: str) -> None:
    """KWOK has every pod run, so the kubelet's word on an image that is not there is played."""
    text = deployment("small", "registry.example/gone:1").replace(
        "    spec:\n      containers", "    spec:\n      nodeSelector: {none: here}\n      containers"
    )
    repository.publish("small", "5.0.0", {"main.yaml": text}, schema=SCHEMA)
    here = step(repository, own, "5.0.0", timeout=4.0)
    unscheduled = times_out(
        lambda: engine.run((here,), ctx), r"Deployment .*small: pod small-.*is not scheduled"
    )
    assert unscheduled.exit_code == 4

    (pod,) = api.list(PODS, own)
    waits = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example/gone:1"'}
    status = {"containerStatuses": [_waiting("main", waits)]}
    api.merge_patch(PODS.ref(pod), {"status": status}, subresource="status")
    with pytest.raises(TimedOut, match=r"container main: ImagePullBackOff: Back-off pulling image") as image:
        engine.run((here,), ctx)
    assert "whether the nodes can reach its registry" in image.value.fix
    assert release(api, own).revision == 1, "helm is not run again for pods that do not start"


def _waiting(name: str, waits: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "registry.example/gone:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": dict(waits)},
    }


def test_a_hook_that_does_not_end(ctx: Context, repository: Repository, own: str) -> None:
    hook = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: check
  annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  suspend: true
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "registry.example/check:1"}]}
"""
    repository.publish("small", "6.0.0", {"hook.yaml": hook}, schema=SCHEMA)
    with pytest.raises(TimedOut, match=r"the post-install hook of chart small 6.0.0"):
        engine.run((step(repository, own, "6.0.0", timeout=3.0),), ctx)
    (result,) = engine.probe_all((step(repository, own, "6.0.0"),), ctx)
    assert "the release is failed" in result.status.message


def test_nothing_of_the_values_is_in_a_command_line(
    ctx: Context, repository: Repository, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capi_llm import shell

    seen: list[str] = []
    run = shell.run

    def watched(argv: Any, **more: Any) -> Any:
        seen.append(" ".join(map(str, argv)))
        return run(argv, **more)

    monkeypatch.setattr(shell, "run", watched)
    word = secrets.token_hex(8)
    engine.run((step(repository, own, values={"color": word}),), ctx)
    assert any("upgrade --install small" in line for line in seen)
    assert not any(word in line for line in seen)


def test_a_webhook_that_does_not_answer_yet_is_waited_for(
    ctx: Context, api: Api, repository: Repository, own: str
) -> None:
    name = f"hook-{own}.example.com"
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    webhook = {
        "apiVersion": WEBHOOKS.api_version,
        "kind": WEBHOOKS.kind,
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": name,
                "clientConfig": {"url": "https://127.0.0.1:9/none"},
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": own}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    apply(api, [webhook], manager="test")
    try:
        with pytest.raises(TimedOut, match="a webhook of the cluster does not answer") as caught:
            engine.run((step(repository, own, timeout=2.0),), ctx)
        assert (caught.value.exit_code, "pods behind that webhook" in caught.value.fix) == (4, True)
    finally:
        api.delete(Ref(WEBHOOKS, name))
    (done,) = engine.run((step(repository, own),), ctx)
    assert done.outcome == "done"
