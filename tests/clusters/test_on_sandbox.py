"""Clusters on real Cluster API controllers and webhooks, with machines in memory."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from capi_llm.clusters import classes, create, delete, events, kubeconfig, scale, tree
from capi_llm.clusters.spec import ClusterSpec, from_flags, merge, parse_workers
from capi_llm.clusters.topology import manifest, spec_of
from capi_llm.contract import capi
from capi_llm.contract.conditions import deleting
from capi_llm.errors import BadInput, CapiLlmError, Invalid, NotFound, Refused
from capi_llm.kube.apply import apply
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import (
    CLUSTERS,
    KUBEADM_CONTROL_PLANES,
    MACHINE_DEPLOYMENTS,
    MACHINES,
    Object,
    Ref,
    Resource,
)
from capi_llm.waiting import Status, Waiter, pending, ready, until
from sandboxes import times_out

pytestmark = pytest.mark.sandbox

CLASS = "in-memory-llm-clusterclass"
DOCKER = "docker-llm-clusterclass"
TIMEOUT = 180.0


class Counting(Api):
    """Remembers every request that changes something."""

    writes: ClassVar[list[str]] = []

    def request(self, method: str, path: str, **more: Any) -> Any:
        if method != "GET" and "dryRun" not in (more.get("query") or {}):
            self.writes.append(f"{method} {path}")
        return super().request(method, path, **more)


@pytest.fixture
def api(sandbox: Any) -> Counting:
    return Counting.from_kubeconfig(sandbox.kubeconfig)  # type: ignore[return-value]


@contextlib.contextmanager
def no_writes(api: Counting) -> Iterator[None]:
    before = len(api.writes)
    yield
    assert api.writes[before:] == []


@pytest.fixture
def informers(api: Api) -> Iterator[Informers]:
    with Informers(api) as made:
        yield made


def spec(name: str, namespace: str, **flags: object) -> ClusterSpec:
    said = from_flags(name=name, namespace=namespace, **flags)  # type: ignore[arg-type]
    return merge(None, said, default_class=CLASS)


def with_class(api: Counting, namespace: str, name: str = CLASS) -> None:
    folder = classes.shipped_class(name)
    assert folder is not None
    classes.apply_folder(api, folder, namespace)


@pytest.mark.parametrize("name", [CLASS, DOCKER])
def test_webhooks_accept_the_classes_and_a_second_apply_writes_nothing(
    api: Counting, namespace: str, name: str
) -> None:
    folder = classes.shipped_class(name)
    assert folder is not None
    classes.apply_folder(api, folder, namespace)
    with no_writes(api):
        assert {item.action for item in classes.apply_folder(api, folder, namespace)} == {"unchanged"}
    described = classes.find(api, name, namespace)
    assert described.status is not None
    assert described.status.ready
    assert described.variables == classes.describe_folder(folder).variables


def test_a_dry_run_of_a_class_asks_the_webhooks_also_where_nothing_differs(
    api: Counting, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = classes.shipped_class(CLASS)
    assert folder is not None
    classes.apply_folder(api, folder, namespace)
    with caplog.at_level(logging.DEBUG, logger="capi_llm.kube.transport"):
        classes.apply_folder(api, folder, namespace, dry_run=True)
    asked = [record.args for record in caplog.records if record.args and record.args[0] == "PATCH"]  # type: ignore[index]
    assert len(asked) == len(folder.objects)


def test_life_of_a_cluster(api: Counting, informers: Informers, namespace: str, tmp_path: Path) -> None:
    with_class(api, namespace)
    wanted = spec("demo", namespace, workers="1..3", variables=["nodeLabels.team=search"])
    ref = Ref(CLUSTERS, "demo", namespace)

    made = create.create(api, wanted)
    assert made.action == "created"
    trees: list[tree.ClusterView] = []
    view = create.wait_ready(informers, "demo", namespace, timeout=TIMEOUT, on_tree=trees.append)
    assert view.status.ready
    assert [pool.count.ready for pool in view.pools] == [1]
    assert not trees[0].status.ready
    assert trees[0].status.message
    deployment = api.list(MACHINE_DEPLOYMENTS, namespace)[0]
    assert deployment["metadata"]["annotations"]["capacity.cluster-autoscaler.kubernetes.io/memory"] == "4Gi"

    with no_writes(api):
        assert create.create(api, wanted).action == "unchanged"
        assert create.create(api, spec("demo", namespace)).action == "unchanged", "defaults are not compared"
        with pytest.raises(Refused, match=f"capi-llm scale demo --namespace {namespace} --workers 2..3"):
            create.create(api, spec("demo", namespace, workers="2..3"))

    text = kubeconfig.fetch(api, "demo", namespace)
    path = kubeconfig.save(text, "demo", namespace, tmp_path)
    assert path == tmp_path / f"kubeconfig-{namespace}.demo.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(text)["kind"] == "Config"

    result = scale.scale(api, "demo", namespace, "", parse_workers("2..3"))
    assert result.changed
    view = create.wait_ready(informers, "demo", namespace, timeout=TIMEOUT)
    assert (view.pools[0].count.ready, view.pools[0].minimum) == (2, 2)
    assert "replicas" not in api.get(ref)["spec"]["topology"]["workers"]["machineDeployments"][0]
    with no_writes(api):
        assert not scale.scale(api, "demo", namespace, "md-0", parse_workers("2..3")).changed
    scale.scale(api, "demo", namespace, "", parse_workers("1"))
    view = create.wait_ready(informers, "demo", namespace, timeout=TIMEOUT)
    assert (view.pools[0].count.ready, len(view.pools[0].machines)) == (1, 1)
    with pytest.raises(BadInput, match="it has md-0"):
        scale.scale(api, "demo", namespace, "gpu", parse_workers("1"))

    happened = events.of_cluster(api, "demo", namespace)
    assert [event.time for event in happened] == sorted(event.time for event in happened)
    assert {"Cluster", "MachineDeployment", "Machine"} <= {event.kind for event in happened}

    left: list[int] = []
    delete.delete(
        informers,
        "demo",
        namespace,
        timeout=TIMEOUT,
        kubeconfigs=tmp_path,
        on_leftovers=lambda found: left.append(len(found)),
    )
    assert left[-1] == 0
    assert max(left) > 3
    assert not path.exists()
    assert api.list(MACHINES, namespace) == []
    with pytest.raises(NotFound, match="demo"):
        delete.delete(informers, "demo", namespace, timeout=TIMEOUT)


def test_what_is_wrong_is_refused_before_anything_is_made(api: Counting, namespace: str) -> None:
    with_class(api, namespace)
    for flags in ({"variables": ["nodeLabel=x"]}, {"pools": ["gpu=0..1:gpu"]}):
        with pytest.raises(BadInput):
            create.create(api, spec("demo", namespace, **flags))
    with pytest.raises(NotFound, match=f"{namespace}/{CLASS}"):
        create.create(api, spec("demo", namespace, cluster_class="other"))
    with pytest.raises(NotFound, match="does not exist"):
        create.create(api, spec("demo", "no-such-namespace"))
    # Only the server can know these.
    with pytest.raises(Invalid, match="nodeTaints"):
        create.create(api, spec("demo", namespace, variables=["nodeTaints=[{key: a}]"]))
    assert api.list(CLUSTERS, namespace) == []


def test_class_from_a_folder_is_applied_first(api: Counting, namespace: str) -> None:
    folder = classes.shipped_class(DOCKER)
    assert folder is not None
    wanted = spec("demo", namespace, cluster_class=DOCKER)
    create.create(api, wanted, folder=folder)
    assert classes.find(api, DOCKER, namespace).name == DOCKER
    _give_up(api, Ref(CLUSTERS, "demo", namespace))


MIRRORS = [
    {"registry": "docker.io", "mirrors": ["https://mirror.example.com", "http://10.0.0.1:5000/v2"]},
    {"registry": "quay.io:443", "mirrors": ["https://mirror.example.com"]},
]


def _check_containerd(config: dict[str, Any], first: int = 0) -> None:
    """What containerd of a machine is told, read as it reads it."""
    hub, quay, proxies = config["files"][first:]
    assert hub["path"] == "/etc/containerd/certs.d/docker.io/hosts.toml"
    pulls = {"capabilities": ["pull", "resolve"]}
    assert tomllib.loads(hub["content"]) == {
        "server": "https://registry-1.docker.io",
        "host": {"https://mirror.example.com": pulls, "http://10.0.0.1:5000/v2": pulls},
    }
    assert quay["path"] == "/etc/containerd/certs.d/quay.io:443/hosts.toml"
    assert tomllib.loads(quay["content"]) == {"host": {"https://mirror.example.com": pulls}}
    assert proxies["path"] == "/etc/systemd/system/containerd.service.d/http-proxy.conf"
    assert proxies["content"].splitlines() == [
        "[Service]",
        'Environment="HTTP_PROXY="',
        'Environment="HTTPS_PROXY=http://proxy.example.com:3128"',
        'Environment="NO_PROXY=.example.com,10.0.0.0/8"',
    ]
    command, restart = config["preKubeadmCommands"]
    assert restart == "systemctl daemon-reload && systemctl restart containerd"
    assert _configured(command, "version = 2\n") == {
        "version": 2,
        "plugins": {"io.containerd.grpc.v1.cri": {"registry": {"config_path": "/etc/containerd/certs.d"}}},
    }
    own = "config_path = '/else'\n"
    assert _configured(command, own) == tomllib.loads(own)


def _configured(command: str, before: str) -> dict[str, Any]:
    """The containerd configuration ``before``, after the command that a machine runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(before)
        here = command.replace("/etc/containerd/config.toml", str(path)).replace("systemctl", "echo")
        subprocess.run(["sh", "-c", here], check=True)
        return tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (
            "registryMirrors=[{registry: docker.io, mirrors: ['https://me:word@example.com']}]",
            "mirrors",
        ),
        ("registryMirrors=[{registry: ../etc, mirrors: ['https://mirror.example.com']}]", "registry"),
        ("registryMirrors=[{registry: docker.io, mirrors: ['https://a\"]']}]", "mirrors"),
        ("registryMirrors=[{registry: docker.io, mirrors: []}]", "mirrors"),
        ("proxy={httpsProxy: 'http://me:word@proxy.example.com'}", "httpsProxy"),
        ("proxy={httpProxy: proxy.example.com}", "httpProxy"),
        ("proxy={noProxy: 'a\" b'}", "noProxy"),
    ],
)
def test_mirrors_and_proxies_that_can_not_be_are_refused(
    api: Counting, namespace: str, value: str, hint: str
) -> None:
    with_class(api, namespace, DOCKER)
    wanted = spec("wrong", namespace, cluster_class=DOCKER, variables=[value])
    with pytest.raises(CapiLlmError, match=hint):
        create.create(api, wanted)


