"""``kubeconfig``: files of clusters that are called the same, and --merge with the real kubectl."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
import yaml

from capi_llm.kube.resources import SECRETS, Ref
from capi_llm.sandbox import executables
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import IN_MEMORY, Sandbox

pytestmark = pytest.mark.sandbox

MINE = """\
apiVersion: v1
kind: Config
preferences: {}
clusters:
- {name: work, cluster: {server: "https://work.invalid:6443"}}
users:
- {name: me, user: {token: "007"}}
contexts:
- {name: work, context: {cluster: work, user: me}}
current-context: work
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own kubeconfig, which KUBECONFIG names."""
    path = tmp_path / "home" / "config"
    path.parent.mkdir()
    path.write_text(MINE)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.fixture
def demo(sandbox: Sandbox, namespace: str) -> str:
    """A Secret as a cluster ``demo`` has it; this one leads to the management plane, which answers."""
    value = base64.b64encode(sandbox.kubeconfig.read_bytes()).decode()
    sandbox.api.create(
        SECRETS, {"metadata": {"name": "demo-kubeconfig", "namespace": namespace}, "data": {"value": value}}
    )
    return namespace


def kubectl(sandbox: Sandbox, *argv: str) -> str:
    program = executables.paths(sandbox.settings)["kubectl"]
    return subprocess.check_output([program, *argv], env=sandbox.env, text=True)


def contexts(sandbox: Sandbox) -> set[str]:
    return set(kubectl(sandbox, "config", "get-contexts", "-o", "name").split())


def test_merge_and_kubectl(sandbox: Sandbox, demo: str, config: Path) -> None:
    name = f"{demo}.demo@test"
    done = sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge")
    assert done.stdout == f"{name}\n"
    assert f"Context {name} is in {config}." in done.stderr
    (backup,) = config.parent.glob("config.bak-*")
    assert backup.read_text() == MINE
    assert str(backup) in done.stderr

    assert contexts(sandbox) == {"work", name}
    assert kubectl(sandbox, "config", "current-context") == "work\n"
    assert "kube-system" in kubectl(sandbox, "--context", name, "get", "namespaces", "-o", "name")
    merged, mine = yaml.safe_load(config.read_text()), yaml.safe_load(MINE)
    for section in ("clusters", "users", "contexts"):
        assert merged[section][:-1] == mine[section]

    before = config.stat()
    assert "nothing was changed" in sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge").stderr
    assert (config.stat().st_ino, config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    # kubectl writes the file its own way; our entries are known again.
    kubectl(sandbox, "config", "set-context", name, "--namespace", "kube-system")
    sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge", "--use")
    assert kubectl(sandbox, "config", "current-context") == f"{name}\n"
    assert "namespace: kube-system" in kubectl(sandbox, "config", "view", "--minify")
    assert len(list(config.parent.iterdir())) == 2


def test_a_name_that_is_taken_is_refused(sandbox: Sandbox, demo: str, config: Path) -> None:
    done = sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge", "--as", "work", check=False)
    assert done.returncode == 1
    assert "cluster 'work', context 'work'" in done.stderr
    assert config.read_text() == MINE
    assert list(config.parent.iterdir()) == [config]
    assert sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge", "--as", "mine").stdout == "mine\n"


def test_the_management_plane_into_another_file(sandbox: Sandbox, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "new" / "config"
    done = sandbox.cli("kubeconfig", "--management", "--merge", "--into", str(other), "--use")
    assert done.stdout == "capi-llm-test\n"
    assert "clusters" in kubectl(sandbox, "--kubeconfig", str(other), "api-resources", "-o", "name")
    assert config.read_text() == MINE


@pytest.mark.parametrize(
    "argv",
    [
        ("demo", "--use"),
        ("demo", "--as", "x"),
        ("demo", "--into", "x"),
        ("demo", "--merge", "--stdout"),
        ("demo", "--merge", "--", "kubectl"),
    ],
)
def test_what_does_not_go_together(sandbox: Sandbox, argv: tuple[str, ...], config: Path) -> None:
    assert sandbox.cli("kubeconfig", *argv, check=False).returncode == 2
    assert config.read_text() == MINE


def test_a_broken_file_is_not_touched(sandbox: Sandbox, demo: str, config: Path) -> None:
    config.write_text("clusters: {a: hunter2")
    done = sandbox.cli("kubeconfig", "demo", "-n", demo, "--merge", check=False)
    assert done.returncode == 2
    assert "was not touched" in done.stderr
    assert "hunter2" not in done.stderr
    assert config.read_text() == "clusters: {a: hunter2"


def test_clusters_of_one_name_have_files_of_their_own(sandbox: Sandbox, demo: str, config: Path) -> None:
    value = base64.b64encode(b"apiVersion: v1\nkind: Config\n").decode()
    ref = Ref(SECRETS, "demo-kubeconfig", "default")
    sandbox.api.create(SECRETS, {"metadata": {"name": ref.name}, "data": {"value": value}})
    try:
        one = sandbox.cli("kubeconfig", "demo").stdout.strip()
        other = sandbox.cli("kubeconfig", "demo", "-n", demo).stdout.strip()
        management = sandbox.cli("kubeconfig", "--management").stdout.strip()
    finally:
        sandbox.api.delete(ref)
    names = [Path(path).name for path in (one, other, management)]
    assert names == ["kubeconfig-demo.yaml", f"kubeconfig-{demo}.demo.yaml", "management-test.yaml"]
    assert Path(one).read_text() == "apiVersion: v1\nkind: Config\n"
    assert Path(other).read_text() == Path(management).read_text() == sandbox.kubeconfig.read_text()
    for path in (one, other, management):
        Path(path).unlink()


def test_delete_cluster_takes_its_context_away(sandbox: Sandbox, namespace: str, config: Path) -> None:
    sandbox.cli("new-cluster", "gone", "-n", namespace, *IN_MEMORY, "--workers", "1", "--no-wait")
    secret = Ref(SECRETS, "gone-kubeconfig", namespace)
    until(
        lambda: ready() if sandbox.api.find(secret) else pending("no Secret yet"),
        what="the kubeconfig",
        timeout=120,
        waiter=Waiter(interval=0.2),
    )
    name = sandbox.cli("kubeconfig", "gone", "-n", namespace, "--merge", "--use").stdout.strip()
    assert contexts(sandbox) == {"work", name}
    done = sandbox.cli("delete-cluster", "gone", "-n", namespace, "--yes")
    assert f"Its context was taken out of {config}." in done.stderr
    left = yaml.safe_load(config.read_text())
    mine = yaml.safe_load(MINE)
    assert {key: left[key] for key in ("clusters", "users", "contexts")} == {
        key: mine[key] for key in ("clusters", "users", "contexts")
    }
    assert left["current-context"] == ""
