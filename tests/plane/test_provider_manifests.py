"""Providers that the settings add, without Rancher: upstream's manifests on a real API server."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm import certificates
from capi_llm.errors import BadInput, CapiLlmError, FetchFailed, PrerequisiteMissing, Refused
from capi_llm.identity import Identities, Identity
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CRDS, DEPLOYMENTS, NAMESPACES, SECRETS, Ref
from capi_llm.plane import recipes
from capi_llm.sandbox import executables
from capi_llm.sandbox.components import FILES
from capi_llm.settings import Provider, Secret, Settings
from capi_llm.steps import engine, provider_manifests, webhook_certs
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context, Plane
from control_plane import ControlPlane

WORD = "hunter2-hunter2"
MANAGER = Ref(DEPLOYMENTS, "capd-controller-manager", "capd-system")
OWN = """---
apiVersion: v1
kind: Secret
metadata: {name: acme-credentials, namespace: capd-system}
stringData: {token: "${ACME_TOKEN}", region: "${ACME_REGION:=north}", price: "$${5}"}
"""


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    folder = tmp_path / "control-plane"
    folder.mkdir()
    made = ControlPlane(executables.bring(Settings.from_environment()), folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def ctx(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Context]:
    context = yaml.safe_load(control_plane.kubeconfig.read_text())["current-context"]
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        identity = Identity("p", "existing", str(control_plane.kubeconfig), context, uid=api.uid())
    settings = replace(
        Settings.from_environment(),
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        provider_environment={"ACME_TOKEN": Secret(WORD)},
    )
    here = Plane(Identities(settings.state), identity)
    try:
        yield Context(settings, here)
    finally:
        here.close()


@pytest.fixture(scope="module")
def upstream() -> str:
    """The manifests of Cluster API's Docker provider, here as one that the settings add."""
    folder = executables.bring(Settings.from_environment())["capi-components"]
    return (folder / FILES["capi-docker"]).read_text()


def file(folder: Path, text: str, **more: Any) -> Provider:
    path = folder / "infrastructure-components.yaml"
    path.write_text(text)
    said = {
        "namespace": "acme-system",
        "secret": "acme",
        "environment": ("ACME_TOKEN",),
        "components": str(path),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return Provider("acme", **{"version": "v1.0.0", **said, **more})  # type: ignore[arg-type]


def steps(*wanted: Provider, upgrade: bool = False) -> engine.Recipe:
    found = provider_manifests.without_rancher(wanted, needs=(), own_certificates=True, upgrade=upgrade)
    for step in found:
        step.timeout, step.interval = 60.0, 0.1
    return found


def outcomes(ctx: Context, *wanted: Provider, upgrade: bool = False) -> dict[str, str]:
    recipe = steps(*wanted, upgrade=upgrade)
    engine.preflight(recipe, ctx)
    return {result.step: result.outcome for result in engine.run(recipe, ctx)}


def message(ctx: Context, *wanted: Provider, upgrade: bool = False) -> str:
    return engine.probe_all(steps(*wanted, upgrade=upgrade), ctx)[-1].status.message


@contextlib.contextmanager
def kubelet(api: Api) -> Iterator[None]:
    """Simulated: every Deployment becomes available."""
    stop = threading.Event()
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)

    def play() -> None:
        while not stop.wait(0.1):
            for obj in api.list(DEPLOYMENTS):
                seen = obj["metadata"]["generation"]
                if (obj.get("status") or {}).get("observedGeneration") != seen:
                    status = {**counts, "observedGeneration": seen}
                    api.merge_patch(DEPLOYMENTS.ref(obj), {"status": status}, subresource="status")

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_from_a_file_to_managers_and_newer_only_by_the_word(
    ctx: Context, control_plane: ControlPlane, upstream: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = ctx.api()
    acme = file(tmp_path, upstream + OWN)
    caplog.set_level(logging.DEBUG)
    with kubelet(api):
        assert outcomes(ctx, acme) == {"provider-secrets": "done", "provider-acme": "done"}
        secret = api.get(Ref(SECRETS, "acme-credentials", "capd-system"))
        texts = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        assert texts == {"token": WORD, "region": "north", "price": "${5}"}

        # Its webhooks have certificates of our authority and trust it; cert-manager is not asked for.
        authority = webhook_certs.authority(api)
        crd = api.get(Ref(CRDS, "dockerclusters.infrastructure.cluster.x-k8s.io"))
        assert "inject-ca-from" not in json.dumps(crd)
        serving = api.get(Ref(SECRETS, "capd-webhook-service-cert", "capd-system"))["data"]
        pem = {key: base64.b64decode(value).decode() for key, value in serving.items()}
        hosts = ("capd-webhook-service.capd-system.svc",)
        assert certificates.good(pem["tls.crt"], pem["tls.key"], authority, hosts)

        # Again, also without the value at hand: nothing is written.
        before = len(control_plane.writes())
        poor = replace(ctx, settings=replace(ctx.settings, provider_environment={}))
        assert set(outcomes(poor, acme).values()) == {"unchanged"}
        writes = [write for write in control_plane.writes()[before:] if not write.endswith("/status")]
        assert writes == []

        # A newer one stays away until it is asked for; an older one for ever.
        newer = file(tmp_path, upstream.replace("v1.10.7", "v1.10.8") + OWN, version="v1.1.0")
        assert message(ctx, newer) == "v1.0.0 is there; the settings say v1.1.0"
        assert set(outcomes(ctx, newer).values()) == {"unchanged"}
        assert outcomes(ctx, newer, upgrade=True)["provider-acme"] == "done"
        assert message(ctx, newer) == "available"
        acme = file(tmp_path, upstream + OWN)
        assert message(ctx, acme, upgrade=True) == "v1.1.0 is there; the settings say v1.0.0"
    told = api.get(Ref(DEPLOYMENTS, MANAGER.name, MANAGER.namespace))
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".yaml", ".json", "")]
    kept = [path for path in kept if "control-plane" not in path.parts]
    assert WORD not in json.dumps(told) + caplog.text + "".join(path.read_text() for path in kept)