def test_every_variable_and_patch_of_the_docker_class(
    api: Counting, informers: Informers, namespace: str
) -> None:
    """The topology controller renders all templates, although there is no Docker to make machines with."""
    with_class(api, namespace, DOCKER)
    wanted = spec(
        "full",
        namespace,
        cluster_class=DOCKER,
        workers="1",
        pools=["gpu=0..2:gpu-worker"],
        variables=[
            "cni=kindnet",
            "imageRepository=reg.example.com/k8s",
            "etcdImageTag=3.5.21-0",
            "coreDNSImageTag=v1.12.0",
            "nodeImageRepository=reg.example.com/node",
            "preLoadImages=[a:1]",
            "mountDockerSocket=true",
            "gpuDevices=true",
            "nodeLabels={team: search, example.com/x: '1'}",
            "nodeTaints=[{key: dedicated, value: llm, effect: NoSchedule}]",
            "podSecurityStandard.enabled=true",
        ],
    )
    proxy = {"httpsProxy": "http://proxy.example.com:3128", "noProxy": ".example.com,10.0.0.0/8"}
    offered = {"registryMirrors": MIRRORS, "proxy": proxy, "of-another-class": 1}
    made = create.create(api, wanted, offered=offered)
    assert made.spec.variables["registryMirrors"] == MIRRORS
    with no_writes(api):  # what was only offered is not compared
        assert create.create(api, wanted, offered={"registryMirrors": []}).action == "unchanged"
    cluster = Ref(CLUSTERS, "full", namespace)
    _until_reconciled(api, cluster)
    assert api.get(cluster)["metadata"]["labels"]["cni"] == "kindnet"

    def rendered(group: str, plural: str, kind: str) -> dict[str, dict[str, Any]]:
        resource = Resource(f"{group}.cluster.x-k8s.io", "v1beta1", plural, kind)
        found = api.list(resource, namespace, "cluster.x-k8s.io/cluster-name=full")
        return {obj["metadata"]["name"].rpartition("-")[0]: obj["spec"] for obj in found}

    kubeadm = rendered("controlplane", "kubeadmcontrolplanes", "KubeadmControlPlane")["full"][
        "kubeadmConfigSpec"
    ]
    (network,) = kubeadm["postKubeadmCommands"]
    assert network == (
        "sed 's|{{ *.PodSubnet *}}|192.168.0.0/16|' /kind/manifests/default-cni.yaml "
        "| kubectl --kubeconfig=/etc/kubernetes/admin.conf apply -f -"
    )
    assert kubeadm["clusterConfiguration"]["imageRepository"] == "reg.example.com/k8s"
    assert kubeadm["clusterConfiguration"]["etcd"]["local"]["imageTag"] == "3.5.21-0"
    assert kubeadm["clusterConfiguration"]["dns"]["imageTag"] == "v1.12.0"
    assert (
        yaml.safe_load(kubeadm["files"][0]["content"])["plugins"][0]["configuration"]["defaults"]["enforce"]
        == "baseline"
    )
    _check_containerd(kubeadm, first=1)
    joins = rendered("bootstrap", "kubeadmconfigtemplates", "KubeadmConfigTemplate")
    for pool in ("full-md-0", "full-gpu"):
        _check_containerd(joins[pool]["template"]["spec"])
    node = joins["full-gpu"]["template"]["spec"]["joinConfiguration"]["nodeRegistration"]
    assert node["kubeletExtraArgs"]["node-labels"].split(",") == [
        "capi-llm.dev/cni=kindnet",
        "cluster-api/accelerator=nvidia",
        "example.com/x=1",
        "team=search",
    ]
    assert [taint["key"] for taint in node["taints"]] == ["nvidia.com/gpu", "dedicated"]
    node = joins["full-md-0"]["template"]["spec"]["joinConfiguration"]["nodeRegistration"]
    assert [taint["key"] for taint in node["taints"]] == ["dedicated"]
    machines = rendered("infrastructure", "dockermachinetemplates", "DockerMachineTemplate")
    for name in ("full", "full-md-0", "full-gpu"):
        machine = machines[name]["template"]["spec"]
        assert machine["customImage"] == f"reg.example.com/node:{wanted.version}"
        assert machine["preLoadImages"] == ["a:1"]
        assert machine["extraMounts"][0]["hostPath"] == "/var/run/docker.sock"
        assert machine["bootstrapTimeout"] == "15m"
    assert machines["full-gpu"]["template"]["spec"]["extraMounts"][1]["hostPath"] == "/dev/null"
    gpu = next(obj for obj in api.list(MACHINE_DEPLOYMENTS, namespace) if "-gpu-" in obj["metadata"]["name"])
    assert gpu["metadata"]["annotations"]["capacity.cluster-autoscaler.kubernetes.io/gpu-count"] == "1"
    assert gpu["spec"]["replicas"] == 0

    # Without Docker nothing can be made and nothing can be deleted: who holds it is told.
    view = tree.find(tree.collect(api, namespace), "full", namespace)
    assert view is not None
    assert not view.status.ready
    times_out(
        lambda: delete.delete(informers, "full", namespace, timeout=5),
        r"DockerCluster .* is held by dockercluster\.infrastructure",
    )
    _give_up(api, cluster)


