"""Flags, file and defaults become one spec; values that contradict each other are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.clusters import specfile, topology
from capi_llm.clusters.difference import differences
from capi_llm.clusters.spec import (
    ClusterSpec,
    Given,
    Pool,
    Range,
    from_flags,
    keep_apart,
    merge,
    parse_pool,
    parse_workers,
)
from capi_llm.errors import BadInput, NotFound
from capi_llm.fields import HostNetwork

CLASS = "docker-llm-clusterclass"


def spec(**flags: object) -> ClusterSpec:
    return merge(None, from_flags(name="demo", **flags), default_class=CLASS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("1..3", Range(1, 3)),
        ("0..5", Range(0, 5)),
        ("2..2", Range(2, 2)),
        ("2", Range(2, 2, True)),
        ("0", Range(0, 0, True)),
    ],
)
def test_workers(text: str, workers: Range) -> None:
    assert parse_workers(text) == workers
    assert str(parse_workers(text)) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1-3", "use 1..3"),
        ("1...3", "use 1..3"),
        ("3..1", "use 1..3"),
        ("-1", "use 1"),
        ("", "use 1..3"),
        ("many", "use 1..3"),
        ("0..0", "use 0 or 0..1"),
        ("1..50000", "5000"),
        ("1.5", "use 1..5"),
    ],
)
def test_bad_workers(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match="--workers") as caught:
        parse_workers(text)
    assert hint in str(caught.value)


def test_pool() -> None:
    pool = parse_pool("gpu=0..2:gpu-worker")
    assert (pool.name, pool.range, pool.worker_class) == ("gpu", Range(0, 2), "gpu-worker")
    assert parse_pool("b=1").worker_class == ""
    for wrong in ("gpu", "Gpu=1", "gpu=1:", "gpu=x", "=1", "gpu=1:A b"):
        with pytest.raises(BadInput, match="--pool"):
            parse_pool(wrong)


def test_defaults() -> None:
    made = spec()
    assert made == ClusterSpec("demo", cluster_class=CLASS)
    assert made.pools == (Pool("md-0", 1, 3, "default-worker", "2", "4Gi"),)
    assert (made.pods, made.services, made.service_domain) == (
        "192.168.0.0/16",
        "10.96.0.0/24",
        "cluster.local",
    )
    assert made.given == {"name"}


def test_what_was_said_is_remembered() -> None:
    made = spec(workers="2", pools=["gpu=0..2:gpu-worker"], cpu="4", labels=["a=b"])
    assert made.pools == (
        Pool("md-0", 2, 2, "default-worker", "4", "4Gi", fixed=True),
        Pool("gpu", 0, 2, "gpu-worker", "4", "4Gi"),
    )
    assert made.given == {"name", "workers", "pools", "pools.gpu", "pools.gpu.class", "cpu", "labels"}


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"workers": "1..3", "pools": ["md-0=2"]}, "contradict"),
        ({"pools": ["a=1", "a=2"]}, "twice"),
        ({"pods": "10.0.0.0/8"}, "overlap"),
        ({"pools": ["a=4000", "b=4000"]}, "5000"),
        ({"control_plane": 2}, "--control-plane"),
        ({"version": "1.33"}, "--version"),
        ({"labels": ["x"]}, "KEY=VALUE"),
    ],
)
def test_values_that_do_not_fit(flags: dict, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        spec(**flags)


def test_name_leaves_room_for_machines() -> None:
    longest = "a" * (63 - 18 - len("-md-0"))
    assert merge(None, from_flags(name=longest), default_class=CLASS).name == longest
    with pytest.raises(BadInput, match="at most 40 characters"):
        merge(None, from_flags(name=longest + "a"), default_class=CLASS)
    with pytest.raises(BadInput, match="no name"):
        merge(None, Given(), default_class=CLASS)


FILE = """
apiVersion: capi-llm.dev/v1alpha1
kind: ClusterSpec
name: demo
class: in-memory-llm-clusterclass
version: v1.32.2
control-plane: 3
workers: 2
cpu: 8
pools:
  - gpu=0..2:gpu-worker
  - name: big
    workers: 1..2
    memory: 64Gi
labels: {team: search}
variables:
  cni: none
  nodeLabels: {a: b}
