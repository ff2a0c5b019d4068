"""The command, on a sandbox: what it prints, in the background, listed, stopped, refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from capi_llm.forward.records import Records
from capi_llm.kube.resources import SERVICES, Ref
from sandboxes import Sandbox
from simulated_pods import wait_for


@pytest.fixture
def web(sandbox: Sandbox, namespace: str) -> str:
    """A namespace with a Service ``web`` that has no pods."""
    ports = [{"name": "http", "port": 80}]
    sandbox.api.create(
        SERVICES, {"metadata": {"name": "web", "namespace": namespace}, "spec": {"ports": ports}}
    )
    return namespace


def listed(sandbox: Sandbox) -> list[dict[str, Any]]:
    found = json.loads(sandbox.cli("portforward", "--list", "-o", "json").stdout)
    assert found["apiVersion"].startswith("capi-llm.dev/")
    return list(found["runs"])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_in_the_background_until_it_is_stopped(sandbox: Sandbox, web: str) -> None:
    assert listed(sandbox) == []
    command = ["portforward", "--management", "svc/web:0:80", "-n", web, "--detach", "-o", "json"]
    done = sandbox.cli(*command)
    assert "simulated" in done.stderr
    (local,) = json.loads(done.stdout)["forwards"]
    assert local["name"] == "svc/web"
    assert local["target"] == f"{web}/web:80"
    assert listens(local["port"])
    try:
        (run,) = listed(sandbox)
        assert (run["plane"], run["cluster"], run["background"]) == (sandbox.name, "", True)
        files = sorted((sandbox.settings.state / "forwards").iterdir())
        assert [path.suffix for path in files] == [".json", ".log"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        again = sandbox.cli(*command)
        assert "already" in again.stderr
        assert json.loads(again.stdout)["forwards"] == [local]
        # Its port, asked for by another forward, is named with its holder.
        port = local["port"]
        refused = sandbox.cli("portforward", "--management", f"svc/web:{port}:http", "-n", web, check=False)
        assert refused.returncode == 3
        assert f"portforward of svc/web of {sandbox.name} (pid {run['pid']})" in refused.stderr
        table = sandbox.cli("portforward", "--list").stdout
        assert local["url"] in table
    finally:
        stopped = sandbox.cli("portforward", "--stop")
    assert "svc/web" in stopped.stderr
    assert not listens(local["port"])
    assert listed(sandbox) == []
    assert not (sandbox.settings.state / "forwards").exists()
    assert "Nothing" in sandbox.cli("portforward", "--stop").stderr


def test_the_foreground_ends_with_ctrl_c(sandbox: Sandbox, web: str) -> None:
    command = [sys.executable, "-m", "capi_llm", "portforward", "--management", "svc/web:0:80", "-n", web]
    with subprocess.Popen(
        command, env=sandbox.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == [b"APP", b"ADDRESS", b"TO"]
        (run,) = listed(sandbox)
        assert (run["pid"], run["background"]) == (process.pid, False)
        assert "Nothing" in sandbox.cli("portforward", "--stop").stderr  # it is not in the background
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert listed(sandbox) == []


def test_what_a_killed_one_has_left_is_forgotten(sandbox: Sandbox, web: str) -> None:
    command = ["portforward", "--management", "svc/web:0:80", "-n", web, "--detach"]
    sandbox.cli(*command)
    (run,) = listed(sandbox)
    os.kill(run["pid"], signal.SIGKILL)
    wait_for(lambda: not listed(sandbox), "its end")
    assert not (sandbox.settings.state / "forwards").exists()


def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as other:
        with records.recorded("p", "c", [], name="0a1b2c3d") as run:
            path = tmp_path / "forwards" / "0a1b2c3d.json"
            data = json.loads(path.read_text()) | {"pid": other.pid}
            # The record is of an earlier process that had this number.
            *before, _, started = run.process.split("/")
            data["process"] = "/".join([*before, str(other.pid), str(int(started) - 1)])
            path.write_text(json.dumps(data))
            found = records.find("0a1b2c3d")
            assert found is not None
            records.stop(found)
        assert other.poll() is None
        other.kill()
    assert records.running() == []


def test_a_machine_that_was_started_anew_runs_nothing_of_before(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with records.recorded("p", "c", [], name="0a1b2c3d") as run:
        path = tmp_path / "forwards" / "0a1b2c3d.json"
        _, *rest = run.process.split("/")
        there = json.loads(path.read_text()) | {"process": "/".join(["another-start", *rest])}
        path.write_text(json.dumps(there | {"host": "another-machine"}))
        assert records.running() == []  # nothing is known of it
        assert path.exists()
        path.write_text(json.dumps(there))
        assert records.running() == []
        assert not path.exists()


def test_a_failure_in_the_background_is_told_in_the_foreground(sandbox: Sandbox, web: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        word = f"svc/web:{other.getsockname()[1]}:80"
        done = sandbox.cli("portforward", "--management", word, "-n", web, "--detach", check=False)
    assert done.returncode == 3
    assert "the local port of svc/web is in use" in done.stderr
    assert "--auto-port" in done.stderr
    assert not (sandbox.settings.state / "forwards").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["demo", "svc/web"], 2, "not something to forward"),
        (["demo", "litelm"], 2, "did you mean 'litellm'"),
        (["--stop", "--list"], 2, "exclude each other"),
        (["--stop", "demo", "litellm"], 2, "no apps"),
        (["--stop", "demo"], 1, "nothing of cluster demo"),
        (["no-such", "svc/web:80"], 1, "there is no cluster 'no-such'"),
        (["--management"], 1, "nothing to forward"),
        (["--management", "litellm", "litellm:1"], 1, "litellm is not on this cluster"),
        (["--management", "svc/none:80"], 1, "there is no Service default/none"),
    ],
)
def test_what_is_refused(sandbox: Sandbox, words: list[str], code: int, said: str) -> None:
    done = sandbox.cli("portforward", *words, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_all_known_apps_that_are_there(sandbox: Sandbox, namespace: str) -> None:
    for name, port in (("litellm", 4000), ("openwebui", 8080), ("ingress-nginx-controller", 80)):
        metadata = {"name": name, "namespace": namespace}
        sandbox.api.create(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": port}]}})
    command = [
        "portforward",
        "--management",
        "-n",
        namespace,
        "--auto-port",
        "--detach",
        "-o",
        "json",
        "--open",
    ]
    done = sandbox.cli(*command)
    try:
        local = {item["name"]: item for item in json.loads(done.stdout)["forwards"]}
        assert list(local) == ["openwebui", "litellm", "ingress"]
        assert len({item["port"] for item in local.values()}) == 3
        assert f"Open {local['openwebui']['url']} in a browser" in done.stderr
    finally:
        sandbox.cli("portforward", "--stop")
    sandbox.api.delete(Ref(SERVICES, "litellm", namespace))