def test_deletion_that_hangs_says_who_holds_it(api: Counting, informers: Informers, namespace: str) -> None:
    with_class(api, namespace)
    create.create(api, spec("held", namespace, workers="0"))
    ref = Ref(CLUSTERS, "held", namespace)
    _until_reconciled(api, ref)
    held = api.get(ref)["metadata"].get("finalizers", [])
    api.merge_patch(ref, {"metadata": {"finalizers": [*held, "example.com/mine"]}})
    times_out(
        lambda: delete.delete(informers, "held", namespace, timeout=5),
        r"example\.com/mine \(whoever owns example\.com/mine\)",
    )
    with pytest.raises(Refused, match="is being deleted"):
        create.create(api, spec("held", namespace))
    with pytest.raises(CapiLlmError, match="is being deleted"):
        create.wait_ready(informers, "held", namespace, timeout=5)

    def left(*kinds: str) -> Status:
        found = delete.leftovers(api, "held", namespace)
        return ready() if [item.ref.resource.kind for item in found] == list(kinds) else pending(str(found))

    until(lambda: left("Cluster"), what="the end of all but the Cluster", timeout=60)
    api.merge_patch(ref, {"metadata": {"finalizers": []}})
    until(left, what="the end of the Cluster", timeout=60)


def test_what_cluster_api_lost_sight_of_is_let_go(
    api: Counting, informers: Informers, namespace: str
) -> None:
    """As when the API server dies while the topology is made: see ``clusters.abandoned``."""
    with_class(api, namespace)
    create.create(api, spec("lost", namespace, workers="0"))
    ref = Ref(CLUSTERS, "lost", namespace)
    _until_reconciled(api, ref)
    infrastructure = Resource("infrastructure.cluster.x-k8s.io", "v1beta1", "devclusters", "DevCluster")
    for kind in (KUBEADM_CONTROL_PLANES, infrastructure):
        (real,) = api.list(kind, namespace)
        again = {
            "metadata": {
                "name": "lost-again",
                "namespace": namespace,
                "labels": real["metadata"]["labels"],
                "finalizers": list(real["metadata"].get("finalizers", [])),
            },
            "spec": real["spec"],
        }
        api.create(kind, again)
        api.delete(Ref(kind, "lost-again", namespace))
        assert deleting(api.get(Ref(kind, "lost-again", namespace))), "its finalizer is to hold it"
    # One that somebody else holds is not ours to let go.
    held = Ref(infrastructure, "lost-and-held", namespace)
    api.create(infrastructure, {**again, "metadata": {
        **again["metadata"], "name": held.name, "finalizers": ["example.com/mine"]}})  # fmt: skip
    api.delete(held)

    delete.delete(informers, "lost", namespace, timeout=60)
    assert api.list(KUBEADM_CONTROL_PLANES, namespace) == []
    assert [obj["metadata"]["name"] for obj in api.list(infrastructure, namespace)] == [held.name]
    api.merge_patch(held, {"metadata": {"finalizers": None}})


