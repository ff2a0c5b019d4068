"""What goes together, how Rancher is exposed, and what is refused: pure, one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from capi_llm import compatibility, versions
from capi_llm.contract import helm as contract
from capi_llm.errors import BadInput, CapiLlmError, Refused, Unavailable
from capi_llm.identity import Identity
from capi_llm.kube.resources import DEPLOYMENTS, Ref
from capi_llm.plane import recipes
from capi_llm.steps import chart_failures, charts, exposure, found, there
from capi_llm.steps.charts import Repositories
from capi_llm.steps.choices import Choices, upgraded
from capi_llm.steps.found import Installed
from capi_llm.steps.turtles import providers

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"
HOST = "rancher.example.com"


def test_the_page_has_the_table() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")) for line in lines]
    rows = [cell for cell in cells if not re.fullmatch(r"-+", cell[0])]
    assert rows[: len(compatibility.as_rows())] == compatibility.as_rows()


@pytest.mark.parametrize(
    ("asked", "near", "word"),
    [
        ("v2.12.3", "v2.13.0", "Turtles is a chart of its own"),
        ("2.13.9", "v2.13.8", "has not been tried"),
        ("v2.14.0", "v2.13.8", "Cluster API 1.12"),
        ("2.14.4", "v2.13.8", "makes the Fleet Clusters itself"),
        ("v2.15.0", "v2.13.8", "Cluster API 1.13"),
        ("v2.13.8-rc1", "v2.13.7", "has not been tried"),
        ("v3.0.0", "v2.13.8", "has not been tried"),
    ],
)
def test_a_rancher_that_is_not_in_the_table(asked: str, near: str, word: str) -> None:
    with pytest.raises(BadInput, match="is not supported") as caught:
        compatibility.row(asked)
    assert (caught.value.exit_code, caught.value.fix) == (2, f"use {near}")
    assert word in caught.value.why


def test_what_is_no_version() -> None:
    with pytest.raises(BadInput, match="is not a version of Rancher"):
        compatibility.row("latest")


@pytest.mark.parametrize("row", compatibility.ROWS, ids=lambda row: row.rancher)
def test_each_row_is_one_line_of_cluster_api_and_has_a_plan(row: compatibility.Row) -> None:
    assert {versions.parse(text)[:2] for text in (row.core, row.kubeadm, row.docker)} == {(1, 10)}
    assert versions.parse(row.turtles)[:2] == (0, 25)
    assert versions.parse(row.fleet)[:2] == (0, 14)
    compatibility.check_management(row, versions.NODE_KUBERNETES)
    low, high = row.management
    for kubernetes in (f"v1.{low - 1}.9", f"v1.{high + 1}.0"):
        with pytest.raises(Refused, match="is not supported"):
            compatibility.check_management(row, kubernetes)
    chosen = Choices(rancher=row.rancher, expose="docker", delivery="fleet", cluster="llm")
    identity = Identity("p", "existing", "/k", "c", choices=chosen.as_mapping())
    plan = {step.name: step.version for step in recipes.of(identity)}
    assert plan["rancher"] == row.rancher
    assert (plan["turtles"], plan["fleet"], plan["cluster-api"]) == (row.turtles, row.fleet, row.core)
    assert (plan["capi-bootstrap"], plan["capi-fleet-addon"]) == (row.kubeadm, row.addon)
    assert [each.kind for each in providers(row)].count("core") == 0


def test_the_plan_without_rancher() -> None:
    chosen = Choices(delivery="fleet", webhook_certs="cert-manager")
    identity = Identity("p", "existing", "/k", "c", choices=chosen.as_mapping())
    plan = {step.name: step.version for step in recipes.of(identity)}
    assert (plan["fleet"], plan["cert-manager"]) == (versions.FLEET, versions.CERT_MANAGER)
    assert "rancher" not in plan
    alone = {
        step.name for step in recipes.of(Identity("p", "existing", "/k", "c", choices=Choices().as_mapping()))
    }
    assert not alone & {"fleet", "cert-manager", "rancher"}


def test_what_an_upgrade_takes() -> None:
    assert compatibility.step_towards("v2.13.0", "v2.13.8").rancher == "v2.13.8"
    with pytest.raises(Refused, match=r"v2.13.8 is not taken back to v2.13.7"):
        compatibility.step_towards("v2.13.8", "v2.13.7")
    with pytest.raises(BadInput, match="not supported"):
        compatibility.step_towards("v2.13.8", "v2.14.1")


def test_an_upgrade_changes_the_recorded_rancher_and_nothing_else(tmp_path: Path) -> None:
    from capi_llm.settings import load

    chosen = Choices(rancher="v2.13.0", hostname=HOST, expose="ngrok", delivery="fleet")
    identity = Identity("p", "existing", "/k", "c", choices=chosen.as_mapping())
    environ = {"CAPI_LLM_STATE": str(tmp_path), "HOME": str(tmp_path)}
    said = load(environ=environ, flags={"rancher.version": ("--rancher-version", "2.13.8")})
    assert Choices.of(upgraded(identity, said)).rancher == "v2.13.8"
    assert upgraded(identity, load(environ=environ, flags={})) == identity


EXPOSURES: dict[str, tuple[exposure.Exposure, dict[str, Any]]] = {
    "ngrok": (exposure.of("ngrok", HOST), {"tls": "external", "ingress": {"enabled": False}}),
    "docker": (exposure.of("docker", "", node="llm-control-plane"), {"tls": "external", "privateCA": True}),
    "loadbalancer": (exposure.of("loadbalancer", HOST), {"tls": "external", "privateCA": True}),
    "ingress": (exposure.of("ingress", HOST, ingress_class="nginx"), {"tls": "ingress"}),
    "certificate": (
        exposure.of("ingress", HOST, certificate="mine"),
        {"ingress": {"enabled": True, "tls": {"source": "secret", "secretName": "mine"}}},
    ),
}


@pytest.mark.parametrize("name", EXPOSURES)
def test_an_exposure_never_fails_every_import(name: str) -> None:
    """Rancher clears cacerts unless it has an authority to tell: strict agents need one."""
    way, part = EXPOSURES[name]
    values = charts.rancher(Repositories(), compatibility.NEWEST, way).values
    assert {key: values[key] for key in part} == part
    own = bool(values.get("privateCA")) or (
        values["tls"] == "ingress" and values["ingress"]["tls"]["source"] == "rancher"
    )
    assert values["agentTLSMode"] == ("strict" if own else "system-store")
    assert way.settings()["agent-tls-mode"] == values["agentTLSMode"]
    assert way.settings()["server-url"].startswith("https://")
    assert "bootstrapPassword" not in values
    assert values["replicas"] == 1
    # The chart renders an Issuer only so.
    assert way.cert_manager == (values["tls"] == "ingress" and values["ingress"]["tls"]["source"] != "secret")


def test_where_agents_reach_rancher() -> None:
    docker = EXPOSURES["docker"][0]
    assert docker.url == "https://llm-control-plane:30443"
    (service,) = docker.objects()
    assert service["spec"]["ports"][0]["targetPort"] == 443, "at 444 it has another certificate"
    assert EXPOSURES["ingress"][0].objects() == []


@pytest.mark.parametrize(
    ("kind", "given", "word"),
    [
        ("docker", {}, "is for planes of kind `kind`"),
        ("ngrok", {}, "needs Rancher's host name"),
        ("ingress", {}, "needs Rancher's host name"),
        ("", {"hostname": HOST}, "nothing says how Rancher is to be reached"),
        ("ngrock", {"hostname": HOST}, "did you mean|ngrok"),
    ],
)
def test_an_exposure_that_says_too_little(kind: str, given: dict[str, str], word: str) -> None:
    with pytest.raises(BadInput, match=word) as caught:
        exposure.of(kind, given.get("hostname", ""))
    assert caught.value.exit_code == 2


def installed(what: str, version: str, owner: str, namespace: str = "x", *, runs: bool = True) -> Installed:
    return Installed(what, Ref(DEPLOYMENTS, "d", namespace), version, owner, runs)


CTL = "of clusterctl"
CAPI = [found.CORE, found.KUBEADM_BOOTSTRAP, found.KUBEADM_CONTROL_PLANE]


@pytest.mark.parametrize(
    ("rancher", "things", "word"),
    [
        (True, [(found.CORE, "v1.10.7", CTL)], "Cluster API core v1.10.7 is there without Turtles"),
        (True, [(found.RANCHER, "v2.12.1", "")], "Rancher v2.12.1 is there and can not be used"),
        (True, [(found.FLEET, "v0.14.1", "of Helm release cattle-fleet-system/fleet")], "without Rancher"),
        (True, [(found.RANCHER, "v2.13.8", ""), (found.RANCHER, "v2.13.8", "")], "is there 2 times"),
        (False, [(found.RANCHER, "v2.13.8", "")], "Rancher is there"),
        (False, [(found.CORE, "", "left behind")], "nobody who works on them"),
        (False, [(found.CORE, "v1.10.7", CTL)], "is there in part"),
        (False, [(what, "v1.12.3", CTL) for what in CAPI], "core v1.12.3 is there and can not be used"),
        (False, [(what, f"v1.10.{n}", CTL) for n, what in enumerate(CAPI)], "of different versions"),
    ],
)
def test_what_is_there_and_can_not_stay_so(rancher: bool, things: list[Any], word: str) -> None:
    row = compatibility.NEWEST if rancher else compatibility.WITHOUT_RANCHER
    here: dict[str, list[Installed]] = {}
    for what, version, owner in things:
        here.setdefault(what, []).append(installed(what, version, owner, runs=bool(version)))
    with pytest.raises(Refused, match=word) as caught:
        there.check(row, here)
    assert caught.value.fix
    assert caught.value.exit_code == 1


def test_what_is_there_and_is_used() -> None:
    there.check(compatibility.NEWEST, {})
    adopted = [(found.RANCHER, "v2.13.8"), (found.FLEET, "v0.14.9"), (found.CORE, "v1.10.6")]
    here = {what: [installed(what, version, "of somebody")] for what, version in adopted}
    here[found.TURTLES] = [installed(found.TURTLES, "v0.25.6", "", "cattle-turtles-system")]
    there.check(compatibility.NEWEST, here)
    there.check(compatibility.WITHOUT_RANCHER, {what: [installed(what, "v1.10.4", CTL)] for what in CAPI})
    elsewhere = {found.TURTLES: [installed(found.TURTLES, "v0.24.3", "", "rancher-turtles-system")]}
    with pytest.raises(Refused, match="Turtles is there as a chart of its own"):
        there.check(compatibility.NEWEST, here | elsewhere)


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        (
            {"annotations": {"meta.helm.sh/release-name": "r", "meta.helm.sh/release-namespace": "n"}},
            "of Helm release n/r",
        ),
        ({"ownerReferences": [{"kind": "CAPIProvider", "name": "core"}]}, "so of Turtles"),
        (
            {
                "ownerReferences": [
                    {"kind": "CoreProvider", "name": "c", "apiVersion": "operator.cluster.x-k8s.io/v1alpha2"}
                ]
            },
            "so of the Cluster API operator",
        ),
        ({"managedFields": [{"manager": "capi-llm", "operation": "Apply"}]}, "of capi-llm"),
        ({"labels": {"clusterctl.cluster.x-k8s.io": ""}}, "of clusterctl's manifests"),
        ({}, ""),
    ],
)
def test_who_owns_a_deployment(metadata: dict[str, Any], word: str) -> None:
    obj = {"metadata": {"name": "capi-controller-manager", "namespace": "capi-system", **metadata}}
    assert word in found.owner(obj, found.CORE, {})
    assert found.owner({"metadata": {}}, found.CORE, {"cluster-api": {}}) == "of clusterctl"


def test_what_helm_says_and_what_it_means() -> None:
    cases = {
        'Error: INSTALLATION FAILED: Unable to continue: ClusterRole "x" in namespace "" exists and '
        "cannot be imported into the current release: invalid ownership metadata": (Refused, 1),
        "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress": (Refused, 1),
        'Error: Get "https://127.0.0.1:1/version": dial tcp: connection refused': (Unavailable, 1),
        'Error: Internal error occurred: failed calling webhook "webhook.cert-manager.io": no endpoints': (
            Unavailable,
            1,
        ),
        "Error: something new": (CapiLlmError, 1),
    }
    for text, (kind, code) in cases.items():
        error = chart_failures.of(text, text.removeprefix("Error: "), what="x 1", on="y")
        assert isinstance(error, kind)
        assert error.exit_code == code
        assert error.fix


def test_a_secret_that_is_no_release() -> None:
    assert contract.release({"type": "Opaque"}) is None
    assert contract.release({"type": contract.TYPE, "data": {"release": "bm90aGluZw=="}}) is None
