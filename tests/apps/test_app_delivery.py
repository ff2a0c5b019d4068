"""Secrets, waits with what blocks, volumes, the record of the engine: on a real API server."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from small_bundles import config, make, release, server

from audit import writes
from capi_llm.apps import course, delivery, namespaces, secrets, volumes
from capi_llm.apps.course import Wait
from capi_llm.apps.direct import Direct
from capi_llm.apps.engine import AppStatus, Release, Target
from capi_llm.apps.helm import Helm
from capi_llm.errors import CapiLlmError, NotFound, Refused, TimedOut
from capi_llm.kube.resources import CLUSTERS, NAMESPACES, PODS, SECRETS, Object, Ref
from capi_llm.settings import Secret
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import Sandbox, times_out

pytestmark = pytest.mark.sandbox


@pytest.fixture
def engine(sandbox: Sandbox, helm: Helm, namespace: str) -> Direct:
    return Direct(sandbox.api, sandbox.api, Target("demo", namespace), helm)


def value(secret: Object, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def test_keys_are_made_once_and_belong_together(sandbox: Sandbox, namespace: str, tmp_path: Path) -> None:
    api = sandbox.api
    both = [release(make(tmp_path, name, {}, namespace=namespace)) for name in ("litellm", "openwebui")]
    lite, web = (Ref(SECRETS, name, namespace) for name in ("litellm", "openwebui"))
    assert secrets.missing(api, both) == [lite, web]
    assert secrets.ensure(api, both, {}) == [lite, web]
    master = value(api.get(lite), "master-key")
    assert master.startswith("sk-")
    assert len(master) >= 45
    assert value(api.get(web), "openai-api-key") == master
    assert len(value(api.get(web), "webui-secret-key")) >= 43

    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    assert secrets.ensure(api, both, {}) == []
    assert secrets.missing(api, both) == []
    assert writes(log, agent="capi-llm/", after=before) == []
    assert value(api.get(lite), "master-key") == master
    assert master not in log.read_text()

    # A key of somebody's own stays, and the one that does not fit any more is told.
    mine = base64.b64encode(b"sk-mine").decode()
    api.merge_patch(lite, {"data": {"master-key": mine}})
    with pytest.raises(Refused, match="Open WebUI has another key than LiteLLM") as caught:
        secrets.ensure(api, both, {})
    assert "sk-mine" not in str(caught.value)
    api.delete(web)
    secrets.ensure(api, both, {})
    assert value(api.get(web), "openai-api-key") == "sk-mine"


def test_a_secret_of_ones_own_is_left_to_its_owner(sandbox: Sandbox, namespace: str, tmp_path: Path) -> None:
    own = {"masterKey": {"secretName": "my-key"}}
    found = release(make(tmp_path, "litellm", {}, namespace=namespace), **own)
    assert secrets.ensure(sandbox.api, [found], {}) == []
    assert sandbox.api.find(Ref(SECRETS, "litellm", namespace)) is None


def test_keys_of_providers_follow_the_environment(sandbox: Sandbox, namespace: str, tmp_path: Path) -> None:
    schema = {"properties": {"providerKeys": {}}}
    bundle = make(tmp_path, "litellm", {}, namespace=namespace, schema=schema)
    found = [release(bundle)]
    assert secrets.of_cluster(sandbox.api, [bundle], {}) == {}
    ref = Ref(SECRETS, secrets.PROVIDERS, namespace)
    secrets.ensure(sandbox.api, found, {"OPENAI_API_KEY": Secret("sk-first")})
    assert value(sandbox.api.get(ref), "OPENAI_API_KEY") == "sk-first"
    assert secrets.ensure(sandbox.api, found, {"OPENAI_API_KEY": Secret("sk-first")}) == []
    assert secrets.ensure(sandbox.api, found, {"OPENAI_API_KEY": Secret("sk-other")}) == [ref]
    # Where the environment says nothing any more, what is there is still used.
    assert secrets.of_cluster(sandbox.api, [bundle], {}) == {
        "litellm": {"providerKeys": {"secretName": secrets.PROVIDERS}}
    }


def test_namespaces_get_their_labels_and_keep_others(
    sandbox: Sandbox, namespace: str, tmp_path: Path
) -> None:
    labels = {"pod-security.kubernetes.io/warn": "baseline"}
    found = [release(make(tmp_path, "a", {}, namespace=namespace, namespaceLabels=labels))]
    sandbox.api.merge_patch(Ref(NAMESPACES, namespace), {"metadata": {"labels": {"theirs": "1"}}})
    namespaces.ensure(sandbox.api, namespaces.objects(found, ()))
    assert (
        sandbox.api.get(Ref(NAMESPACES, namespace))["metadata"]["labels"].items()
        >= {
            **labels,
            "theirs": "1",
        }.items()
    )
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    namespaces.ensure(sandbox.api, namespaces.objects(found, ()))
    assert writes(log, agent="capi-llm/", after=before) == []


def test_what_depends_waits_for_what_it_needs(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    first = make(tmp_path, f"{namespace}-a", {"d": server("first")}, namespace=namespace)
    needs = [{"name": first.name}]
    second = make(tmp_path, f"{namespace}-b", {"d": server("second")}, namespace=namespace, dependsOn=needs)
    heard: list[dict[str, AppStatus]] = []
    wait = Wait(60, sandbox.api, Waiter(), lambda states: heard.append({item.app: item for item in states}))
    done = course.deliver(engine, [release(first), release(second)], wait)
    assert [item.app for item in done] == [first.name, second.name]
    brought = next(states for states in heard if states[second.name].delivered)
    assert brought[first.name].status.ready
    assert all(item.status.ready for item in heard[-1].values())


def test_a_delivery_that_broke_off_is_brought_to_its_end_in_its_turn(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    def chain(manifest: str) -> list[Release]:
        names = [f"{namespace}-{letter}" for letter in "abc"]
        texts = [config("a"), manifest, config("c")]
        needs = [[], names[:1], names[1:2]]
        return [
            release(
                make(tmp_path, name, {"m": text}, namespace=namespace, dependsOn=[{"name": n} for n in need])
            )
            for name, text, need in zip(names, texts, needs, strict=True)
        ]

    wait = Wait(60, sandbox.api, Waiter())
    with pytest.raises(CapiLlmError):
        course.deliver(engine, chain(config("NOT A NAME")), wait)
    second = engine.status([f"{namespace}-b"])[0]
    assert "has not come to its end" in second.status.message
    done = course.deliver(engine, chain(config("b")), wait)
    assert [len(item.objects) for item in done] == [1, 1, 1]
    assert all(item.status.ready for item in engine.status([item.app for item in done]))


def test_what_blocks_is_told_with_events_and_the_pods_own_reason(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    text = server("web").replace("tolerations:", "nodeSelector: {disk: none}\n      tolerations:")
    app = make(tmp_path, f"{namespace}-a", {"d": text}, namespace=namespace)
    wait = Wait(3, sandbox.api, Waiter())
    deliver = partial(course.deliver, engine, [release(app)], wait)
    found = str(times_out(deliver, "event: FailedScheduling"))
    assert f"0 of 1 apps are ready; {app.name}: Deployment {namespace}/web: 0 of 1 pods are ready" in found
    assert f"\n  {app.name}: pod web-" in found
    assert "is not scheduled: 0/1 nodes are available" in found

    # What the kubelet would say of an image that is not there; here the test says it.
    (pod,) = sandbox.api.list(PODS, namespace)
    held = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0,
                 "state": {"waiting": held}}  # fmt: skip
    ref = PODS.ref(pod)
    sandbox.api.merge_patch(ref, {"status": {"containerStatuses": [container]}}, subresource="status")
    with pytest.raises(TimedOut, match=r"container main: ImagePullBackOff: Back-off pulling image; check"):
        course.until_ready(engine, [app.name], replace(wait, timeout=1))


def test_a_job_that_fails_ends_the_wait_at_once(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    job = """\
apiVersion: batch/v1
kind: Job
metadata: {name: pull}
spec:
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {disk: none}
      containers: [{name: main, image: 'example.com/x:1'}]
