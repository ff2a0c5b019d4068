"""``doctor`` on a real machine, with a real API server, and with an environment that does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.containers import facts
from capi_llm.kube.resources import CRDS, Ref
from capi_llm.settings import Settings
from sandboxes import Sandbox, without_charts

LONGEST = 45.0
"""Seconds: doctor's own limit is 20; the rest is for a busy machine."""

Doctor = dict[str, dict[str, Any]]


def doctor(env: dict[str, str], *argv: str, exit: int = 0, cwd: Path | None = None) -> Doctor:
    """Its answer by kind, each with its checks by name."""
    done = subprocess.run(
        [sys.executable, "-m", "capi_llm", "doctor", "-o", "json", *argv],
        env=env,
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == exit, done.stderr
    answer = json.loads(done.stdout)
    assert answer["apiVersion"] == "capi-llm.dev/v1alpha1"
    return {
        item["kind"]: item | {"checks": {check["name"]: check for check in item["checks"]}}
        for item in answer["planes"]
    }


def environment(settings: Settings, **more: str) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {
        **env,
        "CAPI_LLM_STATE": str(settings.state),
        "CAPI_LLM_CACHE": str(settings.cache),
        "CAPI_LLM_KUBECONFIGS": str(settings.kubeconfigs),
        "CAPI_LLM_PLANE": "",
        **more,
    }


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its mode, size and time of change."""
    if not folder.exists():
        return {}
    paths = [folder, *folder.rglob("*")]
    return {
        str(path): (about.st_mode, about.st_size, about.st_mtime_ns)
        for path in paths
        for about in [path.lstat()]
    }


def test_it_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    """No file, folder or lock, in none of the folders that it looks at."""
    home = tmp_path / "home"
    home.mkdir()
    cache = without_charts(settings.cache, tmp_path)  # other tests put some into the one that all have
    env = environment(settings, HOME=str(home), TMPDIR=str(tmp_path), CAPI_LLM_CACHE=str(cache))
    folders = settings.state, settings.cache / "parts", tmp_path
    before = [snapshot(folder) for folder in folders]
    found = doctor(env, cwd=home)
    assert found["sandbox"]["possible"]
    assert [snapshot(folder) for folder in folders] == before
    assert not settings.state.exists()


def test_a_machine_without_docker_and_without_a_kubeconfig(settings: Settings, tmp_path: Path) -> None:
    env = environment(settings, PATH=str(tmp_path), HOME=str(tmp_path), KUBECONFIG="")
    for name, missing in (("kind", "missing: docker"), ("existing", "missing: kubeconfig")):
        found = doctor(env, "--plane", name, exit=3)
        assert list(found) == [name]
        assert found[name]["supported"] is True
        assert found[name]["message"].startswith(f"can not be made here; {missing}")


def test_an_empty_cache_says_how_each_part_would_come(settings: Settings, tmp_path: Path) -> None:
    env = environment(settings, CAPI_LLM_CACHE=str(tmp_path / "cache"))
    checks = doctor(env, "--plane", "sandbox")["sandbox"]["checks"]
    assert "official download" in checks["part etcd"]["message"]
    assert "official download" not in checks["part capi-core"]["message"]
    assert "Go build" in checks["part capi-core"]["message"]
    assert not (tmp_path / "cache").exists()


def test_what_a_sandbox_can_not_do_without_is_missing(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    env = environment(settings, CAPI_LLM_STATE=str(file / "state" / ("x" * 90)))
    found = doctor(env, "--plane", "sandbox", exit=3)["sandbox"]
    assert found["checks"]["state folder"]["state"] == "missing"
    assert found["checks"]["socket path"]["state"] == "missing"
    assert not found["possible"]


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """An address where connections are taken, and nothing ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def sleeping(folder: Path, name: str) -> None:
    """An executable that never ends, also when it is asked to."""
    program = folder / name
    program.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 600; done\n")
    program.chmod(0o755)


def left(folder: Path) -> list[int]:
    """The processes whose command line names ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_nothing_that_hangs_holds_it_up(settings: Settings, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "helm", "kind"):
        sleeping(programs, name)
    with silent_server() as address:
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(f"https://{address}"))
        env = environment(
            settings, PATH=f"{programs}:{os.environ['PATH']}", KUBECONFIG=str(file), NO_PROXY=address
        )
        started = time.monotonic()
        found = doctor(env)
        took = time.monotonic() - started
    assert took < LONGEST
    assert found["sandbox"]["possible"]
    assert found["kind"]["checks"]["docker daemon"]["state"] == "missing"
    assert "did not end within" in found["kind"]["checks"]["docker daemon"]["message"]
    assert found["kind"]["checks"]["helm"]["state"] == "warning"
    assert "timed out" in found["existing"]["checks"]["server"]["message"]
    assert left(programs) == []


def test_a_docker_that_is_slow_is_waited_for_by_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\nsleep 0.5\necho \'{"ServerVersion": "28.0.0"}\'\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert facts.gather(dict(os.environ)).answers
    hurried = facts.gather(dict(os.environ), seconds=0.1)
    assert "did not end within" in hurried.why
    assert not hurried.answers


def test_a_docker_daemon_that_never_answers(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        env = environment(settings, DOCKER_HOST=f"unix://{path}")
        started = time.monotonic()
        found = doctor(env, "--plane", "kind", exit=3)
        assert time.monotonic() - started < LONGEST
    checks = found["kind"]["checks"]
    assert "docker daemon" in checks or checks["docker"]["state"] == "missing"
    if "docker daemon" in checks:
        assert checks["docker daemon"]["state"] == "missing"


def test_a_dead_proxy_is_told_without_its_password(settings: Settings) -> None:
    with socket.socket() as taken, silent_server() as address:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        env = environment(
            settings,
            HTTPS_PROXY=f"http://me:hunter2@127.0.0.1:{port}",
            http_proxy=f"http://me:hunter2@{address}",
            GOPROXY="https://me:hunter2@goproxy.example,direct",
        )
        found = doctor(env)
        done = subprocess.run(
            [sys.executable, "-m", "capi_llm", "doctor"], env=env, text=True, capture_output=True, timeout=60
        )
    assert "hunter2" not in json.dumps(found) + done.stdout + done.stderr
    assert found["kind"]["checks"]["proxy in nodes"]["state"] == "warning"
    assert f"http://127.0.0.1:{port} (HTTPS_PROXY) does not answer: Connection refused" in done.stdout
    assert f"http://{address} (http_proxy) accepts connections" in done.stdout


def test_credentials_are_known_by_name_only(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NGROK_AUTHTOKEN=planted-one\n")
    env = environment(settings, NGROK_API_KEY="planted-two")
    checks = doctor(env, "--plane", "kind", exit=3, cwd=tmp_path)["kind"]["checks"]
    assert checks["ngrok"]["state"] == "ok"
    assert checks["rancher host"]["state"] == "missing"
    assert "planted" not in json.dumps(checks)


def kubeconfig(server: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "users": [{"name": "a", "user": {"token": "planted-three"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
    )


@pytest.mark.sandbox
def test_a_plane_that_runs_is_looked_at(sandbox: Sandbox) -> None:
    checks = doctor(sandbox.env, "--plane", "sandbox")["sandbox"]["checks"]
    assert checks[f"certificates of plane {sandbox.name}"]["message"].startswith("valid for 36")
    assert checks[f"clock of plane {sandbox.name}"]["state"] == "ok"


@pytest.mark.sandbox
def test_an_existing_cluster_is_looked_at(sandbox: Sandbox) -> None:
    argv = ("--kubeconfig", str(sandbox.kubeconfig), "--context", f"capi-llm-{sandbox.name}")
    audit = sandbox.ctx.sandbox.audit_log
    before = audit.read_text().count("selfsubjectaccessreviews")
    found = doctor(sandbox.env, "--plane", "existing", *argv)["existing"]
    checks = found["checks"]
    assert checks["server"]["message"] == sandbox.api.server
    assert checks["kubernetes"] == checks["kubernetes"] | {"state": "ok", "message": "v1.32.2"}
    assert checks["permissions"]["state"] == "ok"
    assert checks["server clock"]["state"] == "ok"
    assert "CRDs are there, and no Deployment" in checks["Cluster API"]["message"]
    # Other tests put Fleet's CRDs there.
    fleet = "warning" if sandbox.api.find(Ref(CRDS, "bundles.fleet.cattle.io")) else "not needed"
    assert checks["Fleet"]["state"] == fleet
    assert {checks[name]["state"] for name in ("Rancher", "Turtles", "cert-manager")} == {"not needed"}
    assert found["possible"]
    assert audit.read_text().count("selfsubjectaccessreviews") > before


@pytest.mark.sandbox
def test_credentials_that_may_little_are_told(sandbox: Sandbox) -> None:
    """Those of a Cluster API manager: it may read CRDs, and not make roles."""
    path = sandbox.ctx.sandbox.kubeconfig("kube-scheduler")
    found = doctor(sandbox.env, "--plane", "existing", "--kubeconfig", str(path), exit=3)["existing"]
    assert found["checks"]["permissions"]["state"] == "missing"
    assert "clusterrolebindings.rbac.authorization.k8s.io" in found["checks"]["permissions"]["message"]
    assert found["checks"]["software"]["state"] == "warning"


@pytest.mark.sandbox
def test_a_context_that_there_is_not(sandbox: Sandbox) -> None:
    argv = ("--plane", "existing", "--kubeconfig", str(sandbox.kubeconfig), "--context", "other")
    checks = doctor(sandbox.env, *argv, exit=3)["existing"]["checks"]
    assert checks["context"]["state"] == "missing"
    assert f"capi-llm-{sandbox.name}" in checks["context"]["message"]
