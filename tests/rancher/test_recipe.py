"""The recipe with Rancher on a cluster that is there: real helm, stand-in charts, a played Rancher."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bare_plane import bare
from standin_charts import Repository
from standin_rancher import Rancher

from audit import writes
from capi_llm import compatibility
from capi_llm.contract import helm as contract
from capi_llm.errors import CapiLlmError, StepFailed
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, SECRETS, SERVICES, Ref
from capi_llm.plane import rancher as recipe
from capi_llm.settings.secret import Secret
from capi_llm.steps import engine
from capi_llm.steps.address import INGRESSES
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context
from capi_llm.steps.rancher import RESTARTED_FOR, SETTINGS, password
from capi_llm.steps.turtles import CAPI_PROVIDERS

HOST = "rancher.example.com"
PROVIDERS = ("capi-bootstrap", "capi-control-plane", "capi-docker", "capi-fleet-addon")
ROW = compatibility.row("v2.13.8")


def choices(expose: str = "ngrok", **more: str) -> Choices:
    hostname = "" if expose == "docker" else HOST
    return Choices(rancher=ROW.rancher, hostname=hostname, expose=expose, delivery="fleet", **more)


def steps(chosen: Choices, *lacking: str, upgrade: bool = False) -> engine.Recipe:
    """The recipe above the cluster itself, with little patience for what will be ``lacking``."""
    found = recipe.recipe(chosen, upgrade=upgrade)
    assert set(lacking) <= {step.name for step in found}
    for step in found:
        step.needs = tuple(name for name in step.needs if name != "management-cluster")
        step.timeout = 4.0 if step.name in lacking else 120.0
    return found


@pytest.fixture
def here(charts: Repository, tmp_path: Path) -> Iterator[Context]:
    """A control plane of the test's own: Rancher takes fixed namespaces."""
    with bare("rancher") as ctx:
        yield settings(ctx, charts)


def settings(ctx: Context, charts: Repository, **more: Any) -> Context:
    more.setdefault("ngrok_api_key", Secret("key-0123456789"))
    more.setdefault("ngrok_authtoken", Secret("token-0123456789"))
    return replace(ctx, settings=replace(ctx.settings, charts=charts.url, **more))


def values(api: Api, namespace: str, name: str) -> Any:
    found = contract.newest(api.list(SECRETS, namespace, f"owner=helm,name={name}"))
    return found[-1].values


def setting(api: Api, name: str) -> str:
    return str(api.get(Ref(SETTINGS, name))["value"])


