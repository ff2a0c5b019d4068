"""Providers that the settings add, as CAPIProvider objects on a real API server with Turtles' own kinds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from standin_rancher import installed, upstream_kinds

from capi_llm import plane
from capi_llm.errors import BadInput, CapiLlmError, PrerequisiteMissing, StepFailed, TimedOut
from capi_llm.identity import Identity
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CAPI_PROVIDERS, NAMESPACES, SECRETS, Ref
from capi_llm.plane import recipes
from capi_llm.settings import Provider, Secret
from capi_llm.steps import engine, providers
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context

URL = "https://github.com/acme/capi-acme/releases/v1.0.3/infrastructure-components.yaml"
WORD = "hunter2hunter2"
HETZNER = Provider("hetzner", "v1.0.3", namespace="caph", secret="hetzner", environment=("HCLOUD_TOKEN",))
ACME = Provider("acme", "v0.2.0", namespace="acme-system", components=URL)
K3S = Provider("k3s", "v0.3.0", type="bootstrap", namespace="acme-system")


@pytest.fixture
def turtles(api: Api) -> Iterator[Api]:
    """Turtles' kinds, and no Turtles."""
    apply(api, upstream_kinds("turtles"), manager="test")
    yield api
    for obj in api.list(CAPI_PROVIDERS):
        api.delete(CAPI_PROVIDERS.ref(obj))
    for name in ("caph", "acme-system"):
        if api.find(Ref(SECRETS, "hetzner", name)):
            api.delete(Ref(SECRETS, "hetzner", name))


def steps(*wanted: Provider, upgrade: bool = False) -> engine.Recipe:
    found = providers.with_rancher(wanted, needs=(), upgrade=upgrade)
    for step in found:
        step.timeout, step.interval = 2.0, 0.1
    return found


def said(recipe: engine.Recipe, ctx: Context) -> dict[str, str]:
    return {step.step: step.status.message for step in engine.probe_all(recipe, ctx)}


def given(ctx: Context, **variables: str) -> Context:
    secrets = {name: Secret(value) for name, value in variables.items()}
    return replace(ctx, settings=replace(ctx.settings, provider_environment=secrets))


def install(api: Api, provider: Provider) -> None:
    """Simulated: what Turtles does."""
    for obj in api.list(CAPI_PROVIDERS):
        if obj["spec"]["name"] == provider.name:
            status = {"status": installed(obj, provider.version)}
            api.merge_patch(CAPI_PROVIDERS.ref(obj), status, subresource="status")


def test_each_is_made_pinned_with_its_secret_and_not_again(ctx: Context, turtles: Api) -> None:
    here = given(ctx, HCLOUD_TOKEN=WORD)
    recipe = steps(HETZNER, ACME, K3S)
    assert said(recipe, here)["provider-secrets"] == "HCLOUD_TOKEN to be written to Secret caph/hetzner"
    with pytest.raises(StepFailed, match="3 steps failed") as nobody:
        engine.run(recipe, here)
    assert nobody.value.exit_code == 4
    assert "Turtles has not seen it yet" in nobody.value.why
    secret = turtles.get(Ref(SECRETS, "hetzner", "caph"))
    assert base64.b64decode(secret["data"]["HCLOUD_TOKEN"]).decode() == WORD
    made = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["spec"]
        for obj in turtles.list(CAPI_PROVIDERS)
    }
    assert made == {
        ("caph", "hetzner"): {
            "name": "hetzner",
            "type": "infrastructure",
            "version": "v1.0.3",
            "configSecret": {"name": "hetzner"},
        },
        ("acme-system", "acme"): {
            "name": "acme",
            "type": "infrastructure",
            "version": "v0.2.0",
            "fetchConfig": {"url": URL},
        },
        ("acme-system", "k3s-bootstrap"): {"name": "k3s", "type": "bootstrap", "version": "v0.3.0"},
    }
    assert WORD not in json.dumps([*made.values(), nobody.value.why, said(recipe, here)])

    for one in (HETZNER, ACME, K3S):
        install(turtles, one)
    before = _versions(turtles)
    assert {result.outcome for result in engine.run(recipe, here)} == {"unchanged"}
    # The value is in the plane: it need not be given again.
    assert {result.outcome for result in engine.run(recipe, given(ctx))} == {"unchanged"}
    assert _versions(turtles) == before

    # Another version waits for the word, an older one is never taken.
    newer, older = replace(ACME, version="v0.3.0"), replace(ACME, version="v0.1.0")
    assert said(steps(newer), here) == {"provider-acme": "v0.2.0; the settings say v0.3.0"}
    assert said(steps(older, upgrade=True), here) == {"provider-acme": "v0.2.0; the settings say v0.1.0"}
    assert said(steps(newer, upgrade=True), here) == {"provider-acme": "v0.2.0 is to become v0.3.0"}

    # Another value replaces the one that is there; keys of others stay.
    turtles.merge_patch(Ref(SECRETS, "hetzner", "caph"), {"stringData": {"CLUSTER_TOPOLOGY": "true"}})
    engine.run(steps(HETZNER)[:1], given(ctx, HCLOUD_TOKEN="another-word"))
    data = turtles.get(Ref(SECRETS, "hetzner", "caph"))["data"]
    assert {name: base64.b64decode(value).decode() for name, value in data.items()} == {
        "HCLOUD_TOKEN": "another-word",
        "CLUSTER_TOPOLOGY": "true",
    }


