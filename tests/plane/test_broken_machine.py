"""Conditions that break commands: what each says, its exit code, and that what it says to do helps.

Each test makes the real condition, and holds what the command says against its row in
docs/failures.md.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from capi_llm import certificates as making
from capi_llm import plane
from capi_llm.errors import ApiError
from capi_llm.identity import Identities
from capi_llm.kube.resources import CLUSTERS, Ref
from capi_llm.sandbox import executables, pki, processes
from capi_llm.settings import Settings
from capi_llm.steps import certificates
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import IN_MEMORY, Sandbox, own_settings, running

pytestmark = [pytest.mark.sandbox, pytest.mark.destroys]

PAGE = Path(__file__).parent.parent.parent / "docs/failures.md"
Done = subprocess.CompletedProcess[str]
TOLD: set[str] = set()

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a disk, or becomes another user: needs root")


def rows() -> dict[str, tuple[str, int]]:
    """Condition → message and exit code, of the tables of the page."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 4 and cells[2].isdecimal():
            found[cells[0]] = cells[1].strip("`"), int(cells[2])
    return found


def told(condition: str, done: Done) -> None:
    """Assert that the command ended and said what the page says of the ``condition``."""
    TOLD.add(condition)
    message, code = rows()[condition]
    pattern = ".*?".join(re.escape(part) for part in message.split("…"))
    shown = f"{condition}: ended with {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == code, shown
    assert re.search(pattern, done.stdout + done.stderr, re.DOTALL), shown
    assert "capi-llm itself failed" not in done.stderr, shown
    if code:
        assert "to go on: " in done.stderr, shown


@pytest.fixture(scope="module")
def mine() -> Iterator[Sandbox]:
    """A sandbox that these tests may break; each leaves it as it should be."""
    with own_settings() as settings, running(settings, "broken") as sandbox:
        yield sandbox


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Fill the disk to its last byte."""
    path = folder / "filling"
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return path


def capi_llm(*argv: str, prefix: tuple[str, ...] = (), **env: str) -> Done:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "capi_llm", *argv],
        env={**os.environ, **env}, text=True, capture_output=True, timeout=300,
    )  # fmt: skip


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {
        "CAPI_LLM_STATE": str(settings.state),
        "CAPI_LLM_CACHE": str(settings.cache),
        "CAPI_LLM_KUBECONFIGS": str(settings.kubeconfigs),
        "CAPI_LLM_PLANE_KIND": "sandbox",
        **more,
    }


# The disk


@as_root
def test_a_full_disk(settings: Settings) -> None:
    with small_disk(900) as disk:
        env = environment(settings, CAPI_LLM_STATE=str(disk / "s"), CAPI_LLM_PLANE="full")
        filling = fill(disk)
        told("the disk of the state folder is full", capi_llm("bootstrap", **env))
        filling.unlink()
        assert capi_llm("bootstrap", **env).returncode == 0

        filling = fill(disk)
        # etcd has reserved some room; when that is used up it ends, and is started again until there is more.
        with plane.connected(Settings.from_environment({**os.environ, **env})) as here:
            api = here.api()
            with contextlib.suppress(ApiError):
                for number in range(300):
                    data = {"data": {"big": "x" * 700_000}, "metadata": {"name": f"big-{number}"}}
                    api.request(
                        "POST",
                        "/api/v1/namespaces/default/configmaps",
                        body=data,
                        on="x",
                        timeout=10,
                        retry_for=0,
                    )
        log = disk / "s/sandboxes/full/log/etcd.log"
        until(
            lambda: ready() if "no space left on device" in log.read_text() else pending("etcd lives"),
            what="the end of etcd", timeout=60,
        )  # fmt: skip
        filling.unlink()
        assert capi_llm("bootstrap", **env).returncode == 0
        done = capi_llm("new-cluster", "demo", *IN_MEMORY, "--workers", "1", **env)
        assert done.returncode == 0, done.stderr
        assert capi_llm("destroy", "--yes", **env).returncode == 0
        assert list(disk.iterdir()) == []


def test_folders_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o555)
        # root may write everywhere; without two capabilities it is as any user.
        capabilities = "-dac_override,-dac_read_search"
        plain = ("setpriv", "--inh-caps=-all", f"--bounding-set={capabilities}") if os.geteuid() == 0 else ()
        env = {"HOME": name, "CAPI_LLM_STATE": "", "CAPI_LLM_CACHE": "", "CAPI_LLM_OFFLINE": "1"}
        told("the home folder may not be written", capi_llm("bootstrap", prefix=plain, **env))
        told("the cache folder may not be written", capi_llm("sandbox", "prepare", prefix=plain, **env))
        assert list(home.iterdir()) == []
        home.chmod(0o755)


# The web


def test_a_dead_proxy(settings: Settings, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        env = environment(settings, CAPI_LLM_CACHE=str(tmp_path / "cache"), PATH="/usr/bin:/bin")
        done = capi_llm("sandbox", "prepare", **env, HTTPS_PROXY=proxy, HTTP_PROXY=proxy, PIP_RETRIES="0")
    told("the proxy is dead, and executables are to be fetched", done)
    # What is in the cache needs no proxy.
    assert capi_llm("sandbox", "prepare", **environment(settings), HTTPS_PROXY=proxy).returncode == 0


# The clock


def wrong_clock(off: str) -> tuple[str, ...]:
    """The words before a command that is to have its clock ``off`` by that much (faketime)."""
    sleeping = f"PYTHONPATH={Path(__file__).parents[1] / 'wrongclock'}"
    return ("faketime", "--exclude-monotonic", "-f", off, "env", sleeping)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime")
@pytest.mark.parametrize("off", ["+1 hour", "-1 hour"])
def test_a_clock_one_hour_off(mine: Sandbox, off: str) -> None:
    """The clock of the command line; that of the sandbox's own parts stays."""
    wrong = wrong_clock(off.replace(" hour", "h"))
    env = environment(mine.settings, CAPI_LLM_PLANE=mine.name)
    told("the clock is one hour off", capi_llm("bootstrap", prefix=wrong, **env))
    try:
        done = capi_llm("new-cluster", "early", *IN_MEMORY, "--workers", "1", prefix=wrong, **env)
        assert done.returncode == 0, done.stderr
    finally:
        done = capi_llm("delete-cluster", "early", "--yes", prefix=wrong, **env)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime")
