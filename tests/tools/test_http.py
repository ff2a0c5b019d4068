"""Downloads from a server that truncates, corrupts, stalls, redirects and refuses."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import Act, Hostile, hostile, sha256

from capi_llm import http
from capi_llm.errors import FetchFailed, Interrupted
from capi_llm.waiting import Cancel
from self_signed import certificate

BODY = bytes(range(256)) * 2000  # 512 000 bytes
OTHER = BODY[::-1]
QUICK = http.Limits(connect=5, stall=5, attempts=3, pause=0.01)
IMPATIENT = replace(QUICK, stall=1)
"""For servers that stall. Others are given more time: this machine may stall, too."""


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "file"


def leftovers(to: Path) -> list[str]:
    return sorted(path.name for path in to.parent.iterdir() if path != to)


def test_whole_file(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(BODY))
    heard: list[tuple[int, int | None]] = []
    digest = http.download(
        url, to, sha256=sha256(BODY).upper(), progress=lambda done, total: heard.append((done, total))
    )
    assert (to.read_bytes(), digest, leftovers(to)) == (BODY, sha256(BODY), [])
    assert heard[0] == (0, len(BODY))
    assert heard[-1] == (len(BODY), len(BODY))


def test_file_without_a_length(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(BODY, length=False))
    assert http.download(url, to, limits=QUICK) == sha256(BODY)


@pytest.mark.parametrize("then", ["close", "reset", "stall"])
def test_goes_on_where_it_broke_off(server: Hostile, to: Path, then: str) -> None:
    url = server.on("/f", Act(BODY, etag='"1"', at=300_000, then=then), Act(BODY, etag='"1"'))
    assert http.download(url, to, sha256=sha256(BODY), limits=IMPATIENT) == sha256(BODY)
    first, second = server.asked("/f")
    assert "Range" not in first
    # A reset may throw away what was on its way.
    assert 0 <= int(second.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")) <= 300_000
    if then != "reset":
        assert (second["Range"], second["If-Range"]) == ("bytes=300000-", '"1"')
    assert to.read_bytes() == BODY


def test_a_later_run_goes_on(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(BODY, etag='"1"', at=1000, then="close"), Act(status=404))
    with pytest.raises(FetchFailed):
        http.download(url, to, limits=QUICK)
    assert leftovers(to) == ["file.part", "file.part.json"]
    server.on("/f", Act(BODY, etag='"1"'))
    http.download(url, to, sha256=sha256(BODY), limits=QUICK)
    assert server.asked("/f")[-1]["Range"] == "bytes=1000-"
    assert (to.read_bytes(), leftovers(to)) == (BODY, [])


def test_date_serves_where_there_is_no_strong_etag(server: Hostile, to: Path) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    acts = [Act(BODY, etag='W/"1"', modified=date, at=10, then="close"), Act(BODY, modified=date)]
    http.download(server.on("/f", *acts), to, limits=QUICK)
    assert server.asked("/f")[1]["If-Range"] == date
    assert to.read_bytes() == BODY


def test_without_a_mark_it_starts_anew(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(BODY, at=10, then="close"), Act(BODY))
    http.download(url, to, limits=QUICK)
    assert "Range" not in server.asked("/f")[1]
    assert to.read_bytes() == BODY


@pytest.mark.parametrize("ranges", ["honest", "none", "ignore-if-range"])
def test_file_that_changed_meanwhile(server: Hostile, to: Path, ranges: str) -> None:
    new = Act(OTHER, etag='"2"', ranges=ranges)
    url = server.on("/f", Act(BODY, etag='"1"', at=1000, then="close"), new)
    assert http.download(url, to, limits=QUICK) == sha256(OTHER)
    assert to.read_bytes() == OTHER


def test_wrong_piece_is_not_used(server: Hostile, to: Path) -> None:
    url = server.on(
        "/f",
        Act(BODY, etag='"1"', at=1000, then="close"),
        Act(BODY, etag='"1"', ranges="wrong"),
        Act(BODY, etag='"1"'),
    )
    assert http.download(url, to, limits=QUICK) == sha256(BODY)


def test_part_of_another_address_is_not_used(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(BODY, etag='"1"'))
    to.with_name("file.part").write_bytes(OTHER[:1000])
    to.with_name("file.part.json").write_text(json.dumps({"url": url + "x", "mark": '"1"'}))
    http.download(url, to, limits=QUICK)
    assert to.read_bytes() == BODY


@pytest.mark.parametrize("size", [len(BODY), len(BODY) + 5])
def test_part_that_is_already_as_long(server: Hostile, to: Path, size: int) -> None:
    url = server.on("/f", Act(BODY, etag='"1"'))
    to.with_name("file.part").write_bytes(b"x" * size)
    to.with_name("file.part.json").write_text(json.dumps({"url": url, "mark": '"1"'}))
    assert http.download(url, to, sha256=sha256(BODY), limits=QUICK) == sha256(BODY)


def test_corrupt_once(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(OTHER, etag='"1"'), Act(BODY, etag='"1"'))
    http.download(url, to, sha256=sha256(BODY), limits=QUICK)
    assert to.read_bytes() == BODY


def test_corrupt_always(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(OTHER))
    with pytest.raises(FetchFailed, match=f"SHA-256 is {sha256(OTHER)}, expected {sha256(BODY)}"):
        http.download(url, to, sha256=sha256(BODY), limits=QUICK)
    assert not to.exists()
    assert leftovers(to) == []
    assert len(server.requests) == 2


def test_old_file_stays_where_the_new_one_is_bad(server: Hostile, to: Path) -> None:
    to.write_bytes(b"old")
    with pytest.raises(FetchFailed):
        http.download(server.on("/f", Act(OTHER)), to, sha256=sha256(BODY), limits=QUICK)
    assert to.read_bytes() == b"old"


def test_always_cut_short(server: Hostile, to: Path) -> None:
    with pytest.raises(FetchFailed, match=r"broke off.*\(3 attempts\)"):
        http.download(server.on("/f", Act(BODY, at=5, then="close")), to, limits=QUICK)


def test_cut_short_often_but_always_further(server: Hostile, to: Path) -> None:
    acts = [Act(BODY, etag='"1"', at=60_000, then="close") for _ in range(9)]
    http.download(server.on("/f", *acts), to, sha256=sha256(BODY), limits=QUICK)
    assert len(server.requests) == 9


def test_always_stalled(server: Hostile, to: Path) -> None:
    with pytest.raises(FetchFailed, match=r"not one byte came for 1 s"):
        http.download(server.on("/f", Act(BODY, at=0, then="stall")), to, limits=IMPATIENT)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_may_pass(server: Hostile, to: Path, status: int) -> None:
    http.download(server.on("/f", Act(status=status), Act(BODY)), to, limits=QUICK)
    assert to.read_bytes() == BODY


def test_does_not_pass(server: Hostile, to: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        http.download(server.on("/f", Act(status=500)), to, limits=QUICK)
    assert caught.value.on == server.url("/f")
    assert caught.value.why == f"127.0.0.1:{server.port} answered 500 Internal Server Error (3 attempts)"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_is_not_asked_again(server: Hostile, to: Path, status: int) -> None:
    with pytest.raises(FetchFailed, match=str(status)):
        http.download(server.on("/f", Act(status=status)), to, limits=QUICK)
    assert len(server.requests) == 1


def test_waits_as_long_as_the_server_asks(server: Hostile, to: Path) -> None:
    url = server.on("/f", Act(status=429, headers={"Retry-After": "0.3"}), Act(BODY))
    started = time.monotonic()
    http.download(url, to, limits=QUICK)
    assert time.monotonic() - started >= 0.3


def test_redirects(server: Hostile, to: Path) -> None:
    server.on("/b", Act(status=307, headers={"Location": server.url("/c")}))
    server.on("/c", Act(BODY))
    http.download(server.on("/a", Act(status=302, headers={"Location": "b"})), to, limits=QUICK)
    assert to.read_bytes() == BODY


@pytest.mark.parametrize("location", ["", "/r", "ftp://127.0.0.1/f", "file:///etc/passwd"])
def test_redirect_to_nowhere(server: Hostile, to: Path, location: str) -> None:
    with pytest.raises(FetchFailed, match="redirects to nowhere"):
        http.download(server.on("/r", Act(status=302, headers={"Location": location})), to, limits=QUICK)


def test_redirect_in_a_circle(server: Hostile, to: Path) -> None:
    server.on("/b", Act(status=302, headers={"Location": "/a"}))
    with pytest.raises(FetchFailed, match="too many redirects"):
        http.download(server.on("/a", Act(status=302, headers={"Location": "/b"})), to, limits=QUICK)


def test_https_does_not_become_http(server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    server.on("/plain", Act(BODY))
    to = tmp_path / "out" / "file"
    with hostile(lambda tls: tls.speak_tls(cert, key)) as tls:
        away = tls.on("/away", Act(status=302, headers={"Location": "http://example.invalid/f"}))
        with pytest.raises(FetchFailed, match="from https to http is not followed"):
            http.download(away, to, limits=QUICK)
        # This machine's own loopback can not be listened to by others.
        home = tls.on("/home", Act(status=302, headers={"Location": server.url("/plain")}))
        http.download(home, to, limits=QUICK)
        assert to.read_bytes() == BODY


def test_unknown_certificate(server: Hostile, tmp_path: Path, to: Path) -> None:
    with (
        hostile(lambda tls: tls.speak_tls(*certificate(tmp_path))) as tls,
        pytest.raises(http.Unreachable, match="certificate"),
    ):
        http.download(tls.on("/f", Act(BODY)), to, limits=QUICK)


def test_nobody_listens(closed_port: int, to: Path) -> None:
    started = time.monotonic()
    with pytest.raises(http.Unreachable) as caught:
        http.download(f"http://127.0.0.1:{closed_port}/f", to)
    assert caught.value.what == f"127.0.0.1:{closed_port} can not be reached"
    assert "refused" in caught.value.why
    assert time.monotonic() - started < 3  # not tried again


def test_nobody_answers(to: Path) -> None:
    with socket.socket() as deaf, socket.socket() as first:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())  # the queue is full now; the next connection hangs
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/f"
        with pytest.raises(FetchFailed, match=r"no answer within 0\.2 s|not one byte"):
            http.download(url, to, limits=http.Limits(connect=0.2, stall=0.2, attempts=1))


def test_proxy_from_the_environment(server: Hostile, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    server.on("http://example.invalid/f", Act(BODY))
    http.download("http://example.invalid/f", to, limits=QUICK)
    assert to.read_bytes() == BODY


def test_proxy_that_refuses(server: Hostile, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url(""))
    with pytest.raises(http.Unreachable, match=r"example\.invalid can not be reached"):
        http.download("https://example.invalid/f", to, limits=QUICK)


def test_proxy_that_makes_no_sense(to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://x")
    with pytest.raises(FetchFailed, match="environment"):
        http.download("https://example.invalid/f", to, limits=QUICK)


@pytest.mark.parametrize("at", [0, 1000])
def test_stop_while_nothing_comes(server: Hostile, to: Path, at: int) -> None:
    cancel = Cancel()
    url = server.on("/f", Act(BODY, at=at, then="stall"))
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        http.download(url, to, cancel=cancel)
    assert time.monotonic() - started < 15
    timer.join()


def test_stop_between_attempts(server: Hostile, to: Path) -> None:
    cancel = Cancel()
    timer = threading.Timer(0.2, cancel.set)
    timer.start()
    with pytest.raises(Interrupted):
        http.download(server.on("/f", Act(status=503)), to, cancel=cancel, limits=http.Limits(pause=60))
    timer.join()


def test_text(server: Hostile) -> None:
    assert http.fetch_text(server.on("/t", Act(status=500), Act("grün".encode())), limits=QUICK) == "grün"
    with pytest.raises(FetchFailed, match="404"):
        http.fetch_text(server.url("/none"), limits=QUICK)
    with pytest.raises(FetchFailed, match="too long"):
        http.fetch_text(server.on("/long", Act(b"x" * (5 << 20))), limits=QUICK)


def test_stop_before_the_answer(server: Hostile, to: Path) -> None:
    cancel = Cancel()
    url = server.on("/f", Act(BODY, gate=server.over))
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        http.download(url, to, cancel=cancel)
    assert time.monotonic() - started < 15
    timer.join()
