"""A simulated ``docker`` and ``kind`` for machines that have neither: two executables and a file of state.

They play what capi-llm asks of the real ones, by the same words: containers with labels, mounts and
published ports, images on the host and in nodes. ``kind create`` makes a container and, as the real
one, writes the kubeconfig last; the cluster behind it is a real API server of the test. The
real ones are in ``scripts/e2e``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INFO = {
    "ServerVersion": "28.2.2",
    "CgroupVersion": "2",
    "MemTotal": 16 * 1024**3,
    "DockerRootDir": "/",
    "Driver": "overlay2",
    "OperatingSystem": "Docker Desktop",
}
LABEL = "io.x-k8s.kind.cluster"

State = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A folder with both executables, to be first on PATH, and what they know."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def kind(self) -> Path:
        return self.bin / "kind"

    @property
    def calls(self) -> list[str]:
        """Every command line so far, without the programs' folder."""
        return (self.folder / "calls").read_text().splitlines()

    @contextlib.contextmanager
    def state(self) -> Iterator[State]:
        """What there is; changes are kept."""
        with _state(self.folder) as found:
            yield found

    def run(self, name: str, cluster: str, **more: Any) -> None:
        """Have a container that something else has made."""
        with self.state() as state:
            state["containers"][name] = container(name, cluster, **more)


def make(folder: Path, kubeconfig: Path | None = None) -> Machine:
    """A machine with Docker; ``kubeconfig`` is what ``kind create`` gives to its callers."""
    (folder / "bin").mkdir(parents=True)
    for name in ("docker", "kind"):
        program = folder / "bin" / name
        here = str(Path(__file__).parent)
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {here!r})\n"
            f"import simulated_docker\nsimulated_docker.{name}({str(folder)!r})\n"
        )
        program.chmod(0o755)
    (folder / "calls").touch()
    state = {
        "info": INFO, "containers": {}, "images": [], "node_images": {}, "pull": {}, "hang": False,
        "kubeconfig": str(kubeconfig or ""), "api": ["1.24", "1.50"], "down": False,
        "networks": {"bridge": "172.17.0.0/16"}, "files": {},
    }  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))
    return Machine(folder)


@contextlib.contextmanager
def _state(folder: Path) -> Iterator[State]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "state.json"
        state = json.loads(path.read_text())
        yield state
        # As a whole: the program that asks may be killed at any time.
        new = folder / "state.json.new"
        new.write_text(json.dumps(state))
        new.replace(path)


