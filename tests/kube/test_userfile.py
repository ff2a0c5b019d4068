"""A person's kubeconfig file is changed whole, under kubectl's own lock, and never broken."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.errors import BadInput, CapiLlmError, Refused
from capi_llm.kube import kubeconfig, merging, userfile
from capi_llm.kube.merging import Mark

SOURCE = kubeconfig.build("https://127.0.0.1:20000", name="demo", token="t")
MINE = (
    "# mine\napiVersion: v1\nkind: Config\nusers:\n- name: me\n  user: {token: secret}\ncurrent-context: me\n"
)


def put(path: Path, name: str = "demo") -> tuple[bool, Path | None]:
    mark = Mark("sandbox", "uid", "default", name)
    return userfile.change(
        path, lambda config: merging.merge(config, SOURCE, name=name, mark=mark, use=False, where=str(path))
    )


def test_a_new_file_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / ".kube" / "config"
    assert put(path) == (True, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["config"]


def test_the_first_change_keeps_a_copy_and_no_change_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    path.chmod(0o644)
    changed, backup = put(path)
    assert changed
    assert backup is not None
    assert backup.read_text() == MINE
    assert {stat.S_IMODE(item.stat().st_mode) for item in (path, backup)} == {0o600}
    before = path.stat()
    assert put(path) == (False, None)
    assert put(path, "more")[1] is None
    assert path.stat().st_ino != before.st_ino
    assert len(list(tmp_path.iterdir())) == 2
    config = yaml.safe_load(path.read_text())
    assert config["users"][0] == {"name": "me", "user": {"token": "secret"}}
    assert config["current-context"] == "me"


def test_nothing_changed_nothing_written(tmp_path: Path) -> None:
    path = tmp_path / "config"
    put(path)
    before = path.stat()
    assert put(path) == (False, None)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "kubeconfig"
    real.parent.mkdir()
    link = tmp_path / "config"
    for text in (None, MINE):  # also one that leads nowhere yet
        real.unlink(missing_ok=True)
        link.unlink(missing_ok=True)
        if text is not None:
            real.write_text(text)
        link.symlink_to(real)
        assert put(link)[0]
        assert link.is_symlink()
        assert merging.marks(yaml.safe_load(real.read_text()))


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"[1, 2]", b"kind: Pod\n"])
def test_what_is_broken_is_not_touched(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        put(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_kubectls_lock_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userfile, "LOCK_SECONDS", 0.3)
    path, lock = tmp_path / "config", tmp_path / "config.lock"
    path.write_text(MINE)
    lock.touch(mode=0)
    with pytest.raises(Refused, match="is locked") as caught:
        put(path)
    assert str(lock) in caught.value.fix
    assert path.read_text() == MINE
    assert lock.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CapiLlmError):
        put(tmp_path / "file" / "config")


_HOLDS = """
import os, sys
from pathlib import Path
from capi_llm.kube import userfile
def edit(config):
    print("ready", flush=True)
    sys.stdin.read()
    return config
userfile.change(Path(sys.argv[1]), edit)
"""


def holder(path: Path) -> subprocess.Popen[Any]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_lock_of_a_killed_capi_llm_is_taken_over_and_of_a_living_one_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(userfile, "LOCK_SECONDS", 0.3)
    path = tmp_path / "config"
    with holder(path) as process:
        with pytest.raises(Refused):
            put(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "config.lock").exists()
        assert put(path)[0]
    assert list(tmp_path.iterdir()) == [path]


def _put_many(path: str, first: int) -> None:
    for number in range(first, first + 8):
        put(Path(path), f"demo-{number}")


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_put_many, args=(str(path), first)) for first in (0, 8)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    names = {mark.name for mark in merging.marks(yaml.safe_load(path.read_text()))}
    assert names == {f"demo-{number}" for number in range(16)}
    assert list(tmp_path.iterdir()) == [path]


def test_forget(tmp_path: Path) -> None:
    ours, foreign, broken = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    put(ours, "one")
    put(ours, "two")
    foreign.write_text(MINE)
    broken.write_text("a: [")
    files = (ours, foreign, broken, tmp_path / "none")
    assert userfile.forget(files, lambda mark: mark.name == "one") == [ours]
    assert [mark.name for mark in merging.marks(yaml.safe_load(ours.read_text()))] == ["two"]
    assert userfile.forget(files, lambda mark: mark.name == "one") == []
    assert (foreign.read_text(), broken.read_text()) == (MINE, "a: [")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