def test_cluster_that_kubectl_applied_is_first_class(
    api: Counting, informers: Informers, namespace: str
) -> None:
    with_class(api, namespace)
    cluster = manifest(spec("own", namespace, workers="0..2"))
    del cluster["metadata"]["annotations"]
    apply(api, [cluster], manager="kubectl")
    assert create.create(api, spec("own", namespace, workers="0..2")).action == "unchanged"
    assert (
        spec_of(api.get(Ref(CLUSTERS, "own", namespace))).pools
        == spec("own", namespace, workers="0..2").pools
    )
    with pytest.raises(Refused) as caught:
        create.create(
            api, spec("own", namespace, labels=["team=search"], variables=["cni=none"], pools=["b=0..1"])
        )
    for line in caught.value.fix.splitlines():
        _run_as_kubectl_would(api, line, namespace)
    again = spec("own", namespace, labels=["team=search"], variables=["cni=none"], pools=["b=0..1"])
    assert create.create(api, again).action == "unchanged"
    delete.delete(informers, "own", namespace, timeout=TIMEOUT)


def _run_as_kubectl_would(api: Counting, line: str, namespace: str) -> None:
    """The command that an error printed, as the request that kubectl makes of it."""
    words = shlex.split(line.strip())
    assert words[:4] == ["capi-llm", "kubeconfig", "--management", "--"]
    assert words[4:7] == ["kubectl", "-n", namespace]
    ref = Ref(CLUSTERS, words[9], namespace)
    if words[7] == "label":
        key, _, value = words[-1].partition("=")
        api.merge_patch(ref, {"metadata": {"labels": {key: value}}})
        return
    body = json.loads(words[words.index("-p") + 1])
    kind = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}[words[11]]
    api.request("PATCH", ref.path, body=body, content_type=kind)