"""


def test_file_and_flags() -> None:
    flags = from_flags(
        workers="1..4", pools=["big=0..9"], labels=["x=y"], variables=["nodeLabels.c=d"], version="v1.33.0"
    )
    made = merge(specfile.parse(FILE, "demo.yaml"), flags, default_class=CLASS)
    assert made.name == "demo"
    assert made.cluster_class == "in-memory-llm-clusterclass"
    assert (made.version, made.control_plane) == ("v1.33.0", 3)
    assert made.pools == (
        Pool("md-0", 1, 4, "default-worker", "8", "4Gi"),
        Pool("gpu", 0, 2, "gpu-worker", "8", "4Gi"),
        Pool("big", 0, 9, "default-worker", "8", "64Gi"),
    )
    assert made.labels == {"team": "search", "x": "y"}
    assert made.variables == {"cni": "none", "nodeLabels": {"a": "b", "c": "d"}}
    with pytest.raises(BadInput, match="the command names one cluster"):
        merge(specfile.parse(FILE, "demo.yaml"), from_flags(name="other"), default_class=CLASS)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("workerz: 1", "did you mean 'workers'"),
        ("controlplane: 1", "did you mean 'controlPlane'"),
        ("label: {a: b}", "did you mean 'labels'"),
        ("set: {a: b}", "did you mean 'variables'"),
        ("pools: [{name: a, workers: 1, klass: b}]", r"did you mean 'pools\[0\].class'"),
        ("pools: [{name: a}]", r"pools\[0\]: workers is missing"),
        ("pools: {a: 1}", "pools: it has to be a list"),
        ("pools: [{name: a, workers: 3..1}]", r"demo.yaml:4: pools\[0\].workers"),
        ("version: 1.33", "in quotes"),
        ("workers: true", "not a text"),
        ("control-plane: three", "not a number"),
        ("control-plane: true", "not a number"),
        ("controlPlane: 1\ncontrol-plane: 3", "demo.yaml:5: control-plane: it differs from controlPlane"),
        ("name: 7", "in quotes: '7'"),
        ("labels: [a]", "labels: it has to be a map"),
        ("labels: {a: {b: c}}", "labels.a"),
        ("memory: 4", "demo.yaml:4: memory"),
        ("pods: 10.0.0.1/8", "10.0.0.0/8"),
        ("name: demo\nname: demo2", "'name' is there twice"),
        ("metadata: {name: other}", "differs from metadata.name"),
        ("metadata: {nome: other}", "did you mean 'metadata.name'"),
        ("a: [", "not YAML"),
        ("--- {}", "2 documents"),
    ],
)
def test_bad_files_name_the_path(change: str, hint: str) -> None:
    head = "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\n"
    head += "" if change.startswith("name:") else "name: demo\n"
    with pytest.raises(BadInput, match=r"demo\.yaml") as caught:
        specfile.parse(head + change + "\n", "demo.yaml")
    caught.match(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("kind: ClusterSpec", "apiVersion: capi-llm.dev/v1alpha1"),
        ("apiVersion: capi-llm.dev/v1alpha1", "kind: ClusterSpec"),
        ("apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster", "kubectl apply -f"),
        ("just text", "not a map"),
        ("", "0 documents"),
    ],
)
def test_files_of_another_kind(text: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        specfile.parse(text, "demo.yaml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        specfile.load(tmp_path / "none.yaml")
    with pytest.raises(BadInput):
        specfile.load(tmp_path)
    good = tmp_path / "demo.yaml"
    good.write_text(FILE)
    assert specfile.load(good).name == "demo"


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
SPANS = st.one_of(
    st.integers(0, 50).map(str),
    st.tuples(st.integers(0, 20), st.integers(1, 30)).map(lambda pair: f"{pair[0]}..{pair[0] + pair[1]}"),
)


@given(
    name=NAMES,
    workers=st.none() | SPANS,
    pools=st.dictionaries(NAMES, SPANS, max_size=3),
    count=st.none() | st.sampled_from([1, 3, 5]),
    labels=st.dictionaries(NAMES, NAMES, max_size=3),
    variables=st.dictionaries(NAMES, st.booleans() | NAMES | st.integers(), max_size=3),
    cpu=st.none() | st.sampled_from(["1", "2.5", "500m"]),
)
def test_flags_and_the_file_they_stand_for_make_one_spec(
    name: str,
    workers: str | None,
    pools: dict[str, str],
    count: int | None,
    labels: dict[str, str],
    variables: dict[str, object],
    cpu: str | None,
) -> None:
    import yaml

    pools.pop("md-0", None)
    flags = from_flags(
        name=name,
        workers=workers,
        control_plane=count,
        cpu=cpu,
        pools=[f"{key}={span}" for key, span in pools.items()],
        labels=[f"{key}={value}" for key, value in labels.items()],
        variables=[f"{key}={yaml.safe_dump(value).splitlines()[0]}" for key, value in variables.items()]
        if all(isinstance(value, bool | int) for value in variables.values())
        else [],
    )
    by_flags = merge(None, flags, default_class=CLASS)
    head = {"apiVersion": "capi-llm.dev/v1alpha1", "kind": "ClusterSpec"}
    text = yaml.safe_dump(head | specfile.render(by_flags))
    by_file = merge(specfile.parse(text, "x.yaml"), Given(), default_class=CLASS)
    assert by_file == by_flags


# Defaults from settings


def test_settings_fill_in_what_neither_file_nor_flags_say() -> None:
    defaults = Given(
        cluster_class="team/docker-llm-clusterclass",
        namespace="team",
        workers=Range(2, 4),
        cpu="8",
        labels={"team": "a", "tier": "x"},
        variables={"cni": "cilium", "nodeLabels": {"a": "b"}},
    )
    file = specfile.parse(FILE, "demo.yaml")
    flags = from_flags(namespace="mine", variables=["nodeLabels.c=d"])
    made = merge(file, flags, default_class=CLASS, defaults=defaults)
    assert made.namespace == "mine"
    assert made.cluster_class == "in-memory-llm-clusterclass"  # the file's
    assert made.pools[0].cpu == "8"
    assert made.labels == {"team": "search", "tier": "x"}
    assert made.variables["nodeLabels"] == {"a": "b", "c": "d"}
    bare = merge(None, from_flags(name="demo"), default_class=CLASS, defaults=defaults)
    assert (bare.cluster_class, bare.namespace) == ("team/docker-llm-clusterclass", "team")
    assert bare.pools == (Pool("md-0", 2, 4, "default-worker", "8", "4Gi"),)
    assert bare.given == {"name"}
    assert specfile.render(bare, only_given=True) == {"name": "demo"}


def test_a_first_pool_that_is_said_does_not_meet_the_default_number_of_workers() -> None:
    made = merge(
        None,
        from_flags(name="demo", pools=["md-0=1..2"]),
        default_class=CLASS,
        defaults=Given(workers=Range(5, 5, True)),
    )
    assert made.pools[0].range == Range(1, 2)


def test_defaults_are_not_compared_with_a_cluster_that_is_there() -> None:
    have = merge(None, from_flags(name="demo", labels=["team=a"]), default_class=CLASS)
    defaults = Given(
        version="v1.32.0",
        pods="10.8.0.0/16",
        workers=Range(2, 2, True),
        labels={"tier": "x"},
        variables={"cni": "none"},
    )
    want = merge(None, from_flags(name="demo", labels=["team=b"]), default_class=CLASS, defaults=defaults)
    assert [found.field for found in differences(have, want)] == ["label team"]
    assert json.loads(topology.intent(want))["labels"] == {"team": "b"}


def test_networks_that_were_said_keep_apart_from_those_of_the_host() -> None:
    hosts = (HostNetwork("192.168.0.0/16", "interface eth0"), HostNetwork("10.244.0.0/16", "docker0"))
    keep_apart(spec(), hosts)  # nobody said the default
    keep_apart(spec(pods="172.20.0.0/16"), hosts)
    text = "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\nname: demo\npods: 172.20.0.0/16\n"
    text += "services: 192.168.7.0/24\n"
    in_file = merge(specfile.parse(text, "demo.yaml"), Given(), default_class=CLASS)
    settings = Given(pods="192.168.0.0/16", places={"pods": "capi-llm.yaml:4: cluster.pods"})
    in_settings = merge(None, from_flags(name="demo"), default_class=CLASS, defaults=settings)
    for wanted, place, free in (
        (spec(pods="192.168.0.0/16"), "--pods: '192.168.0.0/16'", "172.20.0.0/16"),
        (in_file, "demo.yaml:5: services: '192.168.7.0/24'", "10.96.0.0/24"),
        (in_settings, "capi-llm.yaml:4: cluster.pods: '192.168.0.0/16'", "172.20.0.0/16"),
    ):
        with pytest.raises(BadInput, match="overlaps with a network of this machine") as caught:
            keep_apart(wanted, hosts)
        assert place in caught.value.what
        assert caught.value.fix == f"use {free}"


def test_a_pool_whose_name_leaves_no_room_is_named() -> None:
    with pytest.raises(BadInput, match=r"--pool: 'a+' is too long"):
        spec(pools=["a" * 50 + "=1"])


def test_the_former_spelling_is_read() -> None:
    text = "apiVersion: capi-llm.dev/v1alpha1\nkind: ClusterSpec\nname: demo\n"
    text += "service-domain: a.b\ncontrol-plane: 3\n"
    found = specfile.parse(text, "demo.yaml")
    assert (found.service_domain, found.control_plane) == ("a.b", 3)
    cluster = topology.manifest(merge(found, Given(), default_class=CLASS))
    cluster["metadata"]["annotations"][topology.INTENT] = '{"control-plane": 3}'
    assert "control_plane" in topology.spec_of(cluster).given