def test_behind_ngrok_from_nothing_to_providers(here: Context) -> None:
    api = here.api()
    with Rancher(api, ngrok_host=HOST).playing():
        results = engine.run(steps(choices()), here)
    assert {result.outcome for result in results} <= {"done", "unchanged"}

    # What reached the API server.
    assert values(api, "cattle-system", "rancher") == {
        "hostname": HOST,
        "replicas": 1,
        "tls": "external",
        "agentTLSMode": "system-store",
        "ingress": {"enabled": False},
        "startupProbe": {"failureThreshold": 60},
        "service": {
            "annotations": {
                "k8s.ngrok.com/app-protocols": '{"https-internal":"HTTPS","http":"HTTP"}',
                "ngrok.com/app-protocols": '{"https-internal":"HTTPS","http":"HTTP"}',
            }
        },
    }
    assert values(api, "ngrok-operator", "ngrok-operator")["defaultDomainReclaimPolicy"] == "Retain"
    service = api.get(Ref(SERVICES, "rancher", "cattle-system"))
    assert json.loads(service["metadata"]["annotations"]["ngrok.com/app-protocols"])["http"] == "HTTP"
    ingress = api.get(Ref(INGRESSES, "rancher", "cattle-system"))
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["rules"][0]["host"]) == ("ngrok", HOST)
    assert setting(api, "server-url") == f"https://{HOST}"
    assert setting(api, "agent-tls-mode") == "system-store"
    assert (setting(api, "first-login"), bool(setting(api, "eula-agreed"))) == ("false", True)
    controller = api.get(Ref(DEPLOYMENTS, "fleet-controller", "cattle-fleet-system"))
    assert controller["spec"]["template"]["metadata"]["annotations"][RESTARTED_FOR] == f"https://{HOST}"
    _check_providers(api)
    assert (
        api.get(Ref(NAMESPACES, "default"))["metadata"]["labels"]["cluster-api.cattle.io/rancher-auto-import"]
        == "true"
    )

    # Secrets: where they belong and nowhere else.
    credentials = api.get(Ref(SECRETS, "ngrok-operator-credentials", "ngrok-operator"))["data"]
    assert {key: base64.b64decode(text).decode() for key, text in credentials.items()} == {
        "API_KEY": "key-0123456789",
        "AUTHTOKEN": "token-0123456789",
    }
    made = password(api)
    assert made is not None
    assert len(made.reveal()) >= 20
    for secret in contract.newest(api.list(SECRETS)):
        assert made.reveal() not in json.dumps([secret.values, secret.manifest])
        assert "key-0123456789" not in json.dumps([secret.values, secret.manifest])

    # Again: nothing is written, and the password stays.
    before = here.sandbox.audit_log.stat().st_size
    again = engine.run(steps(choices()), here)
    assert {result.outcome for result in again} == {"unchanged"}
    ours = [
        w for w in writes(here.sandbox.audit_log, after=before) if w.agent.startswith(("capi-llm", "Helm"))
    ]
    assert ours == []
    assert password(api) == made

    # On the command line: what is there is kept, what nobody brings is waited for and named.
    argv = ["--plane", "existing", "--name", "there", "--kubeconfig", here.identity.kubeconfig]
    argv += ["--context", here.identity.context, "--expose", "ngrok", "--hostname", HOST]
    argv += ["--charts", here.settings.charts]
    plan = cli(here, *argv, "--rancher-version", ROW.rancher, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    rows = {line.split()[0]: line.split()[1:] for line in plan.stdout.splitlines()}
    assert rows["rancher"][0] == ROW.rancher
    waits = cli(here, *argv, "--rancher-version", "v2.13.7", "--timeout", "3s")
    assert waits.returncode == 4, waits.stderr
    assert "cluster-classes is not ready after 3 s: waits for the kind" in waits.stderr
    plan = cli(here, "--name", "there", "--upgrade", "--rancher-version", ROW.rancher)
    assert (plan.returncode, plan.stdout) == (2, "")
    assert "this needs a confirmation" in plan.stderr
    assert ROW.rancher in plan.stderr
    back = cli(here, "--name", "there", "--rancher-version", ROW.rancher)
    assert "was made with other choices; nothing was changed" in back.stderr
    assert made.reveal() not in waits.stderr + plan.stderr


def cli(here: Context, *argv: str) -> subprocess.CompletedProcess[str]:
    """``capi-llm bootstrap`` as a person runs it."""
    settings = here.settings
    env = {
        **os.environ,
        "CAPI_LLM_STATE": str(settings.state / "second"),
        "CAPI_LLM_CACHE": str(settings.cache),
        "NGROK_API_KEY": "key-0123456789",
        "NGROK_AUTHTOKEN": "token-0123456789",
    }
    command = [sys.executable, "-m", "capi_llm", "bootstrap", *argv]
    return subprocess.run(command, env=env, text=True, capture_output=True)


def _check_providers(api: Api) -> None:
    found = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["spec"]
        for obj in api.list(CAPI_PROVIDERS)
    }
    kubeadm = {"name": "kubeadm", "version": "v1.10.6"}
    assert found == {
        ("cattle-capi-system", "cluster-api"): {"name": "cluster-api", "type": "core"},
        ("capi-kubeadm-bootstrap-system", "kubeadm-bootstrap"): kubeadm | {"type": "bootstrap"},
        ("capi-kubeadm-control-plane-system", "kubeadm-control-plane"): kubeadm | {"type": "controlPlane"},
        ("capd-system", "docker"): {"name": "docker", "type": "infrastructure", "version": "v1.10.6"},
        ("fleet-addon-system", "fleet"): {
            "name": "rancher-fleet",
            "type": "addon",
            "version": "v0.12.0",
            "additionalManifests": {"name": "fleet-addon-config", "namespace": "fleet-addon-system"},
        },
    }
    config = api.get(Ref(CONFIGMAPS, "fleet-addon-config", "fleet-addon-system"))
    assert "install" not in config["data"]["manifests"]
    assert "kind: FleetAddonConfig" in config["data"]["manifests"]


