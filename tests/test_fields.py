"""Every validator takes what is right, refuses what is wrong, and says what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from capi_llm import fields
from capi_llm.errors import BadInput


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (fields.dns_label, "a"),
        (fields.dns_label, "demo-1"),
        (fields.dns_subdomain, "cluster.local"),
        (fields.class_name, "docker-llm-clusterclass"),
        (fields.class_name, "team-a/docker-llm-clusterclass"),
        (fields.cidr, "192.168.0.0/16"),
        (fields.cidr, "fd00::/48"),
        (fields.kubernetes_version, "v1.33.0"),
        (fields.cpu, "2"),
        (fields.cpu, "0.5"),
        (fields.cpu, "500m"),
        (fields.memory, "4Gi"),
        (fields.memory, "1.5G"),
    ],
)
def test_good_values_stay(check: Any, good: str) -> None:
    assert check(good, "--flag") == good


def test_a_version_gets_its_v() -> None:
    assert fields.kubernetes_version("1.32.2", "--version") == "v1.32.2"


@pytest.mark.parametrize(
    ("check", "bad", "hint"),
    [
        (fields.dns_label, "Demo_1", "demo-1"),
        (fields.dns_label, "-a-", "'a'"),
        (fields.dns_label, "", "choose another name"),
        (fields.dns_label, "a" * 64, "a" * 63),
        (fields.dns_label, "a\n", "'a'"),
        (fields.dns_subdomain, "Cluster_.local", "cluster.local"),
        (fields.dns_subdomain, "..", "cluster.local"),
        (fields.class_name, "a/b/c", "use 'c'"),
        (fields.class_name, "A/b", "'a'"),
        (fields.cidr, "192.168.1.0/16", "192.168.0.0/16"),
        (fields.cidr, "192.168.0.0", "192.168.0.0/16"),
        (fields.cidr, "lan", "192.168.0.0/16"),
        (fields.cidr, "10.0.0.0/33", "192.168.0.0/16"),
        (fields.kubernetes_version, "1.33", "v1.33.0"),
        (fields.kubernetes_version, "1.30", "v1.30.0"),
        (fields.kubernetes_version, "latest", "v1.33.0"),
        (fields.kubernetes_version, "v1.34.0", "1.27 to 1.33"),
        (fields.kubernetes_version, "v2.30.0", "v1.33.0"),
        (fields.cpu, "2 cores", "'2'"),
        (fields.cpu, "0", "'2'"),
        (fields.cpu, "-1", "'2'"),
        (fields.memory, "4", "without a unit it would be bytes"),
        (fields.memory, "4", "4Gi"),
        (fields.memory, "4g", "4Gi"),
        (fields.memory, "512 mb", "512Mi"),
        (fields.memory, "0Gi", "4Gi"),
        (fields.memory, "lots", "4Gi"),
        (fields.memory, "٤Gi", "4Gi"),
        (fields.cpu, "٤", "'2'"),
        (fields.cpu, "99999", "'9999'"),
        (fields.workers, "١..٣", "use 1..3"),
        (fields.kubernetes_version, "v1.٣٣.0", "v1.33.0"),
        (fields.cidr, "10.0.0.0/255.0.0.0", "192.168.0.0/16"),
        (fields.cidr, "127.0.0.0/16", "192.168.0.0/16"),
        (fields.cidr, "224.0.0.0/8", "192.168.0.0/16"),
        (fields.cidr, "fe80::/64", "fd00:244::/48"),
        (fields.network, "10.1.2.3/16", "10.1.0.0/16"),
        (fields.rancher_version, "v2.12.1", "v2.13.0"),
        (fields.rancher_version, "2.13", "v2.13.0"),
        (fields.hostname, "HTTPS://Rancher.example.com:443/x", "rancher.example.com"),
        (fields.hostname, "rancher", "rancher.example.com"),
    ],
)
def test_bad_values_are_refused_with_a_hint(check: Any, bad: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        check(bad, "--flag")
    assert "--flag" in str(caught.value)
    assert repr(bad.split("/")[0])[1:-1] in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(("count", "hint"), [(0, "use 1"), (2, "use 3"), (11, "use 9"), (-3, "use 1")])
def test_control_plane_is_odd(count: int, hint: str) -> None:
    assert fields.control_plane(3, "--control-plane") == 3
    with pytest.raises(BadInput, match=hint):
        fields.control_plane(count, "--control-plane")


@pytest.mark.parametrize(
    ("pods", "services", "hint"),
    [
        ("10.0.0.0/8", "10.96.0.0/24", "overlap"),
        ("192.168.0.0/16", "192.168.3.0/24", "overlap"),
        ("192.168.0.0/25", "10.96.0.0/24", "too small"),
        ("16.0.0.0/7", "10.96.0.0/24", "too large"),
        ("fd00::/40", "fd01::/108", "overlap|too large"),
        ("192.168.0.0/16", "10.0.0.0/8", "wrong size"),
        ("192.168.0.0/16", "10.96.0.0/31", "wrong size"),
        ("fd00::/48", "10.96.0.0/24", "different IP versions"),
    ],
)
def test_networks_fit_each_other(pods: str, services: str, hint: str) -> None:
    fields.networks("192.168.0.0/16", "10.96.0.0/24")
    fields.networks("fd00::/48", "fd01::/108")
    with pytest.raises(BadInput, match=hint):
        fields.networks(pods, services)


@pytest.mark.parametrize(
    ("key", "value"),
    [("a b", "x"), ("/x", "y"), ("Bad_/x", "y"), ("a/b/c", "y"), ("k", "no spaces"), ("k", "-")],
)
def test_labels(key: str, value: str) -> None:
    assert fields.label("example.com/team", "search_1", "--label") == ("example.com/team", "search_1")
    assert fields.label("team", "", "--label") == ("team", "")
    with pytest.raises(BadInput):
        fields.label(key, value, "--label")


def test_nearest() -> None:
    assert fields.nearest("controlPlane", ["control-plane", "pods"]) == "control-plane"
    assert fields.nearest("worker", ["workers", "pods"]) == "workers"
    assert fields.nearest("xyz", ["workers", "pods"]) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("calico", "calico"),
        ("true", True),
        ("3", 3),
        ("007", "007"),
        ("1.10", "1.10"),
        ("1.5", 1.5),
        ("null", None),
        ('"quoted"', '"quoted"'),
        ("", ""),
        ("[a, b]", ["a", "b"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_values_of_variables_lose_nothing(text: str, value: object) -> None:
    assert fields.plain_value(text, "--set") == value


def test_variables_by_key_become_one_map() -> None:
    texts = ["cni=none", "nodeLabels.team=search", "nodeLabels.example.com/x=1"]
    assert fields.variables(texts) == {"cni": "none", "nodeLabels": {"team": "search", "example.com/x": 1}}
    for wrong in (["a"], ["=b"], ["a=[1"], ["a=1", "a.b=2"], ["a.b=2", "a={c: 1}"]):
        with pytest.raises(BadInput, match="--set"):
            fields.variables(wrong)


@pytest.mark.parametrize("text", ["9" * 5000, "1.." + "9" * 5000])
def test_numbers_that_python_does_not_read_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--workers") as caught:
        fields.workers(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("1e999", "1e999"),
        ("[2024-01-01]", ["2024-01-01"]),
        ("[" * 5, None),
    ],
)
def test_values_of_variables_are_what_json_has(text: str, value: object) -> None:
    if value is None:
        with pytest.raises(BadInput, match="--set"):
            fields.plain_value(text, "--set")
    else:
        assert fields.plain_value(text, "--set") == value


def test_a_secret_is_not_repeated() -> None:
    assert fields.secret("abcdefgh-12", "NGROK_API_KEY") == "abcdefgh-12"
    for bad in ("short", "has spaces in it", "new\nline-here", "é" * 20, ""):
        with pytest.raises(BadInput, match=r"NGROK_API_KEY: \*\*\*\*") as caught:
            fields.secret(bad, "NGROK_API_KEY")
        assert not bad or bad not in str(caught.value)
        assert caught.value.fix