def _give_up(api: Api, ref: Ref) -> None:
    """End a cluster of Docker machines where there is no Docker: nobody else takes the finalizers away."""
    if not deleting(api.get(ref)):
        _until_reconciled(api, ref)
    reference = api.get(ref)["spec"]["infrastructureRef"]
    docker = Resource("infrastructure.cluster.x-k8s.io", "v1beta1", "dockerclusters", "DockerCluster")
    api.delete(ref)

    def probe() -> Status:
        held = Ref(docker, reference["name"], ref.namespace)
        if (found := api.find(held)) is not None and "deletionTimestamp" in found["metadata"]:
            api.merge_patch(held, {"metadata": {"finalizers": []}})
        return pending("is going") if api.find(ref) else ready()

    until(probe, what=str(ref), timeout=60, waiter=Waiter(interval=0.2))


def _until_reconciled(api: Counting, ref: Ref) -> None:
    def probe() -> Status:
        return capi.topology(api.get(ref)) or capi.deletable(api.get(ref))

    until(probe, what=str(ref), timeout=60, waiter=Waiter(interval=0.2))


class Racing(Counting):
    """Someone else writes the object just before our first change of it."""

    raced = False

    def merge_patch(self, ref: Ref, patch: Object, **more: Any) -> Object:
        if not self.raced:
            self.raced = True
            super().merge_patch(ref, {"metadata": {"labels": {"from": "someone-else"}}})
        return super().merge_patch(ref, patch, **more)


def test_scaling_goes_on_where_someone_else_writes_too(sandbox: Any, api: Counting, namespace: str) -> None:
    with_class(api, namespace)
    create.create(api, spec("demo", namespace))
    racing = Racing.from_kubeconfig(sandbox.kubeconfig)
    before, after = scale._change(racing, Ref(CLUSTERS, "demo", namespace), "md-0", parse_workers("2..4"))
    assert racing.raced
    assert (before.range, after.range) == (parse_workers("1..3"), parse_workers("2..4"))
    found = api.get(Ref(CLUSTERS, "demo", namespace))
    assert found["metadata"]["labels"]["from"] == "someone-else"
    assert spec_of(found).pools[0].range == parse_workers("2..4")
