"""Single waits of the recipe on a real API server: what each says while others have not done their part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from standin_charts import deployment
from standin_rancher import condition, namespace, objects, rancher_kinds, upstream_kinds

from capi_llm.compatibility import row
from capi_llm.errors import CapiLlmError, PrerequisiteMissing, Refused, TimedOut
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import DEPLOYMENTS, NAMESPACES, SERVICES, Object, Ref, Resource
from capi_llm.settings.secret import Secret
from capi_llm.steps import engine
from capi_llm.steps.address import RancherAddress
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.exposure import LoadBalancer, Ngrok
from capi_llm.steps.ngrok import AGENT_ENDPOINTS, DOMAINS, OPERATORS, NgrokCredentials, NgrokServes
from capi_llm.steps.objects import Objects
from capi_llm.steps.rancher import FEATURES, TurtlesRuns
from capi_llm.steps.turtles import CAPI_PROVIDERS, CORE, CapiProvider, CoreProvider, providers

HOST = "rancher.example.com"
ROW = row("v2.13.8")


def wait(step: Step, ctx: Context, seconds: float = 1.0) -> None:
    step.timeout, step.interval, step.needs = seconds, 0.1, ()
    engine.run((step,), ctx)


def said(step: Step, ctx: Context) -> Any:
    step.needs = ()
    return engine.probe_all((step,), ctx)[0].status


@pytest.fixture
def cattle(api: Api) -> Iterator[str]:
    """The namespace cattle-system, as it is after the test."""
    apply(api, [namespace("cattle-system"), namespace("ngrok-operator")], manager="test")
    yield "cattle-system"
    for kind in (SERVICES, DEPLOYMENTS):
        for obj in api.list(kind, "cattle-system"):
            api.delete(kind.ref(obj))


def test_an_address_that_is_not_given_and_a_name_that_does_not_resolve(
    ctx: Context, api: Api, cattle: str
) -> None:
    exposure = LoadBalancer("rancher.invalid")
    wait(Objects("exposed", exposure.objects()), ctx, 10)
    with pytest.raises(TimedOut, match="rancher-balanced has no address yet") as no:
        wait(RancherAddress(exposure), ctx)
    assert (no.value.exit_code, "MetalLB" in no.value.fix) == (4, True)
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    api.merge_patch(Ref(SERVICES, "rancher-balanced", cattle), {"status": status}, subresource="status")
    with pytest.raises(TimedOut, match=r"rancher\.invalid does not resolve") as unknown:
        wait(RancherAddress(exposure), ctx)
    assert "make a DNS entry rancher.invalid to 192.0.2.7" in unknown.value.fix
    assert said(RancherAddress(replace(exposure, hostname="localhost")), ctx).ready


def test_half_of_ngroks_credentials_are_found_before_anything_is_touched(ctx: Context) -> None:
    for key, token, absent in (
        ("key-01234567", "", "NGROK_AUTHTOKEN"),
        ("", "", "NGROK_API_KEY and NGROK_AUTH"),
    ):
        given = {
            "ngrok_api_key": Secret(key) if key else None,
            "ngrok_authtoken": Secret(token) if token else None,
        }
        half = replace(ctx, settings=replace(ctx.settings, **given))
        with pytest.raises(PrerequisiteMissing, match=f"ngrok needs {absent}") as caught:
            engine.preflight((NgrokCredentials(),), half)
        assert (caught.value.exit_code, "--expose docker" in caught.value.fix) == (3, True)


def test_ngrok_that_pretends_refuses_or_serves_somebody_else(ctx: Context, api: Api, cattle: str) -> None:
    apply(api, upstream_kinds("ngrok"), manager="test")
    step = NgrokServes(Ngrok(HOST))
    with pytest.raises(TimedOut, match="has not registered itself at ngrok") as demo:
        wait(step, ctx)
    assert "demo mode" in demo.value.why

    operator = {"metadata": {"name": "op", "namespace": "ngrok-operator"}, "spec": {}}
    api.create(OPERATORS, operator)
    try:
        word = "HTTP 401: invalid credentials ERR_NGROK_206"
        _status(api, OPERATORS, operator, condition("Registered", "False", "RegistrationFailed", word))
        with pytest.raises(CapiLlmError, match="the API key is not one of ngrok's"):
            wait(step, ctx)
        _status(api, OPERATORS, operator, condition("Registered"))
        assert "there is no Domain for rancher.example.com yet" in said(step, ctx).message
        domain = {"metadata": {"name": "d", "namespace": cattle}, "spec": {"domain": HOST}}
        api.create(DOMAINS, domain)
        _status(api, DOMAINS, domain, condition("Ready", "False", "WaitingForCertificate", "still waiting"))
        assert said(step, ctx).message == "the domain is not ready: still waiting"
        _status(api, DOMAINS, domain, condition("Ready"))
        endpoint = {
            "metadata": {"name": "e", "namespace": cattle},
            "spec": {"url": f"https://{HOST}", "upstream": {"url": "http://rancher.cattle-system:80"}},
        }
        api.create(AGENT_ENDPOINTS, endpoint)
        taken = "The endpoint is already online. ERR_NGROK_18016"
        _status(api, AGENT_ENDPOINTS, endpoint, condition("Ready", "False", "NgrokAPIError", taken))
        with pytest.raises(CapiLlmError, match="online elsewhere") as caught:
            wait(step, ctx)
        assert "dashboard.ngrok.com/endpoints" in caught.value.fix
        _status(api, AGENT_ENDPOINTS, endpoint, condition("Ready"))
        assert said(step, ctx).ready
    finally:
        api.delete(OPERATORS.ref(operator))


def _status(api: Api, kind: Resource, obj: Object, *conditions: Object) -> None:
    api.merge_patch(kind.ref(obj), {"status": {"conditions": list(conditions)}}, subresource="status")


def test_turtles_that_is_switched_off_or_shut_out(ctx: Context, api: Api) -> None:
    apply(api, rancher_kinds(), manager="test")
    step = TurtlesRuns("v0.25.6")
    assert "rancher-turtles-controller-manager is not there yet" in said(step, ctx).message
    api.create(FEATURES, {"metadata": {"name": "turtles"}, "spec": {"value": False}})
    try:
        with pytest.raises(Refused, match="Turtles is switched off in Rancher"):
            wait(step, ctx)
    finally:
        api.delete(Ref(FEATURES, "turtles"))
    api.create(FEATURES, {"metadata": {"name": "embedded-cluster-api"}, "spec": {"value": True}})
    try:
        with pytest.raises(Refused, match="embedded Cluster API is switched on"):
            wait(step, ctx)
    finally:
        api.delete(Ref(FEATURES, "embedded-cluster-api"))
    api.create(NAMESPACES, {"metadata": {"name": "cattle-provisioning-capi-system"}})
    try:
        with pytest.raises(TimedOut, match="waits for namespace cattle-provisioning-capi-system"):
            wait(step, ctx)
    finally:
        api.delete(Ref(NAMESPACES, "cattle-provisioning-capi-system"))


@pytest.fixture
def turtles(api: Api) -> Iterator[Api]:
    apply(api, upstream_kinds("turtles"), manager="test")
    apply(api, [namespace("cattle-capi-system"), namespace("elsewhere")], manager="test")
    yield api
    for obj in api.list(CAPI_PROVIDERS):
        api.delete(CAPI_PROVIDERS.ref(obj))


def provider(own: str, where: str, /, **spec: Any) -> Object:
    return {
        "apiVersion": CAPI_PROVIDERS.api_version,
        "kind": "CAPIProvider",
        "metadata": {"name": own, "namespace": where},
        "spec": spec,
    }


def test_a_second_core_provider_is_never_made_and_is_named(ctx: Context, turtles: Api) -> None:
    core = CoreProvider(ROW)
    assert "CAPIProvider cattle-capi-system/cluster-api is not there yet" in said(core, ctx).message
    with pytest.raises(TimedOut, match="Turtles' chart makes it"):
        wait(core, ctx)
    assert turtles.list(CAPI_PROVIDERS) == []
    turtles.create(CAPI_PROVIDERS, provider("mine", "elsewhere", name="cluster-api", type="core"))
    with pytest.raises(Refused, match=r"a second core provider .*elsewhere/mine"):
        wait(core, ctx)


def test_a_provider_is_pinned_made_once_and_kept(ctx: Context, turtles: Api) -> None:
    (docker,) = [each for each in providers(ROW) if each.name == "docker"]
    step = CapiProvider(docker)
    with pytest.raises(TimedOut, match="Turtles has not seen it yet"):
        wait(step, ctx)
    (made,) = turtles.list(CAPI_PROVIDERS)
    assert made["spec"]["version"] == "v1.10.6"

    phase = {"phase": "Failed", "observedGeneration": 1}
    core = condition(
        "PreflightCheckPassed", "False", "WaitingForCoreProviderReady", "waiting for the core provider"
    )
    turtles.merge_patch(docker.ref, {"status": phase | {"conditions": [core]}}, subresource="status")
    assert said(step, ctx).message == "waits for the core provider", "its phase Failed means nothing yet"
    fetch = condition("ProviderInstalled", "False", "ComponentsFetchError", "rate limit exceeded")
    good = condition("PreflightCheckPassed")
    turtles.merge_patch(docker.ref, {"status": phase | {"conditions": [good, fetch]}}, subresource="status")
    with pytest.raises(TimedOut, match="its manifests can not be had: rate limit exceeded") as caught:
        wait(step, ctx)
    assert "GITHUB_TOKEN" in caught.value.fix

    # Installed, and its Deployment is not there: not ready, whatever the phase says.
    ready = [good, condition("ProviderInstalled"), condition("Ready")]
    turtles.merge_patch(docker.ref, {"status": {"phase": "Ready", "conditions": ready}}, subresource="status")
    assert "Deployment capd-system/capd-controller-manager is not there yet" in said(step, ctx).message
    apply(
        turtles, objects(deployment("capd-controller-manager", "x", namespace="capd-system")), manager="test"
    )
    wait(step, ctx, 20)

    # An older one is left without the word, and a newer one always.
    newer = CapiProvider(replace(docker, version="v1.10.7"))
    assert "v1.10.6; this capi-llm's is v1.10.7" in said(newer, ctx).message
    older = CapiProvider(replace(docker, version="v1.10.5"), upgrade=True)
    assert said(older, ctx).ready
    upgrade = CapiProvider(replace(docker, version="v1.10.7"), upgrade=True)
    assert said(upgrade, ctx).message == "v1.10.6 is to become v1.10.7"
    turtles.delete(docker.ref)
    turtles.create(CAPI_PROVIDERS, provider("capd", "elsewhere", name="docker", type="infrastructure"))
    with pytest.raises(Refused, match=r"docker \(infrastructure\) is there .*elsewhere/capd"):
        wait(step, ctx)


def test_the_core_provider_has_to_be_the_one_of_the_table(ctx: Context, turtles: Api) -> None:
    turtles.create(CAPI_PROVIDERS, provider(CORE.name, "cattle-capi-system", name="cluster-api", type="core"))
    conditions = [condition("PreflightCheckPassed"), condition("ProviderInstalled"), condition("Ready")]
    status = {"phase": "Ready", "installedVersion": "v1.12.7", "conditions": conditions}
    turtles.merge_patch(CORE, {"status": status}, subresource="status")
    text = deployment("capi-controller-manager", "x", namespace="cattle-capi-system")
    apply(turtles, objects(text), manager="test")
    with pytest.raises(TimedOut, match=r"is of version v1\.12\.7, and v1\.10\.6 is what this Rancher ships"):
        wait(CoreProvider(ROW), ctx, 30)
