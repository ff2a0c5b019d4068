"""A plane of kind ``kind`` on a simulated Docker (the real one: scripts/e2e), with a real API server."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulated_docker
from capi_llm import certificates, plane, versions
from capi_llm.clusters import machine_images, machine_mirrors, machine_proxies, published, spec
from capi_llm.containers import images, mirrors
from capi_llm.errors import CapiLlmError, PrerequisiteMissing
from capi_llm.identity import Identities, Identity
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import DEPLOYMENTS, SECRETS, Ref
from capi_llm.plane import making, recipes
from capi_llm.plane.making import Chosen
from capi_llm.sandbox import executables
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.settings import Settings
from capi_llm.steps import components, webhook_certs
from capi_llm.steps.kind_cluster import SOCKET_LABEL, config
from capi_llm.waiting import until
from control_plane import ControlPlane

NODE = "llm-rancher-control-plane"
NODE_IMAGE = versions.NODE_IMAGES[versions.NODE_KUBERNETES]
MANAGER_IMAGES = list(versions.CLUSTER_API_IMAGES.values())


@pytest.fixture(scope="module")
def components_folder() -> Path:
    return executables.bring(Settings.from_environment())["capi-components"]


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    made = ControlPlane(executables.bring(Settings.from_environment()), tmp_path_factory.mktemp("kind"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@dataclass(frozen=True)
class Place:
    """A simulated machine, and settings of a plane on it."""

    machine: simulated_docker.Machine
    settings: Settings
    env: dict[str, str]

    def bootstrap(self, *, upgrade: bool = False) -> dict[str, str]:
        """Step → outcome, of the recipe without the classes, whose webhooks no pod serves here."""
        recipe = tuple(
            step
            for step in recipes.of(making.identity(self.settings, Chosen("kind", "kind")), upgrade=upgrade)
            if step.name != "cluster-classes"
        )
        results = plane.bootstrap(self.settings, name="kind", kind="kind", recipe=recipe)
        return {result.step: result.outcome for result in results}

    def identity(self) -> Identity:
        found = Identities(self.settings.state).find("kind")
        assert found is not None
        return found

    def cli(self, *argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "capi_llm", *argv]
        return subprocess.run(command, env=self.env, text=True, capture_output=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane) -> Place:
    # As kind's: the context is called after the cluster.
    data = yaml.safe_load(control_plane.kubeconfig.read_text())
    data["contexts"][0]["name"] = data["current-context"] = "kind-llm-rancher"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(data))
    machine = simulated_docker.make(tmp_path / "machine", tmp_path / "kubeconfig")
    with machine.state() as state:
        state["images"] = [NODE_IMAGE, *MANAGER_IMAGES]
    monkeypatch.setenv("PATH", f"{machine.bin}:{os.environ['PATH']}")
    for name, value in {
        "CAPI_LLM_STATE": str(tmp_path / "state"),
        "CAPI_LLM_PART_KIND": str(machine.kind),
        "CAPI_LLM_MANAGEMENT_RANCHER": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CAPI_LLM_PLANE", raising=False)
    return Place(machine, Settings.from_environment(), dict(os.environ))


@contextlib.contextmanager
def kubelet(control_plane: ControlPlane) -> Iterator[None]:
    """Simulated: every Deployment becomes available."""
    stop = threading.Event()

    def play() -> None:
        with Api.from_kubeconfig(control_plane.kubeconfig) as api:
            while not stop.wait(0.1):
                for obj in api.list(DEPLOYMENTS):
                    seen = (obj.get("status") or {}).get("observedGeneration")
                    if seen != obj["metadata"]["generation"]:
                        status = {
                            **dict.fromkeys(
                                ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1
                            ),
                            "observedGeneration": obj["metadata"]["generation"],
                        }
                        api.merge_patch(DEPLOYMENTS.ref(obj), {"status": status}, subresource="status")

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_plane_is_made_kept_brought_back_and_destroyed(place: Place, control_plane: ControlPlane) -> None:
    with kubelet(control_plane):
        first = place.bootstrap()
        assert first["management-cluster"] == first["loaded-images"] == first["cluster-api"] == "done"
        assert first["docker"] == first["images"] == "unchanged"  # nothing is pulled that is there
        assert not [call for call in place.machine.calls if call.startswith("docker pull")]
        assert place.identity().uid
        kubeconfig = Path(place.identity().kubeconfig)
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        with place.machine.state() as state:
            assert state["node_images"][NODE] == MANAGER_IMAGES

        before = len(control_plane.writes())
        calls = len(place.machine.calls)
        assert set(place.bootstrap().values()) == {"unchanged"}
        assert control_plane.writes()[before:] == []
        acted = ("start", "rm", "pull", "save", "cp", "create")
        assert not [call for call in place.machine.calls[calls:] if call.split()[1] in acted]

        # The plane's file was lost: the cluster is known by its word.
        Identities(place.settings.state).path("kind").unlink()
        uid = control_plane_uid(control_plane)
        again = place.bootstrap()
        assert again["management-cluster"] == "done"  # its identity is recorded anew
        assert place.identity().uid == uid
        assert len([call for call in place.machine.calls if call.startswith("kind create")]) == 1

        # Docker was restarted, and the node did not come back by itself.
        with place.machine.state() as state:
            state["containers"][NODE]["State"]["Status"] = "exited"
        overview = plane.overview(place.settings)
        assert "stopped: llm-rancher-control-plane" in overview.status.message
        assert place.bootstrap()["management-cluster"] == "done"
        assert [call for call in place.machine.calls if call.startswith("docker start")]

    listed = place.cli("planes", "list")
    assert "kind" in listed.stdout, listed.stderr
    plane.destroy(place.settings, name="kind")
    with place.machine.state() as state:
        assert state["containers"] == {}
    assert not kubeconfig.exists()
    assert Identities(place.settings.state).names() == []


def control_plane_uid(control_plane: ControlPlane) -> str:
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        return api.uid()


def test_a_half_made_cluster_is_made_again(place: Place, control_plane: ControlPlane) -> None:
    """The run is killed while kind works, and kind with it."""
    with place.machine.state() as state:
        state["hang"] = True
    run = subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "bootstrap", "--plane", "kind"],
        env=place.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    fifo = place.machine.folder / "fifo"
    until_there(fifo, run)
    run.kill()
    run.communicate()
    # kind goes on for now: the next run waits for it and does not start another beside it.
    with place.machine.state() as state:
        state["hang"] = False
        state["kubeconfig"] = "/nowhere"  # it fails in the end
    again = subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "-v", "bootstrap", "--plane", "kind", "--dry-run"],
        env=place.env, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT,
    )  # fmt: skip
    shown = again.communicate()[0]
    assert "half made, by a run that was stopped" in shown
    worked = threading.Thread(target=lambda: fifo.write_text("go on"))
    worked.start()
    with place.machine.state() as state:
        state["kubeconfig"] = str(place.machine.folder.parent / "kubeconfig")
    with kubelet(control_plane):
        done = place.bootstrap()
    worked.join()
    assert done["management-cluster"] in ("done", "unchanged")
    creates = [call for call in place.machine.calls if call.startswith("kind create")]
    assert len(creates) <= 2
    plane.destroy(place.settings, name="kind")


def until_there(path: Path, run: subprocess.Popen[str]) -> None:
    from capi_llm.waiting import Waiter, failed, pending, ready

    def probe() -> Any:
        if path.exists():
            return ready()
        return pending("not yet") if run.poll() is None else failed(str(run.communicate()[0]))

    until(probe, what=str(path), timeout=30, waiter=Waiter(interval=0.05))


def test_somebody_elses_cluster_of_the_name_is_not_touched(place: Place) -> None:
    place.machine.run(NODE, "llm-rancher")
    with pytest.raises(PrerequisiteMissing, match="there is one called 'llm-rancher' already"):
        place.bootstrap()
    Identities(place.settings.state).save(making.identity(place.settings, Chosen("kind", "kind")))
    done = place.cli("bootstrap")
    assert done.returncode != 0
    plane.destroy(place.settings, name="kind")
    with place.machine.state() as state:
        assert set(state["containers"]) == {NODE}


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"down": True}, "docker daemon: Cannot connect", "start Docker"),
        ({"info": {"ServerVersion": "19.03.1"}}, "19.03.1, 20.10 is needed", "docs.docker.com"),
        ({"info": {"MemTotal": 2 * 1024**3}}, "2.0 GiB for containers, 3.0 GiB are needed", "more memory"),
        ({"api": ["1.50", "1.55"]}, "the daemon speaks 1.50 and newer", "min-api-version"),
        ({"api": ["1.12", "1.40"]}, "docker API: 1.40, 1.41 is needed", "docs.docker.com"),
    ],
)
def test_what_a_machine_lacks_is_told_before_anything_is_touched(
    place: Place, change: dict[str, Any], what: str, fix: str
) -> None:
    with place.machine.state() as state:
        for key, value in change.items():
            state[key] = {**state[key], **value} if isinstance(value, dict) else value
    done = place.cli("bootstrap", "--plane", "kind")
    assert done.returncode == 3, done.stderr
    assert what in done.stderr
    assert fix in done.stderr
    assert "nothing was changed" in done.stderr
    assert not (place.settings.state / "kind").exists()
    assert Identities(place.settings.state).names() == []


def test_a_pull_that_fails_is_told_in_the_registrys_words(place: Place) -> None:
    with place.machine.state() as state:
        state["images"].remove(NODE_IMAGE)
        state["pull"]["*"] = "toomanyrequests: You have reached your unauthenticated pull rate limit."
    with pytest.raises(CapiLlmError, match="can not be pulled") as caught:
        place.bootstrap()
    assert "unauthenticated pull rate limit" in caught.value.why
    assert "docker login" in caught.value.fix
    plane.destroy(place.settings, name="kind")


def test_the_node_has_the_socket_the_mark_and_mirrors(place: Place) -> None:
    identity = making.identity(place.settings, Chosen("kind", "kind"))
    made = config(identity, "/run/user/1/docker.sock", Path("/certs"))
    (node,) = made["nodes"]
    mounts = {item["containerPath"]: item["hostPath"] for item in node["extraMounts"]}
    assert mounts["/var/run/docker.sock"] == "/run/user/1/docker.sock"
    assert mounts["/etc/containerd/certs.d"] == "/certs"
    assert identity.instance in mounts["/etc/capi-llm"]
    assert made["networking"]["apiServerAddress"] == "127.0.0.1"
    assert node["image"] == NODE_IMAGE
    assert len(config(identity, "/s", None)["nodes"][0]["extraMounts"]) == 2


def test_mirrors_on_loopback_are_left_out() -> None:
    info = {"RegistryConfig": {"Mirrors": ["http://127.0.0.1:5000/", "https://mirror.example.com/"]}}
    assert mirrors.usable(info) == ["https://mirror.example.com/"]
    text = mirrors.hosts_toml(mirrors.usable(info))
    assert '[host."https://mirror.example.com"]' in text
    assert mirrors.usable({}) == []


def test_machines_of_a_new_cluster_are_told_of_the_mirrors_of_docker(place: Place) -> None:
    def offered(said: list[str], **flags: Any) -> Any:
        wanted = spec.merge(
            None, spec.from_flags(name="demo", **flags), default_class="default/docker-llm-clusterclass"
        )
        return machine_mirrors.offered(wanted, report=said.append)

    said: list[str] = []
    assert offered(said) == {}
    with place.machine.state() as state:
        state["info"]["RegistryConfig"] = {
            "Mirrors": [
                "https://mirror.example.com/",
                "http://127.0.0.1:5000/",
                "https://me:s3cret-word@mirror.example.com/",
            ]
        }
    assert offered(said) == {
        "registryMirrors": [{"registry": "docker.io", "mirrors": ["https://mirror.example.com"]}]
    }
    assert len(said) == 1
    assert "s3cret" not in said[0]
    assert offered(said, cluster_class="team/other") == {}
    assert offered(said, variables=["registryMirrors=[]"]) == {}
    with place.machine.state() as state:
        state["down"] = True
    assert offered(said) == {}


def test_machines_of_a_new_cluster_are_told_of_the_proxies_of_the_environment() -> None:
    said: list[str] = []

    def offered(cluster_class: str = "default/docker-llm-clusterclass", **proxies: str) -> Any:
        wanted = spec.merge(None, spec.from_flags(name="demo"), default_class=cluster_class)
        return machine_proxies.offered(wanted, proxies, report=said.append)

    assert offered() == {}
    proxies = {"http": "http://10.0.0.1:3128", "https": "http://proxy.example.com:3128/"}
    assert offered(**proxies, no="localhost, 10.0.0.0/8,.svc") == {
        "proxy": {
            "httpProxy": "http://10.0.0.1:3128",
            "httpsProxy": "http://proxy.example.com:3128/",
            "noProxy": "localhost,10.0.0.0/8,.svc",
        }
    }
    assert offered("team/other", **proxies) == {}
    assert offered(http="http://127.0.0.1:3128", https="http://localhost:3128", no="a") == {}
    assert said == []
    assert offered(https="http://me:s3cret-word@proxy.example.com", http="http://a:1", no='"') == {
        "proxy": {"httpProxy": "http://a:1"}
    }
    assert offered(https="http://[::") == {}
    assert len(said) == 2
    assert "s3cret" not in said[0]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("kindest/node:v1", "docker.io/kindest/node:v1"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("localhost/x", "localhost/x:latest"),
        ("reg:5000/x", "reg:5000/x:latest"),
        ("a/b@sha256:1", "docker.io/a/b@sha256:1"),
    ],
)
def test_full_names(name: str, full: str) -> None:
    assert images.full_name(name) == full


def test_the_manifests_are_those_of_the_release(components_folder: Path) -> None:
    objects = components.load(components_folder, authority="PEM", node_label="x/y")
    assert not {"Certificate", "Issuer", "Deployment"} & {item["kind"] for item in objects}
    text = json.dumps(objects)
    assert "inject-ca-from" not in text
    assert base64.b64encode(b"PEM").decode() in text
    with_manager = components.load(components_folder)
    assert {"Certificate", "Issuer"} <= {item["kind"] for item in with_manager}
    for manager, image in versions.CLUSTER_API_IMAGES.items():
        made = components.deployment(components_folder, manager, node_label="x/y")
        spec = made["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (image, "IfNotPresent")
        assert "${" not in json.dumps(made)
        gates = next(arg for arg in container["args"] if arg.startswith("--feature-gates"))
        assert "MachinePool=true" in gates
        assert manager == "capi-bootstrap" or "ClusterTopology=true" in gates
        assert ("nodeSelector" in spec) == (manager == "capi-docker")
    docker = components.deployment(components_folder, "capi-docker")
    (container,) = docker["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert env["DOCKER_HOST"] == ""


def test_variables_are_filled_in() -> None:
    filled = components.substitute("${A:=one} ${B:=two} $${C} ${D:=}", {"B": "2"})
    assert filled == "one 2 ${C} "
    with pytest.raises(CapiLlmError, match="ask for X"):
        components.substitute("${X}", {})


def test_the_objects_are_accepted_strictly(control_plane: ControlPlane, components_folder: Path) -> None:
    authority, _ = certificates.authority("test")
    objects = components.load(components_folder, authority=authority, node_label="x/y")
    objects += [components.deployment(components_folder, name) for name in MANAGERS]
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        apply(api, [item for item in objects if item["kind"] == "Namespace"])
        discovery = Discovery(api)
        for item in objects:
            api.request(
                "PATCH",
                discovery.resource_for(item).ref(item).path,
                body=item,
                query={"fieldManager": "test", "fieldValidation": "Strict", "dryRun": "All", "force": "true"},
                content_type="application/apply-patch+yaml",
                what="can not apply",
                on=item["metadata"]["name"],
            )


def test_webhook_certificates_serve_and_are_renewed(
    control_plane: ControlPlane, components_folder: Path, tmp_path: Path
) -> None:
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        webhook_certs.ensure(api, components_folder)
        before = len(control_plane.writes())
        assert webhook_certs.missing(api, components_folder) == []
        assert webhook_certs.ensure(api, components_folder) == []
        assert control_plane.writes()[before:] == []
        authority = webhook_certs.authority(api)
        namespace, name, hosts = components.serving_hosts(components_folder, "capi-core")
        assert hosts[0] == "capi-webhook-service.capi-system.svc"
        secret = api.get(Ref(SECRETS, name, namespace))
        assert secret["type"] == "kubernetes.io/tls"
        for key in ("tls.crt", "tls.key"):
            (tmp_path / key).write_bytes(base64.b64decode(secret["data"][key]))
        for host in hosts:
            assert handshake(tmp_path, authority, host) == host
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(tmp_path, authority, "other.svc")

        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=340)
        assert webhook_certs.missing(api, components_folder, soon) == list(MANAGERS)
        # Another authority: everything that it did not sign is made again.
        api.delete(webhook_certs.AUTHORITY)
        assert webhook_certs.ensure(api, components_folder) == ["authority"]
        assert webhook_certs.missing(api, components_folder) == []
        assert webhook_certs.authority(api) != authority


def handshake(folder: Path, authority: str, host: str) -> str:
    """A real TLS server with the certificate, and a client that trusts the authority alone."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cadata=authority)
    near, far = socket.socketpair()
    with near, far:

        def serve() -> None:
            with contextlib.suppress(ssl.SSLError, OSError), server.wrap_socket(far, server_side=True) as tls:
                tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with client.wrap_socket(near, server_hostname=host) as tls:
                tls.send(b"x")
        finally:
            near.close()
            thread.join()
    return host


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: demo, cluster: {server: "https://172.18.0.3:6443", certificate-authority-data: QQ==}}]
users: [{name: demo, user: {token: a}}]
contexts: [{name: demo, context: {cluster: demo, user: demo}}]
current-context: demo
"""


def test_a_kubeconfig_names_the_published_port(
    place: Place, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster: dict[str, Any] = {"spec": {"infrastructureRef": {"kind": "DockerCluster"}}}
    monkeypatch.setattr(Api, "find", lambda self, ref: cluster)
    api = Api.from_kubeconfig(control_plane.kubeconfig)

    def server(name: str = "demo") -> str:
        text = published.for_host(api, name, "default", KUBECONFIG)
        return str(yaml.safe_load(text)["clusters"][0]["cluster"]["server"])

    inside = "https://172.18.0.3:6443"
    assert server() == inside  # no such container
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        ports = {"6443/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]}
        place.machine.run("demo-lb", "demo", ports=ports)
        assert server() == f"https://127.0.0.1:{port}"
        place.machine.run("other-lb", "somebody-elses", ports=ports)
        assert server("other") == inside
        cluster["spec"]["infrastructureRef"]["kind"] = "AWSCluster"
        assert server() == inside
        cluster["spec"]["infrastructureRef"]["kind"] = "DockerCluster"
    assert server() == inside  # nothing answers at the published port


def test_images_of_machines_are_known_before(place: Place) -> None:
    wanted = machine_images.of(
        "default/docker-llm-clusterclass", "v1.32.2+x", {"preLoadImages": ["a:1"], "nodeImageRepository": ""}
    )
    assert wanted == (versions.LOAD_BALANCER_IMAGE, "kindest/node:v1.32.2_x", "a:1")
    assert machine_images.of("team/other", "v1.32.2", {}) == ()
    own = machine_images.of("docker-llm-clusterclass", "v1.32.2", {"nodeImageRepository": "own/node"})
    assert own[1] == "own/node:v1.32.2"


def test_an_older_cluster_api_stays_until_upgrade_is_said(place: Place, control_plane: ControlPlane) -> None:
    older = {
        name: image.rpartition(":")[0] + ":v1.10.6" for name, image in versions.CLUSTER_API_IMAGES.items()
    }
    with kubelet(control_plane):
        place.bootstrap()
        with Api.from_kubeconfig(control_plane.kubeconfig) as api:
            for manager in MANAGERS:
                folder = executables.one(place.settings, "capi-components")
                apply(api, [components.deployment(folder, manager, node_label=SOCKET_LABEL, images=older)])
        with place.machine.state() as state:
            state["node_images"][NODE] = list(older.values())
        before = len(control_plane.writes())
        assert set(place.bootstrap().values()) == {"unchanged"}
        # The status is written by the simulated kubelet.
        writes = control_plane.writes()[before:]
        assert [write for write in writes if not write.endswith("/status")] == []
        said = {step.step: step.status.message for step in plane.overview(place.settings).steps}
        assert (
            said["capi-core"] == f"v1.10.6 is there; bootstrap --upgrade takes it to {versions.CLUSTER_API}"
        )
        before = len(control_plane.writes())
        shown = place.cli("upgrade", "plane", "--dry-run", "-o", "json")
        assert shown.returncode == 0, shown.stderr
        would = {step["step"]: (step["version"], step["would"]) for step in json.loads(shown.stdout)["steps"]}
        assert would["capi-core"] == (versions.CLUSTER_API, "do")
        assert would["management-cluster"][1] == "keep"
        asked = place.cli("upgrade", "plane")
        assert (asked.returncode, asked.stdout) == (2, "")
        assert "this needs a confirmation" in asked.stderr
        assert "capi-docker" in asked.stderr  # the plan
        of_no_use = place.cli("upgrade", "plane", "--rancher-version", "v2.13.8", "--yes")
        assert of_no_use.returncode == 2
        assert "--rancher-version is for a plane with Rancher" in of_no_use.stderr
        writes = control_plane.writes()[before:]
        assert [write for write in writes if not write.endswith("/status")] == []

        # A newer one is not taken back. The classes can not be made: no pod serves their webhooks here.
        newer = f"{versions.CLUSTER_API_IMAGES['capi-core'].rpartition(':')[0]}:v1.10.9"
        made = components.deployment(
            folder, "capi-core", node_label=SOCKET_LABEL, images={"capi-core": newer}
        )
        with Api.from_kubeconfig(control_plane.kubeconfig) as api:
            apply(api, [made])
            upgraded = place.cli("upgrade", "plane", "--yes", "--timeout", "40s")
            assert upgraded.returncode == 4, upgraded.stderr
            for step in ("loaded-images: in the node", "capi-docker: 1 of 1 pods are ready"):
                assert f"✓ {step}" in upgraded.stderr, upgraded.stderr
            assert "✓ capi-core" not in upgraded.stderr
            assert upgraded.stderr.count("(step cluster-classes)") == 1, upgraded.stderr
            images_now = {
                item["spec"]["template"]["spec"]["containers"][0]["image"] for item in api.list(DEPLOYMENTS)
            }
        assert images_now == {newer, *MANAGER_IMAGES[1:]}
    plane.destroy(place.settings, name="kind")
