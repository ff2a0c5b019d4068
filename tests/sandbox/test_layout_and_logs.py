"""Where a sandbox's files are, and how its logs are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from capi_llm.errors import BadInput, NotFound
from capi_llm.sandbox import logs
from capi_llm.sandbox.layout import Layout, layout
from capi_llm.sandbox.logs import lines

PATIENCE = 20.0


def test_everything_of_a_sandbox_is_in_its_folder(tmp_path: Path) -> None:
    found = layout(tmp_path, "demo")
    assert found.root == tmp_path / "sandboxes" / "demo"
    paths = [
        found.pki,
        found.config,
        found.logs,
        found.etcd_data,
        found.audit_log,
        found.admin_kubeconfig,
        found.supervisor_config,
        found.socket,
        found.log("etcd"),
        found.kubeconfig("kwok"),
        found.certificate("ca"),
        found.key("ca"),
        found.webhook_certs("capi-core"),
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(found.root) for path in paths)


def test_a_folder_too_long_for_a_unix_socket_is_refused_by_its_bytes() -> None:
    rest = len("/supervisor.sock")
    Layout(Path("/" + "x" * (99 - rest))).check()
    for name in ("x" * (100 - rest), "é" * (51 - rest // 2)):
        with pytest.raises(BadInput, match="too long") as caught:
            Layout(Path("/" + name)).check()
        assert "CAPI_LLM_STATE" in caught.value.fix
        assert "101 bytes, 100 at most" in caught.value.why or "é" in name


@pytest.mark.parametrize("odd", ["a ;b", "a #b", "a\t#b", "a\nb", 'a"b'])
def test_a_folder_whose_name_the_supervisors_configuration_can_not_hold_is_refused(odd: str) -> None:
    """A quote inside a value, a comment sign after a space, a new line: it has no escape for these."""
    with pytest.raises(BadInput, match="can not be used") as caught:
        Layout(Path("/") / odd / "sandbox").check()
    assert "CAPI_LLM_STATE" in caught.value.fix


@pytest.mark.parametrize(
    "usual", ["a b", "100%", "a;b", "a#b", "ünï", "a=b", "a'b", "a,b", "$HOME", "%(here)s"]
)
def test_a_folder_with_an_unusual_name_is_good(usual: str) -> None:
    Layout(Path("/") / usual / "sandbox").check()


# Logs


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL_SECONDS", 0.01)


def test_the_end_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{number}\n" for number in range(1000)))
    assert list(lines(path, tail=2, follow=False)) == ["998", "999"]
    assert list(lines(path, tail=0, follow=False)) == []
    assert len(list(lines(path, tail=5000, follow=False))) == 1000


def test_a_last_line_without_its_end_and_bytes_that_are_no_text_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe one\ntwo\r\n\nthree")
    assert list(lines(path, tail=9, follow=False)) == ["\ufffd\ufffd one", "two\r", "", "three"]


def test_a_log_that_is_not_there_yet_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such log yet"):
        next(lines(tmp_path / "log", tail=1, follow=False))


class Follower:
    """Follows a log in a thread; ``next`` waits for the next line."""

    def __init__(self, path: Path, tail: int = 10) -> None:
        self.heard: Queue[str] = Queue()
        self._ended = False
        self._lines = lines(path, tail=tail, follow=True)
        self._thread = threading.Thread(target=self._follow)
        self._path = path
        self._thread.start()

    def _follow(self) -> None:
        for line in self._lines:
            if line == "END":
                self._lines.close()  # type: ignore[attr-defined]
                return
            self.heard.put(line)

    def next(self) -> str:
        return self.heard.get(timeout=PATIENCE)

    def end(self) -> None:
        with self._path.open("a") as file:
            file.write("\nEND\n")
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("old\nlast\n")
    return path


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    follower = Follower(log, tail=1)
    assert follower.next() == "last"
    yield follower
    follower.end()


def write(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def test_following_a_log_shows_lines_as_they_come(log: Path, follower: Follower) -> None:
    for number in range(3):
        write(log, f"{number}\n")
        assert follower.next() == str(number)


def test_a_line_that_is_written_in_pieces_is_one_line(log: Path, follower: Follower) -> None:
    euro = "€".encode()
    for piece in (b"one ", b"two", euro[:1], euro[1:], b"\n"):
        write(log, piece)
        threading.Event().wait(0.03)  # let the follower look in between
    assert follower.next() == "one two€"


def test_a_line_that_was_begun_before_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("first\nbeg")
    follower = Follower(path)
    try:
        assert follower.next() == "first"
        write(path, "un\n")
        assert follower.next() == "begun"
    finally:
        follower.end()


def test_nothing_is_lost_when_the_log_is_rotated(log: Path, follower: Follower) -> None:
    """As the supervisor does it: rename, then a new file. What came just before the rename counts too."""
    for turn in range(20):
        write(log, f"before {turn}\n")
        log.rename(log.with_suffix(".1"))
        log.write_text(f"after {turn}\n")
        assert follower.next() == f"before {turn}"
        assert follower.next() == f"after {turn}"
