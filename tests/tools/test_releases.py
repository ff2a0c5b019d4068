"""Official downloads: checksums, archives, digests that hold, servers that are not there."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hostile import Act, Hostile, sha256
from tiny import ELF, release_part

from capi_llm import http
from capi_llm.errors import CapiLlmError, FetchFailed
from capi_llm.tools.attempts import Attempt
from capi_llm.tools.cache import Store
from capi_llm.tools.parts import Part, Platform, Release
from capi_llm.tools.releases import Releases, find_checksum

LINUX = Platform("linux", "amd64")
WHERE = "/v1.0.0/linux/amd64/etcd"
QUICK = http.Limits(connect=5, stall=5, attempts=2, pause=0.01)


class Fetch:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.heard: list[tuple[str, str, float | None]] = []

    def __call__(self, *parts: Part, platform: Platform = LINUX) -> list[Attempt | None]:
        def progress(part: str, message: str, fraction: float | None) -> None:
            self.heard.append((part, message, fraction))

        releases = Releases(self.store, platform, progress, None, QUICK)
        return [releases.fetch(part) for part in parts]

    def file(self, part: Part, platform: Platform = LINUX) -> Path:
        return self.store.folder(part.name, part.key(platform)) / part.files[0]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path / "cache")


def test_download(server: Hostile, fetch: Fetch) -> None:
    part = release_part(server)
    server.on(WHERE, Act(ELF))
    server.on(WHERE + ".sha256", Act(sha256(ELF).encode()))
    assert fetch(part) == [None]
    assert fetch.file(part).read_bytes() == ELF
    assert fetch.file(part).stat().st_mode & 0o777 == 0o755
    assert fetch.store.origin(part.name, part.key(LINUX)) == {
        "download": {
            "etcd": {
                "url": server.url(WHERE),
                "sha256": sha256(ELF),
                "expected_from": server.url(WHERE + ".sha256"),
            }
        }
    }
    assert fetch.heard[-1] == ("etcd", "downloading etcd: 0.0 of 0.0 MB", 1.0)
    assert not any((fetch.store.root / "downloads" / "etcd").iterdir())


def test_wrong_checksum(server: Hostile, fetch: Fetch) -> None:
    part = release_part(server)
    server.on(WHERE, Act(ELF))
    server.on(WHERE + ".sha256", Act(b"0" * 64))
    (attempt,) = fetch(part)
    assert attempt is not None
    assert attempt.tried == f"official download {server.url(WHERE)}"
    assert attempt.answered.endswith(f"its SHA-256 is {sha256(ELF)}, expected {'0' * 64}")
    assert not fetch.file(part).exists()


def test_no_checksum_no_file(server: Hostile, fetch: Fetch) -> None:
    server.on(WHERE, Act(ELF))
    server.on(WHERE + ".sha256", Act(b"<html>log in</html>"))
    (attempt,) = fetch(release_part(server))
    assert attempt is not None
    assert "it has none for etcd" in attempt.answered
    assert server.asked(WHERE) == []


def test_first_digest_holds(server: Hostile, fetch: Fetch) -> None:
    part = release_part(server, checksums=False)
    server.on(WHERE, Act(ELF), Act(ELF + b"!"))
    assert fetch(part) == [None]
    fetch.store.put_aside(part.name, part.key(LINUX))
    (attempt,) = fetch(part)
    assert attempt is not None
    assert f"expected {sha256(ELF)}" in attempt.answered
    server.on(WHERE, Act(ELF))
    assert fetch(part) == [None]


def test_publisher_that_changes_file_and_checksum(server: Hostile, fetch: Fetch) -> None:
    part = release_part(server)
    server.on(WHERE, Act(ELF))
    server.on(WHERE + ".sha256", Act(sha256(ELF).encode()))
    assert fetch(part) == [None]
    fetch.store.put_aside(part.name, part.key(LINUX))
    server.on(WHERE, Act(ELF + b"!"))
    server.on(WHERE + ".sha256", Act(sha256(ELF + b"!").encode()))
    (attempt,) = fetch(part)
    assert attempt is not None
    assert f"expected {sha256(ELF)}" in attempt.answered


def test_unreadable_digests_are_not_ignored(server: Hostile, fetch: Fetch) -> None:
    path = fetch.store.root / "digests" / "etcd.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(CapiLlmError, match="remove that file"):
        fetch(release_part(server))


@pytest.mark.parametrize("status", [404, 500])
def test_server_says_no(server: Hostile, fetch: Fetch, status: int) -> None:
    server.on(WHERE + ".sha256", Act(status=status))
    (attempt,) = fetch(release_part(server))
    assert attempt is not None
    assert f"answered {status}" in attempt.answered


def test_login_page_is_not_a_program(server: Hostile, fetch: Fetch) -> None:
    server.on(WHERE, Act(b"<html>please log in</html>"))
    part = release_part(server, checksums=False)
    (attempt,) = fetch(part)
    assert attempt is not None
    assert "not an executable for linux" in attempt.answered
    assert not (fetch.store.root / "digests").exists()  # the next run may find the real one


def test_server_that_is_not_there_is_asked_once(closed_port: int, fetch: Fetch) -> None:
    parts = [
        Part(name, "v1", releases={name: Release(f"http://127.0.0.1:{closed_port}/{name}")})
        for name in ("a", "b")
    ]
    first, second = fetch(*parts)
    assert first is not None
    assert second is not None
    assert "can not be reached" in first.answered
    assert second.answered == first.answered
    assert f"127.0.0.1:{closed_port}" in second.fix


def test_interrupted_download_goes_on(server: Hostile, fetch: Fetch) -> None:
    part = release_part(server, checksums=False)
    server.on(WHERE, Act(ELF, etag='"1"', at=1000, then="close"), Act(status=404))
    assert fetch(part) != [None]
    server.on(WHERE, Act(ELF, etag='"1"'))
    assert fetch(part) == [None]
    assert server.asked(WHERE)[-1]["Range"] == "bytes=1000-"


def tar(name: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, content in (("../evil", b"x"), (name, ELF)):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def zipped(name: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(name, ELF)
    return data.getvalue()


@pytest.mark.parametrize("pack", [tar, zipped])
def test_archives(server: Hostile, fetch: Fetch, pack) -> None:
    part = release_part(server, checksums=False, member="etcd-{version}-{os}-{arch}/etcd")
    server.on(WHERE, Act(pack("etcd-v1.0.0-linux-amd64/etcd")))
    assert fetch(part) == [None]
    assert fetch.file(part).read_bytes() == ELF
    assert not list(fetch.store.root.rglob("evil"))


@pytest.mark.parametrize(
    "body",
    [tar("else"), zipped("else"), b"no archive", tar("etcd")[:50], tar("etcd")[:40] + b"x" * 60],
    ids=["tar without it", "zip without it", "no archive", "cut", "corrupt"],
)
def test_bad_archives(server: Hostile, fetch: Fetch, body: bytes) -> None:
    server.on(WHERE, Act(body))
    (attempt,) = fetch(release_part(server, checksums=False, member="etcd"))
    assert attempt is not None
    assert "archive" in attempt.answered


def test_folder_of_manifests(server: Hostile, fetch: Fetch) -> None:
    part = Part(
        "components",
        "v1",
        releases={name: Release(server.url(f"/{name}")) for name in ("core.yaml", "docker.yaml")},
        folder=True,
    )
    server.on("/core.yaml", Act(b"apiVersion: v1\nkind: Namespace\n"))
    server.on("/docker.yaml", Act(b"<html>"))
    (attempt,) = fetch(part)
    assert attempt is not None
    assert "not a manifest" in attempt.answered
    assert not fetch.file(part).exists()
    server.on("/docker.yaml", Act(b"apiVersion: v1\nkind: Namespace\n"))
    assert fetch(part) == [None]
    folder = fetch.store.folder("components", part.key(LINUX))
    assert sorted(path.name for path in folder.iterdir()) == ["core.yaml", "docker.yaml", "manifest.json"]


def test_not_published(server: Hostile, fetch: Fetch) -> None:
    linux_only = Part("a", "v1", releases={"a": Release(server.url("/a"), systems=("linux",))})
    (attempt,) = fetch(linux_only, platform=Platform("darwin", "arm64"))
    assert attempt == Attempt("official download", "none is published for darwin")
    assert server.requests == []


DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "text",
    [
        DIGEST,
        DIGEST.upper() + "\n",
        f"{'0' * 64}  other\n{DIGEST}  file\n",
        f"{DIGEST} *file\n",
        f"{DIGEST}  ./file",
    ],
)
def test_checksums(text: str) -> None:
    assert find_checksum(text, "file", "http://x") == DIGEST


@pytest.mark.parametrize("text", ["", "x" * 64, f"{DIGEST}  files", DIGEST[:-1], f"{DIGEST} {DIGEST}"])
def test_no_checksum(text: str) -> None:
    with pytest.raises(FetchFailed, match="checksum can not be read"):
        find_checksum(text, "file", "http://x")


def test_digests_are_plain_json(server: Hostile, fetch: Fetch) -> None:
    server.on(WHERE, Act(ELF))
    fetch(release_part(server, checksums=False))
    text = (fetch.store.root / "digests" / "etcd.json").read_text()
    assert json.loads(text) == {server.url(WHERE): sha256(ELF)}