def test_what_can_not_be_is_refused_without_showing_a_value(
    ctx: Context, upstream: str, tmp_path: Path
) -> None:
    api = ctx.api()
    acme = file(tmp_path, upstream + OWN)
    with pytest.raises(PrerequisiteMissing, match="are not those of the settings") as bytes_:
        outcomes(ctx, replace(acme, sha256="0" * 64))
    assert acme.sha256 in bytes_.value.why
    with pytest.raises(PrerequisiteMissing, match="can not be read"):
        outcomes(ctx, replace(acme, components=str(tmp_path / "none.yaml")))
    with pytest.raises(BadInput, match="ask for ACME_TOKEN") as lacking:
        outcomes(ctx, replace(acme, secret="", environment=()))
    assert "environment:" in lacking.value.fix
    for text, what in (
        ("\nx: ${ACME_TOKEN/a/b}\n", "of a form that is not known"),
        ("\n---\nkind: A\nb: ${ACME_TOKEN}: [\n", "are no YAML once their variables are filled in"),
    ):
        with pytest.raises(CapiLlmError, match=what) as wrong:
            outcomes(ctx, file(tmp_path, upstream + text))
        assert WORD not in str(wrong.value)
    bad = (
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: '_${ACME_TOKEN}', namespace: capd-system}\n"
    )
    with pytest.raises(CapiLlmError, match=r"\*\*\*\*") as invalid:
        outcomes(ctx, file(tmp_path, upstream + bad))
    assert WORD not in str(invalid.value)

    # Somebody else's is never written over.
    api.delete(MANAGER)
    (manager,) = [
        item
        for item in yaml.safe_load_all(upstream.replace('${CAPD_DOCKER_HOST:=""}', ""))
        if item and item["kind"] == "Deployment"
    ]
    apply(api, [manager], manager="clusterctl")
    with pytest.raises(Refused, match="is there already, of another tool"):
        outcomes(ctx, file(tmp_path, upstream + OWN))


def test_from_the_web_by_its_checksum_alone(ctx: Context, upstream: str, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    acme = file(folder, upstream + OWN)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, kubelet(ctx.api()):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/infrastructure-components.yaml"
            wrong = replace(acme, components=url, sha256="0" * 64)
            with pytest.raises(FetchFailed, match="not the file that was published"):
                outcomes(ctx, wrong)
            assert ctx.api().find(Ref(NAMESPACES, "capd-system")) is None
            assert outcomes(ctx, replace(acme, components=url))["provider-acme"] == "done"
        finally:
            server.shutdown()
            thread.join()
    offline = replace(ctx, settings=replace(ctx.settings, offline=True))
    assert set(outcomes(offline, replace(acme, components=url)).values()) == {"unchanged"}
    with pytest.raises(PrerequisiteMissing, match="are not here"):
        engine.preflight(steps(wrong), offline)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_recipe_without_rancher_has_them() -> None:
    acme = Provider("acme", "v1.0.0", namespace="a", components="/a.yaml", sha256="0" * 64)
    for kind in ("kind", "existing"):
        for certs, before in (("self", "webhook-certs"), ("cert-manager", "cert-manager")):
            chosen = Choices(webhook_certs=certs, cluster="llm")
            identity = Identity("p", kind, "/k", "c", choices=chosen.as_mapping())
            recipe = recipes.of(identity, more=(acme,))
            engine.check(recipe)
            (found,) = [step for step in recipe if step.name == "provider-acme"]
            assert found.needs == (before, "cluster-api")
            for lacking in (replace(acme, sha256=""), replace(acme, components="")):
                with pytest.raises(BadInput, match="'acme' has no `"):
                    recipes.of(identity, more=(lacking,))
