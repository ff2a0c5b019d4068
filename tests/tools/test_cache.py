"""The store: one rename, honest looks, locks that end with their holder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from capi_llm.errors import CapiLlmError, Interrupted
from capi_llm.tools import cache
from capi_llm.tools.cache import Found, Store
from capi_llm.waiting import Cancel


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def install(store: Store, text: str = "content") -> Path:
    source = store.root.parent / "made"
    source.write_text(text)
    source.chmod(0o700)
    return store.install("etcd", "v1-abc", {"etcd": source}, {"built by": "test"})


def test_install_and_look(store: Store) -> None:
    assert store.look("etcd", "v1-abc").found is Found.ABSENT
    folder = install(store)
    assert folder == store.root / "parts/etcd/v1-abc"
    assert (folder / "etcd").read_text() == "content"
    assert (folder / "etcd").stat().st_mode & 0o777 == 0o755
    assert store.look("etcd", "v1-abc").found is Found.WHOLE
    assert store.look("etcd", "v1-abc", every_byte=True).found is Found.WHOLE
    assert store.origin("etcd", "v1-abc") == {"built by": "test"}
    assert [path.name for path in folder.parent.iterdir()] == ["v1-abc"]


def damage_size(file: Path) -> None:
    file.write_text("longer content")


def damage_time(file: Path) -> None:
    file.write_text("CONTENT")


def damage_gone(file: Path) -> None:
    file.unlink()


def damage_manifest(file: Path) -> None:
    file.with_name("manifest.json").write_text("{")


def damage_manifest_shape(file: Path) -> None:
    file.with_name("manifest.json").write_text('{"files": [1]}')


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_size, "14 bytes, and not 7"),
        (damage_time, "another content"),
        (damage_gone, "No such file"),
        (damage_manifest, "manifest"),
        (damage_manifest_shape, "manifest"),
    ],
)
def test_damage_is_seen(store: Store, damage, why: str) -> None:
    damage(install(store) / "etcd")
    entry = store.look("etcd", "v1-abc")
    assert entry.found is Found.BROKEN
    assert why in entry.why


def test_silent_damage_is_seen_by_a_full_check(store: Store) -> None:
    file = install(store) / "etcd"
    before = file.stat()
    file.write_text("CONTENT")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.look("etcd", "v1-abc").found is Found.WHOLE
    assert store.look("etcd", "v1-abc", every_byte=True).found is Found.BROKEN


def test_copied_cache_is_whole_and_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file = install(store) / "etcd"
    os.utime(file, (1, 1))
    assert store.look("etcd", "v1-abc").found is Found.WHOLE
    file.chmod(0)
    monkeypatch.setattr(cache, "_sha256", None)
    assert store.look("etcd", "v1-abc").found is Found.WHOLE


def test_put_aside_keeps_the_last_one_only(store: Store) -> None:
    for number in range(3):
        install(store, f"bad {number}")
        aside = store.put_aside("etcd", "v1-abc")
        assert (aside / "etcd").read_text() == f"bad {number}"
    assert list(aside.parent.iterdir()) == [aside]


def test_sweep(store: Store) -> None:
    folder = install(store)
    (folder.parent / ".new-1-x").mkdir()
    (folder.parent / ".new-1-x" / "half").touch()
    store.sweep("etcd")
    assert list(folder.parent.iterdir()) == [folder]


def test_disk_errors_are_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    store = Store(tmp_path / "cache")
    with pytest.raises(CapiLlmError, match="can not be written"):
        install(store)
    with (
        pytest.raises(CapiLlmError, match="CAPI_LLM_CACHE"),
        store.locked(["a"], cancel=None, waits=lambda *_: None),
    ):
        pass


HOLD = """
import sys
from pathlib import Path
from capi_llm.tools import cache
from capi_llm.tools.cache import Store
with Store(Path(sys.argv[1])).locked(["b", "a"], cancel=None, waits=lambda *_: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(store: Store) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("end", ["stdin", "kill"])
def test_lock_is_waited_for_and_its_holder_named(store: Store, end: str) -> None:
    told: list[tuple[str, str]] = []
    with holder(store) as process:

        def waits(name: str, who: str) -> None:
            told.append((name, who))
            if end == "kill":
                process.send_signal(signal.SIGKILL)
            else:
                assert process.stdin is not None
                process.stdin.close()

        with store.locked(["b", "c"], cancel=None, waits=waits):
            assert told == [("b", f"process {process.pid}")]


def test_waiting_for_a_lock_can_be_stopped(store: Store) -> None:
    cancel = Cancel()
    with holder(store) as process:
        with (
            pytest.raises(Interrupted),
            store.locked(["a"], cancel=cancel, waits=lambda *_: threading.Timer(0.1, cancel.set).start()),
        ):
            pass
        process.kill()


def test_manifest_lists_digests(store: Store) -> None:
    manifest = json.loads((install(store) / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["part"] == "etcd"
    assert manifest["files"]["etcd"]["sha256"].startswith("ed7002b4")
