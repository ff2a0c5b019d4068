"""Planted secrets show nowhere: not in command lines, output, logs, errors, JSON or a support bundle.

One plane is made and worked on through the command line, as a person would, with secrets in every place
where people have them. Meanwhile the command lines of all processes are read again and again.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from capi_llm import plane
from capi_llm.clusters import classes
from capi_llm.kube.resources import CLUSTERS, CONFIGMAPS, SECRETS
from capi_llm.sandbox import processes
from capi_llm.settings import Settings
from capi_llm.support.redact import Redactor
from sandboxes import own_settings

pytestmark = [pytest.mark.sandbox, pytest.mark.destroys]

PLANTED = {
    name: f"pl4nted{number}{os.urandom(6).hex()}"
    for number, name in enumerate(
        ("NGROK_API_KEY", "NGROK_AUTHTOKEN", "proxy", "variable", "changed", "nested", "refused", "broken",
         "typed", "secret", "annotation", "kubeconfig", "log"),
    )
}  # fmt: skip

KEY = re.compile(r"PRIVATE KEY|LS0tLS1CRUdJTiB(?!DRVJU)")
"""A private key, plain or as base64."""


@dataclass
class Run:
    """What came of the commands: outputs by command, command lines seen, and where things are."""

    settings: Settings
    folder: Path
    outputs: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    argv: set[str] = field(default_factory=set)
    environments: dict[str, str] = field(default_factory=dict)
    bundle: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "CAPI_LLM_STATE": str(self.settings.state),
            "CAPI_LLM_CACHE": str(self.settings.cache),
            "CAPI_LLM_KUBECONFIGS": str(self.settings.kubeconfigs),
            "CAPI_LLM_PLANE": "",
            "NGROK_API_KEY": PLANTED["NGROK_API_KEY"],
            "HTTPS_PROXY": f"http://me:{PLANTED['proxy']}@127.0.0.1:9",
        }

    def cli(self, *words: str, code: int = 0) -> None:
        command = " ".join(words)
        done = subprocess.run(
            [sys.executable, "-m", "capi_llm", *words],
            env=self.env,
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=600,
        )
        self.outputs[command] = done.stdout + done.stderr
        self.codes[command] = done.returncode
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stderr}"


@contextlib.contextmanager
def watching(argv: set[str]) -> Iterator[None]:
    """Add to ``argv`` every command line that is seen while the block runs."""
    stop = threading.Event()

    def look() -> None:
        # A new process has its parent's command line at first; an old one's does not change any more.
        seen: dict[str, int] = {}
        while not stop.wait(0.03):
            pids = [name for name in os.listdir("/proc") if name.isdecimal()]
            seen = {pid: seen.get(pid, 0) + 1 for pid in pids}
            for pid in (pid for pid, times in seen.items() if times < 20):
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    argv.add(line.replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def spec(token: str, **more: object) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "capi-llm.dev/v1alpha1",
            "kind": "ClusterSpec",
            "name": "shop",
            "workers": 1,
            "variables": {"apiToken": token, "registry": {"password": PLANTED["nested"]}, **more},
        }
    )


def own_class(folder: Path) -> None:
    """The shipped class with variables that hold secrets."""
    shipped = next(item for item in classes.shipped() if item.name == "in-memory-llm-clusterclass")
    documents = [dict(obj) for obj in shipped.objects]
    for document in documents:
        if document["kind"] == "ClusterClass":
            document["metadata"] = {"name": "secretive"}
            document["spec"] = {
                **document["spec"],
                "patches": [],
                "variables": [
                    {
                        "name": "apiToken",
                        "required": True,
                        "schema": {"openAPIV3Schema": {"type": "string", "pattern": "^pl4nted"}},
                    },
                    {"name": "size", "required": False, "schema": {"openAPIV3Schema": {"type": "integer"}}},
                    {
                        "name": "registry",
                        "required": False,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {"password": {"type": "string"}, "tokens": {"type": "integer"}},
                            }
                        },
                    },
                ],
            }
        else:
            document["metadata"] = {"name": document["metadata"]["name"]}
    folder.mkdir()
    (folder / "class.yaml").write_text(yaml.safe_dump_all(documents))


def prepare(folder: Path) -> None:
    (folder / ".env").write_text(f"NGROK_AUTHTOKEN={PLANTED['NGROK_AUTHTOKEN']}\n")
    own_class(folder / "class")
    (folder / "good.yaml").write_text(spec(PLANTED["variable"]))
    (folder / "changed.yaml").write_text(spec(PLANTED["changed"]))
    (folder / "size.yaml").write_text(spec(PLANTED["variable"], size=5))
    (folder / "refused.yaml").write_text(spec(f"x{PLANTED['refused']}").replace("shop", "other"))
    (folder / "typed.yaml").write_text(
        spec(PLANTED["variable"]).replace(f"password: {PLANTED['nested']}", f"tokens: {PLANTED['typed']}")
    )
    (folder / "broken.yaml").write_text(f"variables:\n  apiToken: '{PLANTED['broken']}\n  x: [\n")
    (folder / "kubeconfig").write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:9"}}],
                "users": [{"name": "a", "user": {"token": PLANTED["kubeconfig"]}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
        )
    )
    (folder / "kubeconfig-broken").write_text(f"users: [{{token: {PLANTED['kubeconfig']}\n: - x")


def work(run: Run) -> None:
    """Every command of the brief, also with -v and --debug, also where it fails."""
    run.cli("-v", "bootstrap", "--name", "secretive")
    run.cli("--debug", "bootstrap")
    with plane.connected(run.settings) as here:
        api = here.api()
        encoded = base64.b64encode(PLANTED["secret"].encode()).decode()
        api.create(
            SECRETS, {"metadata": {"name": "planted", "namespace": "default"}, "data": {"colour": encoded}}
        )
        api.create(
            CONFIGMAPS,
            {"metadata": {"name": "copy", "namespace": "default"}, "data": {"colour": PLANTED["secret"]}},
        )
        run.cli("-v", "new-cluster", "-f", "good.yaml", "--class-dir", "class")
        run.cli("--debug", "new-cluster", "-f", "good.yaml", "--class-dir", "class")
        run.cli("new-cluster", "-f", "changed.yaml", "--class-dir", "class", code=1)
        run.cli("--debug", "new-cluster", "-f", "size.yaml", "--class-dir", "class", code=1)
        run.cli("--debug", "new-cluster", "-f", "refused.yaml", "--class-dir", "class", code=1)
        run.cli("--debug", "new-cluster", "-f", "typed.yaml", "--class-dir", "class", code=2)
        run.cli("--debug", "new-cluster", "-f", "broken.yaml", code=2)
        patch = {"metadata": {"annotations": {"example.org/password": PLANTED["annotation"]}}}
        api.merge_patch(CLUSTERS.ref({"metadata": {"name": "shop", "namespace": "default"}}), patch)
    run.cli("--debug", "scale", "shop", "--workers", "2")
    run.cli("-v", "scale", "shop", "--workers", "3..1", code=2)
    for output in ("table", "json"):
        run.cli("--debug", "status", "-o", output)
        run.cli("events", "shop", "-o", output)
    run.cli("--debug", "events", "nobody", code=1)
    run.cli("--debug", "kubeconfig", "shop")
    run.cli("kubeconfig", "shop", "--", "kubectl", "version", "--client")
    run.cli("kubeconfig", "--management", "--", "kubectl", "get", "secrets", "-A")
    for part in ("capi-core", "audit"):
        run.cli("logs", part, "--tail", "100000")
    run.cli("--debug", "doctor", "-o", "json")
    run.cli("doctor", "--plane", "existing", "--kubeconfig", "kubeconfig", "--context", "a", code=3)
    run.cli("--debug", "doctor", "--plane", "existing", "--kubeconfig", "kubeconfig-broken", code=3)
    log = run.settings.state / "sandboxes" / "secretive" / "log" / "kwok.log"
    with log.open("a") as file:
        file.write(f'level=INFO msg="connecting" apiToken="{PLANTED["log"]}"\n')
    run.cli("--debug", "support-bundle", "-f", "bundle.tar.gz")
    with tarfile.open(run.folder / "bundle.tar.gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            run.bundle[member.name.partition("/")[2]] = file.read().decode()
    with plane.connected(run.settings) as here:
        for pid, part in processes.running(here.identity.instance).items():
            run.environments[part] = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with own_settings() as settings:
        run = Run(replace(settings), tmp_path_factory.mktemp("secrets"))
        prepare(run.folder)
        with watching(run.argv):
            work(run)
        yield run


def found(text: str) -> list[str]:
    """What ``text`` holds of the planted values, by their names, plain or encoded; and private keys."""
    names = [
        name
        for name, value in PLANTED.items()
        if value in text or base64.b64encode(value.encode()).decode()[:-4] in text
    ]
    return names + (["private key"] if KEY.search(text) else [])


def test_what_is_planted_can_be_found(run: Run) -> None:
    """The search itself works, and the secrets are where they were put."""
    assert found(f"a {PLANTED['secret']} b") == ["secret"]
    assert found(base64.b64encode(b"-----BEGIN PRIVATE KEY-----\n").decode()) == ["private key"]
    assert found(base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()) == []
    with plane.connected(run.settings) as here:
        cluster = here.api().get(CLUSTERS.ref({"metadata": {"name": "shop", "namespace": "default"}}))
    assert found(str(cluster)) == ["variable", "nested", "annotation"]
    assert any("new-cluster -f good.yaml" in line for line in run.argv)
    assert any("kube-apiserver" in line for line in run.argv)


def test_no_command_line_holds_a_secret(run: Run) -> None:
    assert [line for line in run.argv if found(line)] == []


def test_no_part_has_a_secret_in_its_environment(run: Run) -> None:
    assert {"supervisor", "etcd", "kube-apiserver", "capi-core"} <= set(run.environments)
    assert {part: found(text) for part, text in run.environments.items() if found(text)} == {}


def test_no_output_holds_a_secret(run: Run) -> None:
    assert {command: found(text) for command, text in run.outputs.items() if found(text)} == {}


def test_errors_still_say_what_is_wrong(run: Run) -> None:
    def of(command: str) -> str:
        return next(text for name, text in run.outputs.items() if command in name)

    assert "variable apiToken is another value" in of("changed.yaml")
    assert "variable size" in of("size.yaml")
    assert "apiToken" in of("refused.yaml")
    assert "***" in of("refused.yaml")
    assert "tokens" in of("typed.yaml")
    assert "line " in of("broken.yaml")


def test_no_log_holds_a_secret(run: Run) -> None:
    logs = list((run.settings.state / "sandboxes" / "secretive" / "log").iterdir())
    assert len(logs) > 10
    texts = {path.name: path.read_text(errors="replace") for path in logs}
    texts["kwok.log"] = texts["kwok.log"].replace(PLANTED["log"], "")  # which the test has put there
    # The API server writes down its own answer to a request that it refused, which quotes the value.
    texts["audit.log"] = Redactor().text(texts["audit.log"])
    assert {name: found(text) for name, text in texts.items() if found(text)} == {}


def test_the_support_bundle_holds_no_secret(run: Run) -> None:
    assert {name: found(text) for name, text in run.bundle.items() if found(text)} == {}
    assert "apiToken=" in run.bundle["logs/kwok.log"]
    assert '"colour"' in run.bundle["secrets.json"]


def test_files_are_private(run: Run) -> None:
    open_to_others = {}
    holding = []
    for folder in (run.settings.state, run.settings.kubeconfigs):
        for path in [folder, *folder.rglob("*")]:
            about = path.lstat()
            if stat.S_IMODE(about.st_mode) & 0o077:
                open_to_others[str(path)] = oct(about.st_mode)
            if stat.S_ISREG(about.st_mode) and KEY.search(path.read_text(errors="replace")):
                holding.append(path.name)
    assert open_to_others == {}
    assert {"admin.key", "admin.kubeconfig", "kubeconfig-shop.yaml"} <= set(holding)
    assert stat.S_IMODE((run.folder / "bundle.tar.gz").stat().st_mode) == 0o600