def _versions(api: Api) -> list[str]:
    found = [*api.list(CAPI_PROVIDERS), api.get(Ref(SECRETS, "hetzner", "caph"))]
    return [obj["metadata"]["resourceVersion"] for obj in found]


def test_what_a_secret_lacks_is_told(ctx: Context, turtles: Api) -> None:
    (secrets, _) = recipe = steps(HETZNER)
    new = replace(ctx.identity, uid="")
    here = given(ctx)
    try:
        here.plane.identity = new
        with pytest.raises(PrerequisiteMissing, match="nothing was changed") as before:
            engine.preflight(recipe, here)
        assert "needs HCLOUD_TOKEN for Secret caph/hetzner" in before.value.why
    finally:
        here.plane.identity = replace(new, uid=turtles.uid())
    with pytest.raises(CapiLlmError, match="has no HCLOUD_TOKEN") as absent:
        engine.run((secrets,), here)
    assert ".env" in absent.value.fix

    # One of the user's own: its namespace is made, then it is waited for.
    theirs = replace(HETZNER, environment=(), secret="theirs", namespace="theirs")
    with pytest.raises(TimedOut, match="Secret theirs/theirs is not there") as waited:
        engine.run(steps(theirs)[:1], here)
    assert "kubectl -n theirs create secret generic theirs --from-env-file" in waited.value.fix
    assert turtles.find(Ref(NAMESPACES, "theirs")) is not None
    turtles.create(SECRETS, {"metadata": {"name": "theirs", "namespace": "theirs"}})
    assert {result.outcome for result in engine.run(steps(theirs)[:1], here)} == {"unchanged"}


def test_the_recipe_has_them_after_the_core_provider(ctx: Context) -> None:
    chosen = Choices(rancher="v2.13.8", expose="docker", cluster="llm", delivery="fleet")
    identity = Identity("p", "kind", "/k", "c", choices=chosen.as_mapping())
    found = {step.name: step for step in recipes.of(identity, more=(HETZNER, ACME))}
    assert found["provider-secrets"].needs == ("cluster-api",)
    assert found["provider-hetzner"].needs == ("cluster-api", "provider-secrets")
    assert found["provider-acme"].version == "v0.2.0"
    assert "provider-hetzner" not in {step.name for step in recipes.of(identity)}
    engine.check(recipes.of(identity, more=(HETZNER, ACME)))
    local = replace(ACME, components="/acme.yaml")
    with pytest.raises(BadInput, match="are a file of this machine"):
        recipes.of(identity, more=(local,))
    sandbox = Identity("s", "sandbox", "/k", "c")
    assert recipes.of(sandbox, more=(HETZNER,)) == plane.SANDBOX
