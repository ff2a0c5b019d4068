"""No port is given out twice, whichever state folders a user has."""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capi_llm.identity import Identities, Identity
from capi_llm.sandbox import ports, reservations
from capi_llm.sandbox.workload import reserved_ports

pytestmark = pytest.mark.usefixtures("shared")


def make(state: Path) -> set[int]:
    """A plane whose parts do not listen yet."""
    with reservations.alone(state, "bootstrap"):
        assigned = ports.assign(reserved_ports(state))
        Identities(state).save(Identity("demo", "sandbox", "/none", "", ports=assigned))
    return set(assigned.values())


def test_planes_of_several_state_folders_have_different_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports.secrets, "randbelow", lambda _: 0)  # all look at the same place first
    together = threading.Barrier(4)

    def at_once(number: int) -> set[int]:
        together.wait(10)
        return make(tmp_path / f"state-{number}")

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(at_once, range(4)))
    assert len(set().union(*made)) == 4 * len(ports.NAMES)


def test_a_folder_that_is_gone_reserves_nothing(tmp_path: Path, shared: Path) -> None:
    gone, state = tmp_path / "gone", tmp_path / "state"
    make(gone)
    for path in sorted(gone.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    gone.rmdir()
    own = make(state)
    assert reserved_ports(state) == own
    assert [note.resolve() for note in shared.iterdir() if note.is_symlink()] == [state]


def test_a_note_that_can_not_be_read_hides_no_other(tmp_path: Path, shared: Path) -> None:
    """Nor is it forgotten: the disk behind it may come back."""
    shared.mkdir(mode=0o700)
    loop = shared / "00-loop"
    loop.symlink_to(loop)
    first, second = tmp_path / "first", tmp_path / "second"
    assert make(first) | make(second) == reserved_ports(second)
    assert loop.is_symlink()


def test_looking_makes_nothing(tmp_path: Path, shared: Path) -> None:
    assert reserved_ports(tmp_path / "state") == set()
    assert not shared.exists()


@pytest.mark.parametrize("where", ["file", "full"])
def test_a_place_that_can_not_be_used_keeps_nobody_from_working(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "file":
        (tmp_path / "file").touch()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    else:
        shared.mkdir(mode=0o700)
        (shared / ".planes.lock").mkdir()  # no lock can be had
    assert make(tmp_path / "state") == reserved_ports(tmp_path / "state")


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_place_that_others_may_write_to_is_not_trusted(tmp_path: Path, shared: Path, mode: int) -> None:
    shared.mkdir()
    shared.chmod(mode)
    other = tmp_path / "other"
    make(other)
    assert list(shared.iterdir()) == []
    assert reservations.folders(tmp_path / "state") == {tmp_path / "state"}
    assert reserved_ports(other) == set(Identities(other).all()[0].ports.values())
