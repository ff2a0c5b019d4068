"""Cluster API's manifests, changed so that they serve processes."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.errors import CapiLlmError
from capi_llm.sandbox.components import FILES, load, to_processes
from capi_llm.sandbox.parts import MANAGERS

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BUNDLE = base64.b64encode(PEM.encode()).decode()
USER = "capi-llm:capi-core"
INJECT = "cert-manager.io/inject-ca-from"


def changed(item: dict[str, Any]) -> dict[str, Any]:
    """The object after the change; what went in must be as it was."""
    before = copy.deepcopy(item)
    after = to_processes(item, 24111, PEM, USER)
    assert item == before
    assert after == to_processes(item, 24111, PEM, USER)
    return after


def service(path: str | None = "/convert") -> dict[str, Any]:
    found: dict[str, Any] = {"name": "capi-webhook-service", "namespace": "capi-system", "port": 443}
    return found if path is None else {**found, "path": path}


def definition(conversion: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "clusters.cluster.x-k8s.io",
            "annotations": {INJECT: "capi-system/cert", "keep": "me"},
        },
        "spec": {"group": "cluster.x-k8s.io", **({"conversion": conversion} if conversion else {})},
    }


def test_the_conversion_webhook_of_a_definition_points_at_the_process() -> None:
    after = changed(
        definition(
            {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": service()}},
            }
        )
    )
    assert after["spec"]["conversion"] == {
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:24111/convert", "caBundle": BUNDLE},
        },
    }
    assert after["metadata"]["annotations"] == {"keep": "me"}


@pytest.mark.parametrize("conversion", [None, {"strategy": "None"}])
def test_a_definition_without_a_conversion_webhook_stays(conversion: dict[str, Any] | None) -> None:
    item = definition(conversion)
    assert changed(item)["spec"] == item["spec"]


@pytest.mark.parametrize("kind", ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
def test_every_webhook_of_a_configuration_points_at_the_process(kind: str) -> None:
    after = changed(
        {
            "kind": kind,
            "metadata": {"name": "capi", "annotations": {INJECT: "capi-system/cert"}},
            "webhooks": [
                {
                    "name": "a",
                    "failurePolicy": "Fail",
                    "clientConfig": {"service": service("/a"), "caBundle": "Cg=="},
                },
                {"name": "b", "clientConfig": {"service": service(None)}},
                {"name": "c", "clientConfig": {"url": "https://elsewhere.example/c", "caBundle": "eA=="}},
            ],
        }
    )
    assert "annotations" not in after["metadata"]
    assert after["webhooks"] == [
        {
            "name": "a",
            "failurePolicy": "Fail",
            "clientConfig": {"url": "https://127.0.0.1:24111/a", "caBundle": BUNDLE},
        },
        {"name": "b", "clientConfig": {"url": "https://127.0.0.1:24111/", "caBundle": BUNDLE}},
        {"name": "c", "clientConfig": {"url": "https://elsewhere.example/c", "caBundle": "eA=="}},
    ]


@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_who_is_bound_as_a_service_account_is_bound_as_the_certificates_user_too(kind: str) -> None:
    account = {"kind": "ServiceAccount", "name": "capi-manager", "namespace": "capi-system"}
    after = changed({"kind": kind, "metadata": {"name": "capi-manager"}, "subjects": [account]})
    assert after["subjects"] == [
        account,
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER},
    ]


@pytest.mark.parametrize("subjects", [None, [], [{"kind": "Group", "name": "system:authenticated"}]])
def test_a_binding_of_others_gives_the_manager_nothing(subjects: list[dict[str, str]] | None) -> None:
    item: dict[str, Any] = {"kind": "ClusterRoleBinding", "metadata": {"name": "x"}}
    if subjects is not None:
        item["subjects"] = subjects
    assert changed(item) == item


def test_the_rules_of_an_aggregated_role_are_not_ours_to_say() -> None:
    aggregation = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    after = changed(
        {"kind": "ClusterRole", "metadata": {"name": "x"}, "aggregationRule": aggregation, "rules": []}
    )
    assert after == {"kind": "ClusterRole", "metadata": {"name": "x"}, "aggregationRule": aggregation}
    plain = {"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": [{"verbs": ["get"]}]}
    assert changed(plain) == plain


def folder_with(tmp_path: Path, **texts: str) -> Path:
    for manager, file in FILES.items():
        (tmp_path / file).write_text(texts.get(manager.replace("-", "_"), ""))
    return tmp_path


PORTS = {f"{manager}-webhook": 24100 + number for number, manager in enumerate(MANAGERS)}


def test_what_stands_in_for_processes_is_left_out_and_the_rest_kept_in_order(tmp_path: Path) -> None:
    kinds = ("Namespace", "Service", "Deployment", "Certificate", "Issuer", "ServiceAccount")
    text = "---\n".join(yaml.safe_dump({"kind": kind, "metadata": {"name": kind.lower()}}) for kind in kinds)
    found = load(folder_with(tmp_path, capi_core=f"---\n{text}---\n\n---\n"), PORTS, PEM)
    assert [item["kind"] for item in found] == ["Namespace", "ServiceAccount"]


def test_each_managers_webhooks_get_its_own_port_and_its_bindings_its_own_user(tmp_path: Path) -> None:
    text = yaml.safe_dump_all(
        [
            {
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "a"},
                "webhooks": [{"name": "a", "clientConfig": {"service": service("/a")}}],
            },
            {
                "kind": "RoleBinding",
                "metadata": {"name": "b"},
                "subjects": [{"kind": "ServiceAccount", "name": "manager"}],
            },
        ]
    )
    folder = folder_with(tmp_path, **{manager.replace("-", "_"): text for manager in FILES})
    found = load(folder, PORTS, PEM)
    urls = [item["webhooks"][0]["clientConfig"]["url"] for item in found if "webhooks" in item]
    users = [item["subjects"][-1]["name"] for item in found if "subjects" in item]
    assert urls == [f"https://127.0.0.1:{port}/a" for port in PORTS.values()]
    assert users == [f"capi-llm:{manager}" for manager in FILES]
    assert set(FILES) == set(MANAGERS)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", None])
def test_manifests_that_can_not_be_read_are_told(tmp_path: Path, text: str | None) -> None:
    folder = folder_with(tmp_path)
    path = folder / FILES["capi-docker"]
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CapiLlmError, match="can not be read") as caught:
        load(folder, PORTS, PEM)
    assert caught.value.on == str(path)
    assert "prepare --verify" in caught.value.fix