def container(
    name: str, cluster: str, *, state: str = "running", mounts: list[str] | None = None,
    ports: dict[str, Any] | None = None, address: str = "",
) -> State:  # fmt: skip
    return {
        "Name": f"/{name}",
        "State": {"Status": state},
        "Config": {"Image": "kindest/node", "Labels": {LABEL: cluster} if cluster else {}},
        "NetworkSettings": {"Ports": ports or {}, "Networks": {"kind": {"IPAddress": address}}},
        "HostConfig": {"RestartPolicy": {"Name": "on-failure"}},
        "Mounts": [{"Source": mount} for mount in mounts or []],
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _fail(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    raise SystemExit(1)


def docker(folder: str) -> None:
    """``docker``, as far as capi-llm uses it."""
    words = sys.argv[1:]
    _note(folder, "docker", words)
    with _state(Path(folder)) as state:
        if state["down"] and words[0] != "context":
            _fail("Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?")
        match words:
            case ["version", "--format", form] if "API" in form:
                _say(" ".join(state["api"]))
            case ["version", *_]:
                _say(state["info"]["ServerVersion"])
            case ["info", *_]:
                _say(json.dumps(state["info"]))
            case ["context", *_]:
                _say("unix:///var/run/docker.sock")
            case ["network", *rest]:
                _network(state, rest)
            case ["ps", *rest]:
                _ps(state, rest)
            case ["container", "inspect", *names]:
                _inspect(state, names)
            case ["start", *names]:
                for name in names:
                    start(state, state["containers"][name])
            case ["stop", *names]:
                for name in names:
                    stopped(state["containers"][name])
            case ["update", "--restart=no", *names]:
                for name in names:
                    state["containers"][name]["HostConfig"]["RestartPolicy"]["Name"] = "no"
            case ["rm", "--force", "--volumes", *names]:
                for name in names:
                    del state["containers"][name]
                    state["node_images"].pop(name, None)
            case ["image", "inspect", "--format", _, name]:
                if name not in state["images"]:
                    _fail(f"Error response from daemon: No such image: {name}")
            case ["pull", name]:
                if refusal := state["pull"].get(name, state["pull"].get("*", "")):
                    _fail(f"Error response from daemon: {refusal}")
                state["images"].append(name)
            case ["save", "--output", path, *names]:
                Path(path).write_text(json.dumps(names))
            case ["cp", "--follow-link", source, path]:
                if source not in state["files"]:
                    _fail(f"Error: Could not find the file {source} in container")
                Path(path).write_text(state["files"][source])
            case ["cp", path, target] if target.endswith("/kind/old-ipv4"):
                state["files"][target] = Path(path).read_text()
            case ["cp", path, _]:
                (Path(folder) / "copied").write_text(Path(path).read_text())
            case ["exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "-q"]:
                _say("\n".join(state["node_images"].get(node, [])))
            case ["exec", node, "ctr", "--namespace=k8s.io", "images", "import", *_]:
                names = json.loads((Path(folder) / "copied").read_text())
                state["node_images"].setdefault(node, []).extend(names)
            case ["exec", _, "containerd", "config", "dump"]:
                _say('  snapshotter = "overlayfs"')
            case ["exec", _, "rm", "-f", _]:
                pass
            case _:
                _fail(f"the simulated docker does not know {words}")


def kind(folder: str) -> None:
    """``kind create cluster``: a container, then, unless it is to hang, the kubeconfig."""
    import yaml

    words = sys.argv[1:]
    _note(folder, "kind", words)
    assert words[:2] == ["create", "cluster"], words
    assert "--retain" in words
    config = yaml.safe_load(Path(words[words.index("--config") + 1]).read_text())
    name = f"{config['name']}-control-plane"
    with _state(Path(folder)) as state:
        if name in state["containers"]:
            _fail(f'ERROR: node(s) already exist for a cluster with the name "{config["name"]}"')
        mounts = [mount["hostPath"] for mount in config["nodes"][0]["extraMounts"]]
        state["containers"][name] = container(name, config["name"], mounts=mounts)
        hang, kubeconfig = state["hang"], state["kubeconfig"]
    fifo = Path(folder) / "fifo"
    if hang:
        os.mkfifo(fifo)
        fifo.read_text()  # until somebody writes
    Path(words[words.index("--kubeconfig") + 1]).write_text(Path(kubeconfig).read_text())


def stopped(container: State) -> None:
    """It does not run, and so has no address."""
    container["State"]["Status"] = "exited"
    for at in container["NetworkSettings"]["Networks"].values():
        at["IPAddress"] = ""


def start(state: State, container: State) -> None:
    """Running, at its fixed address or at the lowest that is free."""
    others = [item["NetworkSettings"]["Networks"].get("kind", {}) for item in state["containers"].values()]
    taken = {at.get("IPAddress") for at in others}
    free = next(f"172.18.0.{number}" for number in range(2, 200) if f"172.18.0.{number}" not in taken)
    container["State"]["Status"] = "running"
    for at in container["NetworkSettings"]["Networks"].values():
        if at.get("fixed") in taken - {at["IPAddress"]}:
            container["State"]["Status"] = "exited"
            _fail("Error response from daemon: Address already in use")
        at["IPAddress"] = at.get("fixed") or free


def _network(state: State, words: list[str]) -> None:
    match words:
        case ["ls", *_]:
            _say("\n".join(state["networks"]))
        case ["inspect", *_, "--format", _]:
            _say("\n".join(state["networks"].values()))
        case ["inspect", name]:
            inside = {
                key: {"Name": key, "IPv4Address": f"{at['IPAddress']}/16"}
                for key, item in state["containers"].items()
                if (at := item["NetworkSettings"]["Networks"].get(name)) and at["IPAddress"]
            }
            subnets = [{"Subnet": state["networks"][name]}]
            _say(json.dumps([{"IPAM": {"Config": subnets}, "Options": {}, "Containers": inside}]))
        case ["create", *options, name]:
            state["networks"][name] = "172.18.0.0/16"
            if "172.18.0.0/16" in options:
                state["networks_with_subnet"] = [name]
        case ["rm", name]:
            del state["networks"][name]
        case ["disconnect", "--force", name, container]:
            if state["containers"][container]["NetworkSettings"]["Networks"].pop(name, None) is None:
                _fail(f"Error response from daemon: container {container} is not connected to network {name}")
        case ["connect", "--ip", address, name, container]:
            if name not in state.get("networks_with_subnet", []):
                _fail(
                    "Error response from daemon: user specified IP address is supported only when connecting "
                    "to networks with user configured subnets"
                )
            at = {"IPAddress": "", "fixed": address}
            state["containers"][container]["NetworkSettings"]["Networks"][name] = at
        case ["connect", name, container]:
            state["containers"][container]["NetworkSettings"]["Networks"][name] = {"IPAddress": ""}
        case _:
            _fail(f"the simulated docker does not know network {words}")


def _ps(state: State, words: list[str]) -> None:
    labels = [words[at + 1].removeprefix("label=") for at, word in enumerate(words) if word == "--filter"]
    form = words[words.index("--format") + 1]
    for name, item in state["containers"].items():
        own = item["Config"]["Labels"]
        if all(_has(own, label) for label in labels):
            _say(own[LABEL] if ".Label" in form else name)


def _has(own: dict[str, str], label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in own and (not equals or own[key] == value)


def _inspect(state: State, names: list[str]) -> None:
    found = [state["containers"][name] for name in names if name in state["containers"]]
    _say(json.dumps(found))
    if len(found) < len(names):
        _fail("Error response from daemon: No such container")


def _note(folder: str, program: str, words: list[str]) -> None:
    with (Path(folder) / "calls").open("a") as file:
        file.write(f"{program} {' '.join(' '.join(words).split())}\n")
