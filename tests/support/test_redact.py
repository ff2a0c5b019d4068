"""Secrets are taken out of text and objects; what only looks a little like one stays."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from capi_llm import secret_names
from capi_llm.secret_names import GONE
from capi_llm.support import objects
from capi_llm.support.redact import Redactor

PLANTED = "Pl4nted-Value"


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize(
    "name",
    [
        "password", "dbPassword", "PGPASSWORD", "passwd", "passphrase", "token", "apiToken", "api_token",
        "NGROK_AUTHTOKEN", "NGROK_API_KEY", "apiKey", "api-key", "APIKey", "client-key-data", "privateKey",
        "secret", "clientSecret", "bootstrapPassword", "certificateKey", "authorization", "HF_TOKEN",
        "aws_secret_access_key", "AWS_ACCESS_KEY", ".dockerconfigjson", "credentials", "tls.key", "cookie",
        "AUTH", "pwd", "tokens",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert secret_names.secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "secretName", "secretRef", "dataSecretName", "tokenTTL", "passwordFile", "max_tokens", "maxTokens",
        "key", "keys", "author", "name", "compass", "secretNamespace", "automountServiceAccountTokenPath",
        "tls.crt", "keyName", "monkey", "tokenExpiration", "secretKeyRef", "value", "", "prompt_tokens",
        "legacy_serviceaccount_token_cleaner.go",
    ],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not secret_names.secret(name)


@pytest.mark.parametrize(
    "text",
    [
        f"password={PLANTED}",
        f"password: {PLANTED}",
        f'password: "{PLANTED} and more {PLANTED}"',
        f"{{'apiKey': '{PLANTED}'}}",
        f'{{"clientSecret":"{PLANTED}","a":1}}',
        f'{{\\"token\\":\\"{PLANTED}\\",\\"b\\":1}}',
        f'{{\\\\\\"password\\\\\\":\\\\\\"{PLANTED}\\\\\\"}}',
        f"--api-token {PLANTED} --verbose",
        f"--api-token={PLANTED}",
        f"NGROK_AUTHTOKEN={PLANTED}",
        f"Authorization: Bearer {PLANTED}",
        f"authorization: basic {PLANTED}",
        f"http://me:{PLANTED}@proxy:3128/",
        f"https://{PLANTED}@github.com/a/b",
        f"curl -u me:{PLANTED} https://a",
        f"eyJhbGciOiJSUzI1NiJ9.{PLANTED}.abc-def",
        f"x\nsecret={PLANTED}\ny",
        f'tokenSecret="a\\"{PLANTED}"',
    ],
)
def test_text_loses_its_secrets(text: str) -> None:
    found = Redactor().text(text)
    assert PLANTED not in found
    assert GONE in found
    assert found.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "the token has expired",
        'secretName: "demo-ca"',
        "I1121 05:28:00 controller.go:42] Reconciled",
        "token_cleaner.go:104] Starting",
        "2026-11-21T05:28:00.123456Z",
        "https://127.0.0.1:24100/readyz",
        "password is not set",
        "max_tokens: 4096",
        "someone@example.org",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_keys_are_taken_out_in_every_form() -> None:
    key = pem()
    encoded = base64.b64encode(key.encode()).decode()
    body = key.splitlines()[1]
    for text in (
        key,
        f"a {key} b",
        json.dumps({"x": key}),
        f"tls.key: {encoded}",
        f"x {encoded} y",
        key[: len(key) // 2],
        base64.b64encode(
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + key).encode()
        ).decode(),
    ):
        found = Redactor().text(text)
        assert body not in found
        assert encoded[40:] not in found
    certificate = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
    assert Redactor().text(certificate) == certificate


def test_a_bootstrap_token_is_one_by_its_shape() -> None:
    assert Redactor().text("joining with abcdef.0123456789abcdef now") == f"joining with {GONE} now"


def test_known_values_go_wherever_they_stand() -> None:
    redactor = Redactor([PLANTED, "true", "line one is long\nline two is long"])
    text = f"a{PLANTED}b true {base64.b64encode(PLANTED.encode()).decode()} line two is long"
    assert redactor.text(text).replace("=", "") == f"a{GONE}b true {GONE} {GONE}"
    assert redactor.value({"plain": [PLANTED]}) == {"plain": [GONE]}


CLUSTER: dict[str, Any] = {
    "apiVersion": "cluster.x-k8s.io/v1beta1",
    "kind": "Cluster",
    "metadata": {
        "name": "demo",
        "managedFields": [{"manager": "me"}],
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
                {"spec": {"variables": [{"name": "apiToken", "value": PLANTED}], "password": PLANTED}}
            ),
            "example.org/api-key": PLANTED,
        },
    },
    "spec": {
        "topology": {
            "class": "c",
            "variables": [
                {"name": "apiToken", "value": PLANTED},
                {"name": "registry", "value": {"host": "a", "password": PLANTED, "b": {"token": [PLANTED]}}},
                {"name": "password", "value": {"any": PLANTED, "list": [PLANTED, 5]}},
                {"name": "proxy", "value": f"http://me:{PLANTED}@proxy"},
                {"name": "memory", "value": "4Gi"},
            ],
        },
        "files": [{"path": "/etc/x", "content": f"anything {PLANTED}"}],
        "env": [
            {"name": "HF_TOKEN", "value": PLANTED},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        ],
        "secretRef": {"name": "the-ref"},
        "imagePullSecrets": [{"name": "pull"}],
        "tokenTTL": "24h",
        "joinConfiguration": {"discovery": {"bootstrapToken": {"token": PLANTED}}},
        "enabled": True,
        "automountServiceAccountToken": True,
    },
}  # fmt: skip


def test_objects_lose_their_secrets_and_keep_the_rest() -> None:
    found = Redactor().value(objects.bare(CLUSTER))
    assert PLANTED not in json.dumps(found)
    assert "managedFields" not in found["metadata"]
    spec = found["spec"]
    assert spec["topology"]["variables"][0] == {"name": "apiToken", "value": GONE}
    assert spec["topology"]["variables"][4] == {"name": "memory", "value": "4Gi"}
    assert spec["topology"]["variables"][1]["value"]["host"] == "a"
    assert spec["env"][1]["valueFrom"]["secretKeyRef"] == {"name": "hf", "key": "token"}
    assert spec["secretRef"] == {"name": "the-ref"}
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert (spec["tokenTTL"], spec["enabled"], spec["automountServiceAccountToken"]) == ("24h", True, True)
    assert found["metadata"]["name"] == "demo"


def test_a_class_with_a_secret_default_loses_it() -> None:
    variable = {
        "name": "adminPassword",
        "schema": {"openAPIV3Schema": {"type": "string", "default": PLANTED}},
    }
    assert PLANTED not in json.dumps(Redactor().value({"spec": {"variables": [variable]}}))


SECRETS = [
    {
        "metadata": {"name": "s", "namespace": "n", "annotations": {"a": PLANTED}},
        "type": "Opaque",
        "data": {"b": base64.b64encode(PLANTED.encode()).decode(), "a": "/w=="},
    }
]


def test_of_secrets_only_the_names_are_kept() -> None:
    assert objects.secret_names(SECRETS) == [
        {"namespace": "n", "name": "s", "type": "Opaque", "keys": ["a", "b"]}
    ]
    assert list(objects.secret_values(SECRETS)) == [PLANTED]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["password", "apiToken", "clientSecret"]), st.text(max_size=10))
def test_no_value_of_a_secret_name_survives(value: Any, name: str, other: str) -> None:
    marked = {other: {name: {"inner": [value, f"x{PLANTED}"]}}, "list": [{"name": name, "value": PLANTED}]}
    assert PLANTED not in json.dumps(Redactor().value(marked))


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    Redactor(["abcdef"]).text(text)


@pytest.mark.parametrize("quote", ['"', '\\"', '"\\"', '\\"\\\\\\"'])
def test_refused_values_of_secret_fields_are_hidden(quote: str) -> None:
    end = {'"\\"': '\\""', '\\"\\\\\\"': '\\\\\\"\\"'}.get(quote, quote)
    text = f"spec.topology.variables[apiToken].value: Invalid value: {quote}{PLANTED}{end}: should match '^a'"
    found = secret_names.hide_refused(f"x {text} and {text}")
    assert PLANTED not in found
    assert found.count("should match '^a'") == 2
    cause = text.partition(".value: ")[2]
    inside = f'"causes":[{{"message":"{cause}","field":"spec.topology.variables[apiToken].value"}}]'
    found = secret_names.hide_refused(f'"message":"{text}",{inside}')
    assert PLANTED not in found
    assert found.endswith('","field":"spec.topology.variables[apiToken].value"}]')
    other = text.replace("apiToken", "size")
    assert secret_names.hide_refused(other) == other
