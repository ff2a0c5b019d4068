"""What is killed comes back, by itself or by ``bootstrap``; what is destroyed is gone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from capi_llm import plane
from capi_llm.kube.resources import CLUSTERS, MACHINES, Ref
from capi_llm.sandbox import ports, processes, workload
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.sandbox.supervisor import Supervisor
from capi_llm.settings import Settings
from capi_llm.waiting import Status, Waiter, pending, ready, until
from sandboxes import IN_MEMORY, Sandbox, running

pytestmark = [pytest.mark.sandbox, pytest.mark.destroys]


def pids(sandbox: Sandbox) -> dict[str, int]:
    return {part: pid for pid, part in processes.running(sandbox.ctx.identity.instance).items()}


def kill(sandbox: Sandbox, *parts: str) -> None:
    there = pids(sandbox)
    victims = [psutil.Process(there[part]) for part in parts]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)


def end_of_clusters(sandbox: Sandbox) -> None:
    """Kill the processes of all workload clusters, their supervisors first."""
    found = processes.running_below(sandbox.ctx.identity.instance)
    assert found
    victims = [
        psutil.Process(pid) for pid, _ in sorted(found.items(), key=lambda item: item[1] != "supervisor")
    ]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)


def all_ready(sandbox: Sandbox) -> Status:
    wrong = [step for step in plane.overview(sandbox.settings, sandbox.name).steps if not step.status.ready]
    return pending(f"{wrong[0].step}: {wrong[0].status.message}") if wrong else ready()


def test_what_is_killed_comes_back(settings: Settings) -> None:
    with running(settings, "recovery") as sandbox:
        uid = sandbox.api.uid()

        # A dead part is started again by the supervisor, nothing else is touched.
        before = pids(sandbox)
        kill(sandbox, "kube-scheduler")
        until(lambda: all_ready(sandbox), what="the sandbox", timeout=60, waiter=Waiter(interval=0.5))
        after = pids(sandbox)
        assert {part for part in before if before[part] != after[part]} == {"kube-scheduler"}

        # During a wait, the API server and every manager are killed: the command goes on.
        command = subprocess.Popen(
            [sys.executable, "-m", "capi_llm", "new-cluster", "demo", "--workers", "1..3"],
            env=sandbox.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        until(
            lambda: ready() if sandbox.api.find(Ref(CLUSTERS, "demo", "default")) else pending("not created"),
            what="the cluster object", timeout=60, waiter=Waiter(interval=0.1),
        )  # fmt: skip
        for part in ("kube-apiserver", *MANAGERS):
            kill(sandbox, part)
        output, _ = command.communicate(timeout=300)
        assert command.returncode == 0, output
        assert "is ready" in output

        # The supervisor dies, its parts live on without it: bootstrap puts that right.
        kill(sandbox, "supervisor")
        sandbox.cli("bootstrap")
        assert sandbox.api.uid() == uid

        # As after a restart of the machine: everything is gone.
        kill(sandbox, "supervisor")
        kill(sandbox, *pids(sandbox))
        end_of_clusters(sandbox)
        assert pids(sandbox) == {}
        status = sandbox.cli("status", "-o", "json")
        assert json.loads(status.stdout)["plane"]["ready"] is False
        sandbox.cli("bootstrap")
        assert sandbox.api.uid() == uid
        sandbox.cli("wait", "cluster", "demo", "--timeout", "120s")

        (cluster,) = workload.of_sandbox(sandbox.ctx.sandbox)
        until(
            lambda: (
                ready()
                if len(processes.running_below(sandbox.ctx.identity.instance)) == 6
                else pending("its control plane is not back yet")
            ),
            what="the cluster's processes", timeout=120, waiter=Waiter(interval=0.2),
        )  # fmt: skip

        sandbox.cli("portforward", "--management", "svc/kubernetes:0:443", "--detach")

        # Also what a dead provider can not take away any more.
        kill(sandbox, "supervisor", "kwok-provider")
        layout, assigned = sandbox.ctx.sandbox, sandbox.ctx.identity.ports
        saved = settings.kubeconfigs / "kubeconfig-demo.yaml"
        assert saved.exists()
        sandbox.cli("destroy", "--yes")
        assert pids(sandbox) == {}
        assert not layout.root.exists()
        assert not saved.exists()
        assert processes.running_below(sandbox.ctx.identity.instance) == {}
        assert all(ports.free(port) for port in (*assigned.values(), *cluster.ports.values()))
        assert not settings.state.exists()


def test_api_server_and_etcd_die_during_waits(settings: Settings) -> None:
    """A command that waits goes on by itself, and what it promises is there in the end. Those that are not
    here are in scripts/soak."""
    with running(settings, "waits") as sandbox:
        api, demo = sandbox.api, Ref(CLUSTERS, "demo", "default")

        def start(*argv: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-m", "capi_llm", *argv],
                env=sandbox.env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip

        def goes_on(command: subprocess.Popen[str], *victims: str) -> None:
            assert command.poll() is None, f"it was to wait: {command.communicate()}"
            kill(sandbox, *victims)
            _, said = command.communicate(timeout=300)
            assert command.returncode == 0, f"{command.args}: {said}"

        def eventually(true: Callable[[], object], what: str) -> None:
            until(
                lambda: ready() if true() else pending("not yet"),
                what=what, timeout=120, waiter=Waiter(interval=0.05),
            )  # fmt: skip

        def machines() -> int:
            return len([item for item in api.list(MACHINES) if "deletionTimestamp" not in item["metadata"]])

        def versions() -> list[str]:
            return [item["spec"]["version"] for item in api.list(MACHINES)]

        both = "kube-apiserver", "etcd"

        command = start("new-cluster", "demo", *IN_MEMORY, "--workers", "1..3", "--version", "v1.32.1")
        eventually(lambda: api.find(demo), "the cluster object")
        goes_on(command, *both)
        assert machines() == 2

        command = start("upgrade", "cluster", "demo", "--to", "v1.33.0")
        eventually(lambda: "v1.33.0" in versions() or command.poll() is not None, "the first new machine")
        goes_on(command, *both)
        assert versions() == ["v1.33.0", "v1.33.0"]

        supervisor = Supervisor(sandbox.ctx.sandbox)
        supervisor.stop_part("kube-apiserver")
        command = start("wait", "plane")
        assert command.stderr is not None
        command.stderr.readline()
        supervisor.start_part("kube-apiserver")
        goes_on(command, "etcd")
        assert plane.overview(sandbox.settings, sandbox.name).ready

        command = start("delete-cluster", "demo", "--yes")
        eventually(
            lambda: "deletionTimestamp" in (api.find(demo) or {"metadata": {}})["metadata"], "the deletion"
        )
        goes_on(command, *both)
        assert api.list(CLUSTERS) == api.list(MACHINES) == []


def test_two_sandboxes_side_by_side(settings: Settings) -> None:
    errors: list[BaseException] = []

    def make(name: str) -> None:
        try:
            plane.bootstrap(settings, name=name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with running(settings, "left") as left, running(settings, "right") as right:
        one, other = left.ctx.identity, right.ctx.identity
        assert not set(one.ports.values()) & set(other.ports.values())
        assert one.loopback != other.loopback
        assert left.api.uid() != right.api.uid()
        for sandbox in (left, right):
            sandbox.cli("new-cluster", "demo", *IN_MEMORY, "--workers", "0", "--timeout", "180s")
        left.cli("destroy", "--yes")
        status = json.loads(right.cli("status", "-o", "json").stdout)
        assert status["plane"]["ready"] is True
        assert status["clusters"][0]["ready"] is True


def test_killed_at_random_and_run_again(settings: Settings) -> None:
    """A short form of scripts/soak: the command line dies anywhere, the next run goes on."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    env = {
        **os.environ,
        "CAPI_LLM_STATE": str(settings.state),
        "CAPI_LLM_CACHE": str(settings.cache),
        "CAPI_LLM_KUBECONFIGS": str(settings.kubeconfigs),
        "CAPI_LLM_PLANE": "killed",
    }

    def run(*argv: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "capi_llm", *argv]
        return subprocess.run(command, env=env, text=True, capture_output=True, timeout=seconds)

    for argv in (("bootstrap",), ("new-cluster", "demo", "--timeout", "180s")):
        for _ in range(3):
            with contextlib.suppress(subprocess.TimeoutExpired):  # which kills it
                run(*argv, seconds=dice.uniform(0.2, 9))
        done = run(*argv)
        assert done.returncode == 0, f"seed {seed}: {argv}: {done.stderr}\n{run('status').stdout}"
    assert plane.overview(settings, "killed").ready
    assert (Path(settings.kubeconfigs) / "kubeconfig-demo.yaml").exists()