def test_a_clock_years_off(mine: Sandbox) -> None:
    env = environment(mine.settings, CAPI_LLM_PLANE=mine.name)
    told(
        "the clock is years ahead",
        capi_llm("kubeconfig", "demo", prefix=wrong_clock("+2y"), **env),
    )


# Ports


def test_a_port_that_was_taken(mine: Sandbox) -> None:
    port = mine.ctx.identity.ports["kwok"]
    there = {part: pid for pid, part in processes.running(mine.ctx.identity.instance).items()}
    victims = [psutil.Process(there[part]) for part in ("supervisor", *sorted(set(there) - {"supervisor"}))]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        told("a port of the plane was taken", mine.cli("bootstrap", check=False))
    mine.cli("bootstrap")


# The cache


def test_a_damaged_cache(settings: Settings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for path in (settings.cache / "parts").rglob("*"):
        own = cache / path.relative_to(settings.cache)
        own.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            own.symlink_to(path)
    env = environment(settings, CAPI_LLM_CACHE=str(cache), CAPI_LLM_OFFLINE="1", PATH="/usr/bin:/bin")
    assert capi_llm("sandbox", "prepare", **env).returncode == 0

    def damage(part: str, change: Callable[[bytes], bytes], *, unseen: bool = False) -> tuple[Path, Path]:
        link = cache / executables.paths(settings)[part].relative_to(settings.cache)
        real = link.resolve()
        link.unlink()
        link.write_bytes(change(real.read_bytes()))
        link.chmod(0o755)
        if unseen:
            os.utime(link, ns=(real.stat().st_atime_ns, real.stat().st_mtime_ns))
        return link, real

    def repair(link: Path, real: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        for file in real.parent.iterdir():
            (link.parent / file.name).unlink(missing_ok=True)
            (link.parent / file.name).symlink_to(file)

    kept = damage("kwok", lambda data: data[: len(data) // 2])
    told("an executable in the cache was cut off", capi_llm("bootstrap", **env))
    repair(*kept)
    kept = damage("kwok", lambda data: b"\0" * len(data))
    told("an executable in the cache has another content", capi_llm("bootstrap", **env))
    repair(*kept)
    kept = damage("kwok", lambda data: b"\0" * len(data), unseen=True)
    done = capi_llm("sandbox", "prepare", "--verify", **env)
    told("an executable has another content, the same size and time", done)
    repair(*kept)
    assert capi_llm("sandbox", "prepare", **env).returncode == 0


# The plane file

DAMAGED: dict[str, Any] = {
    "the plane file is no JSON": "{garbage",
    "the plane file is cut off": None,
    "the plane file is of something else": {"kind": "Config"},
    "a value in the plane file has the wrong type": {"ports": "many"},
    "the plane file is of a kind that is not known": {"kind": "moon"},
    "a port is not in the plane file": {"ports": {}},
    "the plane file is of a newer version": {"schema_version": 99, "cli_version": "9.9.9"},
}


@pytest.mark.parametrize("condition", DAMAGED)
def test_a_damaged_plane_file(mine: Sandbox, condition: str) -> None:
    path = Identities(mine.settings.state).path(mine.name)
    good = path.read_text()
    change = DAMAGED[condition]
    if change is None:
        path.write_text(good[:40])
    elif isinstance(change, str):
        path.write_text(change)
    else:
        path.write_text(
            json.dumps(
                change if "kind" in change and change["kind"] == "Config" else {**json.loads(good), **change}
            )
        )
    try:
        # What only changes a cluster needs no ports.
        commands = (("status",), ("bootstrap",), ("new-cluster", "demo"))
        for command in commands[: 2 if change == {"ports": {}} else 3]:
            told(condition, mine.cli(*command, check=False))
        # It hides no other plane.
        other = Identities(mine.settings.state)
        other.save(replace(mine.ctx.identity, name="other"))
        listed = json.loads(mine.cli("planes", "list", "-o", "json").stdout)["planes"]
        assert {item["name"] for item in listed} == {mine.name, "other"}
        table = mine.cli("planes", "list").stdout
        assert mine.name in table
        other.remove("other")
    finally:
        path.write_text(good)
    assert mine.cli("status").stdout.startswith("Ready")


def test_a_plane_with_a_damaged_file_is_destroyed(settings: Settings) -> None:
    with running(settings, "damaged") as sandbox:
        sandbox.cli("new-cluster", "demo", "--workers", "1")
        path = Identities(settings.state).path("damaged")
        path.write_text("garbage")
        assert "damaged" in sandbox.cli("planes", "list").stdout
        told("the plane file is no JSON", sandbox.cli("status", check=False))
        sandbox.cli("destroy", "--name", "damaged", "--yes")
        assert processes.running(sandbox.ctx.identity.instance) == {}
        assert not settings.state.exists()
        assert list(settings.kubeconfigs.iterdir()) == []


def test_what_a_killed_destroy_has_left(settings: Settings) -> None:
    for place in ("locks/gone.lock", "locks/gone.default.demo.lock", "planes/.gone.json.a1b2c3d4.new"):
        (settings.state / place).parent.mkdir(parents=True, exist_ok=True)
        (settings.state / place).touch()
    env = environment(settings)
    told("destroy was killed at its end", capi_llm("destroy", "--yes", **env))
    assert not settings.state.exists()


# Certificates


@contextlib.contextmanager
def past(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Certificates that are made now ended yesterday."""
    with monkeypatch.context() as patch:
        patch.setattr(making, "_BACKDATE", datetime.timedelta(days=30))
        patch.setattr(making, "DAYS", -1)
        patch.setattr(making, "AUTHORITY_DAYS", -1)
        yield


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("the administrator's certificate has expired", "admin"),
        ("the API server's certificate has expired", "kube-apiserver"),
        ("the sandbox's authority has expired", pki.CA),
    ],
)
def test_an_expired_certificate(
    mine: Sandbox, condition: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = mine.ctx.sandbox
    with past(monkeypatch):
        if name == pki.CA:
            pki._write_authority(layout, name)
        for wanted in pki.CERTIFICATES:
            if wanted.name == name or (name == pki.CA and wanted.authority == name):
                pki._write_certificate(layout, wanted)
    for path, text in certificates._files(mine.ctx).items():
        path.write_text(text)

    def refused() -> Any:
        done = mine.cli("new-cluster", "demo", "--timeout", "5s", check=False)
        return ready() if "certificate" in done.stderr else pending(done.stderr)

    # The API server takes up its new files in its own time.
    until(refused, what="the refusal", timeout=90, waiter=Waiter(interval=1))
    told(condition, mine.cli("new-cluster", "demo", check=False))
    assert f"expired: {name}" in mine.cli("status").stdout
    mine.cli("bootstrap")
    assert mine.cli("status").stdout.startswith("Ready")
    assert pki.missing(layout) == []
    again = mine.cli("bootstrap")
    assert "nothing was changed" in again.stderr


# Two commands at once


def test_two_commands_at_once(mine: Sandbox) -> None:
    first = subprocess.Popen(
        [sys.executable, "-m", "capi_llm", "new-cluster", "both", *IN_MEMORY, "--workers", "1"],
        env=mine.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with plane.connected(mine.settings, mine.name) as here:
        api = here.api()
        until(
            lambda: ready() if api.find(Ref(CLUSTERS, "both", "default")) else pending("not created"),
            what="the cluster object", timeout=60, waiter=Waiter(interval=0.1),
        )  # fmt: skip
    first.send_signal(signal.SIGSTOP)  # it holds its locks for as long as it takes
    for command in (
        ("delete-cluster", "both", "--yes"),
        ("scale", "both", "--workers", "2"),
        ("new-cluster", "both"),
    ):
        told("another command works on the cluster", mine.cli(*command, check=False))
    told("a command works on a cluster of the plane", mine.cli("destroy", "--yes", check=False))
    told("a command works on a cluster of the plane", mine.cli("bootstrap", check=False))
    assert mine.cli("status", "-o", "json").returncode == 0
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    mine.cli("delete-cluster", "both", "--yes")


# Output


def test_output_that_can_not_be_written(mine: Sandbox) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "capi_llm", "status", "-o", "json"],
            env=mine.env, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    told(
        "stdout leads to a full disk",
        subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr),
    )


def test_every_condition_of_the_page_has_a_test() -> None:
    source = Path(__file__).read_text()
    assert {condition for condition in rows() if f'"{condition}"' not in source} == set()
