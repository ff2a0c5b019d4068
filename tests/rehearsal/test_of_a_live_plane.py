"""``rehearse`` beside a live plane: it reads there, says what then happens, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from audit import writes
from capi_llm import plane
from capi_llm.clusters import create
from capi_llm.errors import CapiLlmError
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, MACHINES, Ref
from capi_llm.rehearsal import stage
from capi_llm.sandbox.layout import layout
from capi_llm.waiting import Status, Waiter, pending, ready, until
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox

TAINT = [{"name": "nodeTaints", "value": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}]


def change(folder: Path, namespace: str, **topology: Any) -> str:
    file = folder / "change.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": CLUSTERS.api_version,
                "kind": CLUSTERS.kind,
                "metadata": {"name": "live", "namespace": namespace},
                "spec": {"topology": topology},
            }
        )
    )
    return str(file)


def machines(sandbox: Sandbox, namespace: str) -> dict[str, str]:
    return {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in sandbox.api.list(MACHINES, namespace)}


def test_a_rehearsal_says_what_then_happens_and_writes_nothing(
    sandbox: Sandbox, namespace: str, tmp_path: Path
) -> None:
    sandbox.cli("new-cluster", "live", "--namespace", namespace, *IN_MEMORY, "--workers", "1..3")
    before = machines(sandbox, namespace)
    log = sandbox.ctx.sandbox.audit_log
    mark = log.stat().st_size
    file = change(tmp_path, namespace, variables=TAINT)

    done = sandbox.cli("rehearse", "-f", file, "-o", "json", "--exit-code", check=False)

    assert done.returncode == 5, done.stderr
    assert writes(log, agent="capi-llm/", after=mark) == []
    assert machines(sandbox, namespace) == before
    assert not (sandbox.settings.state / "rehearsals").exists()
    assert json.loads(sandbox.cli("planes", "list", "-o", "json").stdout)["planes"][0]["name"] == sandbox.name
    (cluster,) = json.loads(done.stdout)["clusters"]
    fates = {item["name"]: item["fate"] for pool in cluster["pools"] for item in pool["machines"]}
    assert fates.keys() == before.keys()
    assert sorted(fates.values()) == ["left", "replaced"]

    # Now the same for real.
    sandbox.api.merge_patch(
        Ref(CLUSTERS, "live", namespace), {"spec": yaml.safe_load(Path(file).read_text())["spec"]}
    )
    with contextlib.closing(Informers(sandbox.api)) as informers:
        create.wait_ready(informers, "live", namespace, timeout=300)
    after = machines(sandbox, namespace)
    assert {name for name in before if after.get(name) == before[name]} == {
        name for name, fate in fates.items() if fate == "left"
    }


def parts(state: Path) -> list[tuple[psutil.Process, str]]:
    """Processes of the sandboxes of rehearsals under this state folder, and what they execute."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            words = process.cmdline()
            if any(str(state / "rehearsals") in word for word in words):
                found.append((process, words[0]))
    return found


def at_work(sandbox: Sandbox, file: str, *more: str) -> subprocess.Popen[str]:
    """A rehearsal whose sandbox is being made."""
    command = subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "rehearse", "--from", file, *more],
        env=sandbox.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any("kube-apiserver" in executable for _, executable in parts(sandbox.settings.state)):
        assert command.poll() is None, command.stdout.read() if command.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return command


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """What there is, and a change of it."""
    from worlds import small_class, small_cluster

    (tmp_path / "now.yaml").write_text(yaml.safe_dump_all([*small_class("x"), small_cluster("x")]))
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(small_cluster("x", version="v1.33.0")))
    return [str(tmp_path / "now.yaml"), str(tmp_path / "new.yaml")]


def test_a_stopped_rehearsal_takes_its_sandbox_away(sandbox: Sandbox, two: list[str]) -> None:
    command = at_work(sandbox, two[0], "-f", two[1])
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 130, output
    assert parts(sandbox.settings.state) == []
    assert not (sandbox.settings.state / "rehearsals").exists()


def test_a_rehearsal_goes_on_when_its_api_server_and_etcd_die(sandbox: Sandbox, two: list[str]) -> None:
    command = at_work(sandbox, two[0], "-f", two[1], "-o", "json")
    (own,) = (sandbox.settings.state / "rehearsals").glob("*/planes")
    kubeconfig = layout(own.parent, stage.NAME).admin_kubeconfig
    for kubelet in ("v1.32.0", "v1.33.0"):  # as it is, and the change under way
        until(
            lambda version=kubelet: has_machine(kubeconfig, version),
            what=f"a machine of {kubelet}", timeout=120, waiter=Waiter(interval=0.1),
        )  # fmt: skip
        assert command.poll() is None, "it was to wait"
        victims = [
            process
            for process, executable in parts(sandbox.settings.state)
            if Path(executable).name in ("kube-apiserver", "etcd")
        ]
        assert len(victims) == 2
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=10)
    output, _ = command.communicate(timeout=300)
    assert command.returncode == 0, output
    found = json.loads(output[output.index("\n{") :])
    assert found["clusters"][0]["counts"]["replaced"] == 2


def has_machine(kubeconfig: Path, version: str) -> Status:
    try:
        there = Api.from_kubeconfig(kubeconfig, retry_for=0).list(MACHINES)
    except CapiLlmError as error:
        return pending(error.brief)
    return ready() if any(item["spec"]["version"] == version for item in there) else pending("none")


@pytest.fixture
def _no_kept_one(sandbox: Sandbox) -> Iterator[None]:
    yield
    for path in (sandbox.settings.state / "rehearsals").glob("*/planes"):
        plane.destroy(replace(sandbox.settings, state=path.parent, plane=""), name=stage.NAME)


@pytest.mark.usefixtures("_no_kept_one")
def test_a_kept_sandbox_can_be_looked_at_and_destroyed(sandbox: Sandbox, two: list[str]) -> None:
    done = sandbox.cli("rehearse", "--from", two[0], "-f", two[1], "--keep")
    assert "all 2 machines would be replaced" in done.stdout
    look, remove = re.findall(r"(CAPI_LLM_STATE=\S+) (capi-llm .*)", done.stderr)
    assert stage.clean(sandbox.settings) == []
    env = {**sandbox.env, "CAPI_LLM_PLANE": ""}
    for words, argv in (look, remove):
        program = [sys.executable, "-m", "capi_llm", *argv.split()[1:]]
        shown = subprocess.run(
            program, env=env | dict([words.split("=")]), text=True, capture_output=True, check=True
        )
        assert "kubectl" not in argv or "in-memory://c-" in shown.stdout
    assert parts(sandbox.settings.state) == []
    stage.clean(sandbox.settings)
    assert not (sandbox.settings.state / "rehearsals").exists()


def test_what_a_killed_rehearsal_left_is_removed_and_one_at_work_is_not(
    sandbox: Sandbox, two: list[str]
) -> None:
    command = at_work(sandbox, two[0], "-f", two[1])
    assert stage.clean(sandbox.settings) == []
    command.kill()
    command.communicate()
    left = parts(sandbox.settings.state)
    assert left
    assert len(stage.clean(sandbox.settings)) == 1
    psutil.wait_procs([process for process, _ in left], timeout=10)
    assert parts(sandbox.settings.state) == []
    assert not (sandbox.settings.state / "rehearsals").exists()
