"""Facts of machines, judged: the same facts give the same checks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capi_llm import versions
from capi_llm.checks import GIB, Check, State
from capi_llm.containers import facts, host
from capi_llm.doctor import (
    existing,
    folders,
    kubeconfigs,
    machine,
    parts,
    planes,
    ports,
    programs,
    proxies,
)
from capi_llm.doctor.examine import Verdict

OK, WARNING, MISSING, NOT_NEEDED = State.OK, State.WARNING, State.MISSING, State.NOT_NEEDED
DAY = 86400.0


def states(checks: list[Check]) -> dict[str, State]:
    for check in checks:
        assert bool(check.fix) == (check.state in (WARNING, MISSING)), check
        assert check.message
    return {check.name: check.state for check in checks}


GOOD = machine.Machine(
    python=(3, 11, 7),
    system="linux",
    processor="x86_64",
    free_memory=8 * GIB,
    open_files=20000,
    own_environment=True,
    handles=True,
    now=1000 * DAY,
    installed=999 * DAY,
)


def test_a_good_machine_has_all_it_needs() -> None:
    assert set(states(machine.judge(GOOD, running=False)).values()) == {OK}


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"python": (3, 10, 12)}, "python", MISSING),
        ({"system": "win32"}, "platform", MISSING),
        ({"processor": "riscv64"}, "platform", MISSING),
        ({"processor": "aarch64"}, "platform", WARNING),
        ({"free_memory": GIB}, "memory", MISSING),
        ({"free_memory": 1280 * 1024**2}, "memory", OK),
        ({"own_environment": False}, "processes", MISSING),
        ({"handles": False}, "processes", WARNING),
        ({"system": "darwin", "handles": False, "own_environment": False}, "processes", NOT_NEEDED),
        ({"open_files": 1023}, "open files", MISSING),
        ({"open_files": 1024}, "open files", WARNING),
        ({"open_files": -1}, "open files", OK),
        ({"now": 990 * DAY}, "clock", MISSING),
        ({"now": 998.5 * DAY}, "clock", OK),
    ],
)
def test_a_machine_that_lacks_something(change: dict[str, object], name: str, state: State) -> None:
    assert states(machine.judge(replace(GOOD, **change), running=False))[name] is state  # type: ignore[arg-type]


def test_memory_is_only_a_warning_where_a_sandbox_has_its_own_already() -> None:
    assert states(machine.judge(replace(GOOD, free_memory=GIB), running=True))["memory"] is WARNING


FOLDER = folders.Folder("/s", "/s", exists=True, writable=True, ours=True, mode=0o700, free=10 * GIB)
FOLDERS = folders.Folders(FOLDER, FOLDER, FOLDER, unusable="", building=True)


@pytest.mark.parametrize(
    ("seen", "name", "state"),
    [
        (FOLDERS, "state folder", OK),
        (replace(FOLDERS, state=replace(FOLDER, writable=False)), "state folder", MISSING),
        (replace(FOLDERS, state=replace(FOLDER, mode=0o755)), "state mode", WARNING),
        (replace(FOLDERS, state=replace(FOLDER, mode=0o770)), "state mode", WARNING),
        (replace(FOLDERS, state=replace(FOLDER, ours=False)), "state mode", WARNING),
        (replace(FOLDERS, state=replace(FOLDER, mode=0o755, exists=False)), "state mode", OK),
        (replace(FOLDERS, state=replace(FOLDER, free=GIB - 1)), "state disk", MISSING),
        (replace(FOLDERS, cache=replace(FOLDER, free=6 * GIB - 1)), "cache disk", MISSING),
        (replace(FOLDERS, cache=replace(FOLDER, free=0), building=False), "cache disk", OK),
        (replace(FOLDERS, cache=replace(FOLDER, writable=False)), "cache folder", MISSING),
        (replace(FOLDERS, cache=replace(FOLDER, writable=False), building=False), "cache folder", OK),
        (replace(FOLDERS, kubeconfigs=replace(FOLDER, writable=False)), "kubeconfigs folder", MISSING),
        (replace(FOLDERS, unusable="too long"), "socket path", MISSING),
    ],
)
def test_folders(seen: folders.Folders, name: str, state: State) -> None:
    assert states(folders.judge(seen))[name] is state


PARTS = parts.Parts((), (), (), go="", go_path="", installer="", offline=False)
ABSENT = replace(PARTS, absent=("etcd", "capi-core"), published=("etcd",))
GO = {"go": "go1.26.6", "go_path": "/usr/bin/go"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (PARTS, {"executables": OK, "go": NOT_NEEDED}),
        (replace(ABSENT, **GO), {"part etcd": OK, "part capi-core": OK, "go": OK}),
        (replace(ABSENT, installer="pip"), {"part etcd": OK, "part capi-core": OK, "go": OK}),
        (ABSENT, {"part etcd": OK, "part capi-core": MISSING, "go": MISSING}),
        (replace(ABSENT, go="go1.25.1", go_path="/usr/bin/go"), {"part capi-core": MISSING, "go": MISSING}),
        (replace(ABSENT, installer="pip", offline=True), {"part etcd": MISSING, "go": MISSING}),
        (replace(ABSENT, offline=True, **GO), {"part etcd": WARNING, "part capi-core": WARNING, "go": OK}),
    ],
)
def test_executables_say_how_they_would_come(seen: parts.Parts, expected: dict[str, State]) -> None:
    assert states(parts.judge(seen)).items() >= expected.items()


def test_ports_that_there_are_not_are_missing() -> None:
    assert set(states(ports.judge(ports.Ports("18", "127.0.0.2"))).values()) == {OK}
    none = ports.Ports("", "", no_ports="none", no_loopback="none", fix="destroy one")
    assert set(states(ports.judge(none)).values()) == {MISSING}


PROXY = proxies.Proxy(("https_proxy",), "http://proxy:3128", silent="", loopback=False)


def test_a_proxy_that_does_not_answer_is_told() -> None:
    seen = proxies.Proxies((PROXY, replace(PROXY, silent="timed out")), {"Go proxy": ("direct", "GOPROXY")})
    found = proxies.judge(seen, needed=True)
    assert [check.state for check in found] == [OK, WARNING, OK]
    assert "timed out" in found[1].message
    assert proxies.judge(seen, needed=False)[2].state is NOT_NEEDED
    assert proxies.in_nodes(seen).state is OK
    assert proxies.in_nodes(proxies.Proxies((replace(PROXY, loopback=True),), {})).state is WARNING
    assert proxies.in_nodes(proxies.Proxies((), {})).state is NOT_NEEDED


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pa%40ss@proxy.example:3128/", "http://proxy.example:3128"),
        ("https://__token__:pypi-abc@index.example/simple?key=abc", "https://index.example/simple"),
        ("user:secret@proxy:1", "http://proxy:1"),
        ("http://a:b@c:d@host:1", "http://host:1"),
    ],
)
def test_addresses_are_shown_without_credentials(url: str, shown: str) -> None:
    assert proxies.shown(url) == shown


PLANE = planes.Sandbox("a", running=True, valid_from=0.5 * DAY, valid_to=400 * DAY, now=100 * DAY, skew=0.4)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, OK),
        ({"valid_to": 131 * DAY}, OK),
        ({"valid_to": 130 * DAY}, WARNING),
        ({"valid_to": 99 * DAY}, WARNING),
        ({"valid_from": 101 * DAY}, MISSING),
        ({"valid_from": 0.0, "valid_to": 0.0}, WARNING),
    ],
)
def test_certificates_about_to_expire_are_told(change: dict[str, float], state: State) -> None:
    found = planes.judge(planes.Planes((replace(PLANE, **change),)))  # type: ignore[arg-type]
    assert states(found)["certificates of plane a"] is state


@pytest.mark.parametrize(("skew", "state"), [(59.0, OK), (-61.0, WARNING), (3600.0, WARNING)])
def test_a_server_whose_clock_differs_is_told(skew: float, state: State) -> None:
    assert states(planes.judge(planes.Planes((replace(PLANE, skew=skew),))))["clock of plane a"] is state


def test_a_plane_file_that_is_broken_is_told() -> None:
    assert states(planes.judge(planes.Planes((), ("broken",)))) == {"plane file": WARNING}


INFO = {
    "ServerVersion": "28.2.2",
    "CgroupVersion": "2",
    "MemTotal": 16 * GIB,
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
}
DOCKER = facts.Facts("/usr/bin/docker", info=INFO, free_disk=50 * GIB)


def test_a_good_docker_has_all_that_kind_needs() -> None:
    assert set(states(facts.judge(DOCKER)).values()) == {OK}


@pytest.mark.parametrize(
    ("seen", "name", "state"),
    [
        (facts.Facts("", why="not there"), "docker", MISSING),
        (facts.Facts("/usr/bin/docker", why="no answer"), "docker daemon", MISSING),
        (replace(DOCKER, info=INFO | {"ServerVersion": "19.03.15"}), "docker daemon", MISSING),
        (replace(DOCKER, info=INFO | {"ServerVersion": "20.10.24"}), "docker daemon", OK),
        (replace(DOCKER, info=INFO | {"ServerVersion": "dev"}), "docker daemon", WARNING),
        (replace(DOCKER, info=INFO | {"CgroupVersion": "1"}), "cgroups", WARNING),
        (replace(DOCKER, info=INFO | {"MemTotal": 4 * GIB}), "docker memory", MISSING),
        (replace(DOCKER, info=INFO | {"MemTotal": 8 * GIB}), "docker memory", WARNING),
        (replace(DOCKER, info=INFO | {"Driver": "btrfs"}), "docker storage", WARNING),
        (replace(DOCKER, info=INFO | {"DockerRootDir": "/var/snap/docker"}), "docker storage", WARNING),
        (replace(DOCKER, free_disk=8 * GIB), "docker disk", WARNING),
        (replace(DOCKER, free_disk=GIB), "docker disk", MISSING),
        (replace(DOCKER, api=("1.24", "1.43")), "docker API", OK),
        (replace(DOCKER, api=("1.50", "1.52")), "docker API", MISSING),
        (replace(DOCKER, api=("1.12", "1.40")), "docker API", MISSING),
        (replace(DOCKER, free_disk=-1), "docker disk", WARNING),
        (replace(DOCKER, socket="forbidden"), "docker.sock", MISSING),
        (replace(DOCKER, socket="absent"), "docker.sock", MISSING),
        (replace(DOCKER, socket="elsewhere", host="tcp://10.0.0.1:2376"), "docker.sock", WARNING),
    ],
)
def test_a_docker_that_lacks_something(seen: facts.Facts, name: str, state: State) -> None:
    assert states(facts.judge(seen))[name] is state


def test_programs() -> None:
    seen = {
        "kind": programs.Program("/usr/bin/kind", "v0.30.0"),
        "helm": programs.Program(""),
        "kubectl": programs.Program("/usr/bin/kubectl", why="it did not end"),
        "clusterctl": programs.Program("/usr/bin/clusterctl", versions.CLUSTER_API),
    }
    assert states(programs.judge(seen)) == {
        "kind": OK,
        "helm": NOT_NEEDED,
        "kubectl": WARNING,
        "clusterctl": OK,
    }
    newer = {
        "kind": programs.Program("/usr/bin/kind", "v0.31.0"),
        "clusterctl": programs.Program("/usr/bin/clusterctl", "v1.12.0"),
    }
    assert states(programs.judge(newer)) == {"kind": WARNING, "clusterctl": WARNING}


HOST = host.Host(
    system="linux",
    processor="x86_64",
    inotify={"max_user_watches": 1048576, "max_user_instances": 8192},
    taken=(),
    routes=(("eth0", "10.1.0.0/16"), ("docker0", "172.17.0.0/16")),
    given=(),
)
NETWORKS = replace(DOCKER, subnets=("172.17.0.0/16", "172.18.0.0/16", "fc00::/64"), clusters=("other",))


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({}, "inotify max_user_watches", OK),
        ({"inotify": {"max_user_watches": 524288}}, "inotify max_user_watches", WARNING),
        ({"inotify": {}}, "inotify max_user_instances", WARNING),
        ({"system": "darwin", "inotify": {}}, "inotify", NOT_NEEDED),
        ({"taken": (443,)}, "ports 80, 443", WARNING),
        ({}, "networks", OK),
        ({"routes": (("tun0", "172.16.0.0/12"),)}, "networks", WARNING),
        ({"routes": (("wlan0", "192.168.1.0/24"),)}, "networks", WARNING),
        ({}, "architecture", OK),
        ({"processor": "arm64"}, "architecture", WARNING),
        ({}, "ngrok", NOT_NEEDED),
        ({}, "rancher host", NOT_NEEDED),
        ({"given": ("NGROK_API_KEY",)}, "ngrok", MISSING),
        ({"given": ("NGROK_API_KEY", "NGROK_AUTHTOKEN")}, "ngrok", OK),
        ({"given": ("NGROK_API_KEY", "NGROK_AUTHTOKEN")}, "rancher host", MISSING),
        ({"given": host.VARIABLES}, "rancher host", OK),
    ],
)
def test_what_else_kind_needs(change: dict[str, object], name: str, state: State) -> None:
    seen = replace(HOST, **change)  # type: ignore[arg-type]
    assert states(host.judge(seen, name="capi-llm", docker=NETWORKS))[name] is state


def test_a_kind_cluster_of_that_name_is_in_the_way() -> None:
    assert states(host.judge(HOST, name="capi-llm", docker=NETWORKS))["kind cluster"] is OK
    assert states(host.judge(HOST, name="other", docker=NETWORKS))["kind cluster"] is MISSING
    silent = facts.Facts("/usr/bin/docker", why="no answer")
    assert not {"kind cluster", "networks"} & set(states(host.judge(HOST, name="other", docker=silent)))


FILE = kubeconfigs.Kubeconfig("/k", "the default", ("a", "b"), "a")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (FILE, {"kubeconfig": OK, "context": WARNING}),
        (replace(FILE, asked="b"), {"kubeconfig": OK, "context": OK}),
        (replace(FILE, asked="c"), {"kubeconfig": OK, "context": MISSING}),
        (replace(FILE, current=""), {"kubeconfig": OK, "context": MISSING}),
        (replace(FILE, contexts=()), {"kubeconfig": OK, "context": MISSING}),
        (replace(FILE, more=1, asked="a"), {"kubeconfig": WARNING, "context": OK}),
        (replace(FILE, problem="it is not YAML"), {"kubeconfig": MISSING}),
    ],
)
def test_kubeconfigs(seen: kubeconfigs.Kubeconfig, expected: dict[str, State]) -> None:
    assert states(kubeconfigs.judge(seen)) == expected


NOTHING = {name: existing.Software() for name in existing.SOFTWARE}
SERVER = existing.Existing("https://a", version="v1.32.2", skew=0.0, software=NOTHING)


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({}, "kubernetes", OK),
        ({"version": "v1.28.15"}, "kubernetes", MISSING),
        ({"version": "v1.29.0+k3s1"}, "kubernetes", OK),
        ({"version": "v1.33.9"}, "kubernetes", OK),
        ({"version": "v1.34.0"}, "kubernetes", WARNING),
        ({"version": "dev"}, "kubernetes", WARNING),
        ({"silent": "connection refused"}, "server", MISSING),
        ({"denied": ("create namespaces",)}, "permissions", MISSING),
        ({"unasked": "timed out"}, "permissions", WARNING),
        ({"skew": 90.0}, "server clock", WARNING),
        ({}, "Cluster API", NOT_NEEDED),
        ({"software": None, "unread": "forbidden"}, "software", WARNING),
        ({"software": {"Cluster API": existing.Software(True, True, "v1.10.6")}}, "Cluster API", OK),
        ({"software": {"Cluster API": existing.Software(True, True, "v1.12.3")}}, "Cluster API", WARNING),
        ({"software": {"Cluster API": existing.Software(True, False)}}, "Cluster API", WARNING),
        ({"software": {"Rancher": existing.Software(True, True, "v2.13.1")}}, "Rancher", OK),
    ],
)
def test_an_existing_cluster(change: dict[str, object], name: str, state: State) -> None:
    assert states(existing.judge(replace(SERVER, **change)))[name] is state  # type: ignore[arg-type]


def test_a_verdict_names_what_is_missing() -> None:
    checks = (Check("memory", MISSING, "little", "more"), Check("disk", WARNING, "little", "more"))
    assert not Verdict("sandbox", True, checks).possible
    assert Verdict("sandbox", True, checks).message == "can not be made here; missing: memory (1 warning)"
    assert Verdict("sandbox", True, checks[1:]).possible
    assert not Verdict("kind", False, ()).possible
    assert Verdict("kind", False, ()).message.startswith("not in this version of capi-llm; this machine has")