def test_without_anybody_behind_it_each_wait_ends_and_names_what_it_waits_for(here: Context) -> None:
    """As on any cluster where pods only seem to run: Rancher's chart is there, and nothing follows."""
    api = here.api()
    with pytest.raises(StepFailed) as alone:
        engine.run(steps(choices("docker", cluster="llm"), "rancher-settings", "rancher-webhook"), here)
    assert alone.value.exit_code == 4
    assert "Setting server-url: Rancher has not made it yet" in alone.value.why
    assert "Deployment cattle-system/rancher-webhook is not there yet" in alone.value.why
    # The chart itself is there, and of it what this exposure asks for.
    assert values(api, "cattle-system", "rancher") == {
        "hostname": "llm-control-plane",
        "replicas": 1,
        "tls": "external",
        "privateCA": True,
        "agentTLSMode": "strict",
        "ingress": {"enabled": False},
        "startupProbe": {"failureThreshold": 60},
    }
    service = api.get(Ref(SERVICES, "rancher-in-docker", "cattle-system"))
    (port,) = service["spec"]["ports"]
    assert (port["targetPort"], port["nodePort"]) == (443, 30443)
    authority = base64.b64decode(api.get(Ref(SECRETS, "tls-rancher", "cattle-system"))["data"]["tls.crt"])
    told = base64.b64decode(api.get(Ref(SECRETS, "tls-ca", "cattle-system"))["data"]["cacerts.pem"])
    assert authority == told
    deployment = api.get(Ref(DEPLOYMENTS, "rancher", "cattle-system"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--no-cacerts" not in container["args"]

    # Rancher comes, and everything after it but Turtles: that is what is named then.
    rancher = Rancher(api)
    with rancher.playing("turtles", "providers"), pytest.raises(CapiLlmError) as caught:
        engine.run(steps(choices("docker", cluster="llm"), "turtles"), here)
    assert "rancher-turtles-controller-manager is not there yet" in str(caught.value)
    assert setting(api, "server-url") == "https://llm-control-plane:30443"
    assert setting(api, "agent-tls-mode") == "strict"
    # Then Turtles without the operator's work: every provider waits, and says so.
    with rancher.playing("providers"), pytest.raises(CapiLlmError) as caught:
        engine.run(steps(choices("docker", cluster="llm"), "cluster-api", *PROVIDERS), here)
    assert caught.value.exit_code == 4
    assert "Turtles has not seen it yet" in str(caught.value)
    with rancher.playing():
        engine.run(steps(choices("docker", cluster="llm")), here)
    _check_providers(api)


def test_an_ingress_brings_cert_manager(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capi_llm.steps.address.resolves", lambda host: True)
    api = here.api()
    with Rancher(api).playing():
        engine.run(steps(choices("ingress", ingress_class="nginx")), here)
    assert values(api, "cert-manager", "cert-manager") == {"crds": {"enabled": True, "keep": True}}
    assert values(api, "cattle-system", "rancher")["ingress"] == {
        "enabled": True,
        "ingressClassName": "nginx",
        "tls": {"source": "rancher"},
    }
    assert api.get(Ref(INGRESSES, "rancher", "cattle-system"))["spec"]["ingressClassName"] == "nginx"
    assert setting(api, "agent-tls-mode") == "strict"

    # All of it goes again, last first; what Rancher is known by stays where it was not ours.
    engine.remove(steps(choices("ingress", ingress_class="nginx")), here)
    assert api.find(Ref(DEPLOYMENTS, "rancher", "cattle-system")) is None
    assert api.find(Ref(DEPLOYMENTS, "cert-manager", "cert-manager")) is None
    assert [obj["metadata"]["name"] for obj in api.list(CAPI_PROVIDERS)] == ["cluster-api"]


def test_fleet_alone_is_told_where_its_agents_call(here: Context) -> None:
    found = recipe.fleet(Choices(delivery="fleet"), needs=())
    engine.run(found, here)
    told = values(here.api(), "cattle-fleet-system", "fleet")
    assert told["apiServerURL"] == here.api().server
    assert "BEGIN CERTIFICATE" in told["apiServerCA"]
    assert {result.outcome for result in engine.run(found, here)} == {"unchanged"}
    engine.remove(found, here)
    assert here.api().find(Ref(DEPLOYMENTS, "fleet-controller", "cattle-fleet-system")) is None