"""
    app = make(tmp_path, f"{namespace}-a", {"j": job}, namespace=namespace)
    with pytest.raises(CapiLlmError, match="Job was active longer than specified deadline") as caught:
        course.deliver(engine, [release(app)], Wait(60, sandbox.api, Waiter()))
    assert type(caught.value) is CapiLlmError


CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_claims_of_a_sandbox_are_bound_to_simulated_volumes(
    sandbox: Sandbox, helm: Helm, namespace: str, tmp_path: Path
) -> None:
    engine = Direct(sandbox.api, sandbox.api, Target("demo", namespace), helm, before=volumes.simulate)
    app = make(tmp_path, f"{namespace}-a", {"c": CLAIM}, namespace=namespace)
    for _ in range(2):
        course.deliver(engine, [release(app)], Wait(30, sandbox.api, Waiter()))
        engine.remove([app.name])
    sandbox.api.delete(Ref(volumes.VOLUMES, f"simulated-{namespace}-data"))


def test_the_engine_is_recorded_with_the_cluster(sandbox: Sandbox, cluster: str, namespace: str) -> None:
    api = sandbox.api
    found = delivery.find(api, cluster, namespace)
    assert delivery.recorded(found) is None
    assert delivery.choose(found, None) == "direct"
    assert delivery.choose(found, "fleet") == "fleet"
    delivery.record(api, found, "direct")
    found = delivery.find(api, cluster, namespace)
    assert delivery.recorded(found) == "direct"
    with pytest.raises(Refused, match=f"delivered by direct, and fleet was asked for .*{namespace}/demo"):
        delivery.choose(found, "fleet")
    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    delivery.record(api, found, "direct")
    assert writes(log, agent="capi-llm/", after=before) == []
    delivery.record(api, found, None)
    assert delivery.recorded(delivery.find(api, cluster, namespace)) is None
    api.merge_patch(
        Ref(CLUSTERS, cluster, namespace), {"metadata": {"annotations": {delivery.ANNOTATION: "x"}}}
    )
    with pytest.raises(Refused, match="which this capi-llm does not know"):
        delivery.recorded(delivery.find(api, cluster, namespace))
    with pytest.raises(NotFound, match="there is no cluster 'none'"):
        delivery.find(api, "none", namespace)


def test_an_app_that_is_away_while_it_is_waited_for(
    sandbox: Sandbox, engine: Direct, namespace: str, tmp_path: Path
) -> None:
    app = make(tmp_path, f"{namespace}-a", {"c": config("one")}, namespace=namespace)
    engine.apply([release(app)])
    ref = Ref(PODS.__class__("", "v1", "configmaps", "ConfigMap"), "one", namespace)
    sandbox.api.delete(ref)
    with engine.watching() as bell:

        def probe():
            (found,) = engine.status([app.name])
            return ready() if "is missing" in found.status.message else pending(found.status.message)

        until(probe, what="the loss", timeout=20, waiter=Waiter(bell))
        engine.apply([release(app)])
        until(lambda: engine.status([app.name])[0].status, what="the app", timeout=20, waiter=Waiter(bell))
