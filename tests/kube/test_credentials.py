"""Kubeconfig files: made, written, read; tokens and certificates that change."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted_server import reply

from capi_llm.errors import BadInput, CapiLlmError, Forbidden, NotFound, Unauthorized
from capi_llm.kube import credentials, kubeconfig, plain
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SECRETS
from control_plane import NOBODY_TOKEN, ControlPlane, Pki


def login(plane: ControlPlane, path: Path, user: dict[str, Any]) -> Path:
    config = yaml.safe_load(plane.nobody_kubeconfig.read_text())
    config["users"][0]["user"] = user
    kubeconfig.write(path, kubeconfig.render(config))
    return path


def test_build_and_write(tmp_path: Path) -> None:
    config = kubeconfig.build("https://h:6443", name="demo", ca="CA", client_cert="C", client_key="K")
    assert config["current-context"] == "demo"
    assert config["clusters"][0]["cluster"]["certificate-authority-data"] == "Q0E="
    path = tmp_path / "new" / "demo.yaml"
    kubeconfig.write(path, kubeconfig.render(config))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    kubeconfig.write(path, kubeconfig.render(config))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text()) == config
    assert [entry.name for entry in path.parent.iterdir()] == ["demo.yaml"]


def test_token_and_namespace() -> None:
    config = kubeconfig.build("https://h", name="n", token="t", namespace="apps")
    assert config["users"][0]["user"] == {"token": "t"}
    assert config["contexts"][0]["context"]["namespace"] == "apps"


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CapiLlmError):
        kubeconfig.write(tmp_path / "file" / "config", "x")


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with pytest.raises(NotFound, match="no kubeconfig"):
        Api.from_kubeconfig(path)
    for text in ("", "a: [", "just text", "apiVersion: v1\nkind: Config\n", "- a\n- b\n"):
        path.write_text(text)
        with pytest.raises(BadInput, match="can not be used"):
            Api.from_kubeconfig(path)
    good = kubeconfig.build("https://h", name="one", token="t")
    kubeconfig.write(path, kubeconfig.render(good))
    with pytest.raises(BadInput, match="context two"):
        Api.from_kubeconfig(path, "two")
    path.write_text("users: [{name: a, user: {token: hunter2, broken: [}}]\n")
    with pytest.raises(BadInput) as caught:
        Api.from_kubeconfig(path)
    assert "hunter2" not in str(caught.value)
    good["users"][0]["user"] = {"client-certificate": "missing.crt", "client-key": "missing.key"}
    kubeconfig.write(path, kubeconfig.render(good))
    with pytest.raises(BadInput, match=r"missing\.crt"):
        Api.from_kubeconfig(path)


def test_the_context_that_is_asked_for(control_plane: ControlPlane, tmp_path: Path) -> None:
    admin = yaml.safe_load(control_plane.kubeconfig.read_text())
    nobody = yaml.safe_load(control_plane.nobody_kubeconfig.read_text())
    for part in ("clusters", "users", "contexts"):
        nobody[part][0]["name"] = "nobody"
        admin[part] += nobody[part]
    nobody["contexts"][0]["context"] = {"cluster": "nobody", "user": "nobody"}
    path = tmp_path / "config"
    kubeconfig.write(path, kubeconfig.render(admin))
    with Api.from_kubeconfig(path) as api:
        api.list(SECRETS, "default")
    with Api.from_kubeconfig(path, "nobody") as api, pytest.raises(Forbidden):
        api.list(SECRETS, "default")


def test_a_token_file_that_changes(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "RELOAD_SECONDS", 0.0)
    token = tmp_path / "token"
    token.write_text(NOBODY_TOKEN)
    with Api.from_kubeconfig(login(control_plane, tmp_path / "config", {"tokenFile": str(token)})) as api:
        assert api.server_version()
        path = login(control_plane, tmp_path / "rotating", {"tokenFile": str(token)})
    token.write_text("expired")
    with Api.from_kubeconfig(path) as api:
        token.write_text(NOBODY_TOKEN)
        assert api.server_version()
        token.write_text("expired")
    with Api.from_kubeconfig(path) as api, pytest.raises(Unauthorized):
        api.server_version()


def test_an_exec_plugin_gives_the_token(control_plane: ControlPlane, tmp_path: Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": NOBODY_TOKEN},
    }
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    plugin.chmod(0o755)
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    with (
        Api.from_kubeconfig(login(control_plane, tmp_path / "config", {"exec": spec})) as api,
        pytest.raises(Forbidden, match='User "nobody"'),
    ):
        api.list(SECRETS, "default")


def test_an_exec_plugin_that_fails_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(tmp_path / "no-such-plugin")}
    with pytest.raises(BadInput, match="no-such-plugin"):
        Api.from_kubeconfig(login(control_plane, tmp_path / "config", {"exec": spec}))


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        assert api.server_version()


def test_the_token_is_sent_and_not_told(scripted: Any) -> None:
    api, server = scripted(reply(401, {"kind": "Status", "message": "Unauthorized"}))
    with pytest.raises(Unauthorized) as caught:
        api.server_version()
    assert b"Bearer secret-token" in server.requests[0]
    assert "secret-token" not in str(caught.value)


def test_a_plain_kubeconfig_is_read_without_the_library(control_plane: ControlPlane) -> None:
    source = (
        "import sys\n"
        "from pathlib import Path\n"
        "from capi_llm.kube.client import Api\n"
        "with Api.from_kubeconfig(Path(sys.argv[1])) as api:\n"
        "    api.uid()\n"
        "assert 'kubernetes' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(control_plane.kubeconfig)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"clusters": [{"name": "a", "cluster": {"server": "https://example.invalid"}}]},
        {"users": [{"name": "a", "user": {"exec": {"command": "true"}}}]},
        {"users": [{"name": "a", "user": {"tokenFile": "/nowhere"}}]},
        {"users": [{"name": "a", "user": {}}] * 2},
        {"users": None},
        {"contexts": "none"},
        {"current-context": "b"},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_the_library(change: dict[str, Any], tmp_path: Path) -> None:
    config = kubeconfig.build("https://127.0.0.1:1", name="a", ca=Pki(tmp_path).ca, token="word")
    path = tmp_path / "config"
    path.write_text(kubeconfig.render(config))
    assert plain.read(path, None) is not None
    assert plain.read(path, "b") is None
    path.write_text(kubeconfig.render(config | change))
    assert plain.read(path, None) is None


def test_keys_are_never_in_temporary_files(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would stay there for ever where the process is killed."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with contextlib.closing(Api.from_kubeconfig(control_plane.kubeconfig)) as api:
        assert "-data" in control_plane.kubeconfig.read_text()
        assert list(folder.iterdir()) == []
        assert api.ready().ready
    assert list(folder.iterdir()) == []


def test_a_held_kubeconfig_is_nowhere_on_disk(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with kubeconfig.held(control_plane.kubeconfig.read_text()) as path:
        assert list(tmp_path.iterdir()) == []
        with Api.from_kubeconfig(path) as api:
            assert api.ready().ready
        # Read a second time, as after a 401.
        assert path.read_text() == control_plane.kubeconfig.read_text()
    assert not path.exists()


def test_certificates_that_are_none_are_told(control_plane: ControlPlane, tmp_path: Path) -> None:
    for part, key in (("clusters", "certificate-authority-data"), ("users", "client-certificate-data")):
        config = yaml.safe_load(control_plane.kubeconfig.read_text())
        entry = config[part][0]["cluster" if part == "clusters" else "user"]
        entry[key] = base64.b64encode(b"garbage").decode()
        path = tmp_path / f"{part}.yaml"
        kubeconfig.write(path, kubeconfig.render(config))
        with pytest.raises(BadInput, match="can not be used"):
            Api.from_kubeconfig(path)
