"""Official downloads.

A file is checked against the publisher's checksum, fetched over TLS from beside it.
The first digest seen for an address is written to ``digests/`` in the cache and
holds from then on, so a file that is replaced at its publisher later is refused. Where
the publisher gives no checksum, that first digest is what protects; the manifest says so.

A server that can not be reached is asked once, not once for each part.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from capi_llm import http
from capi_llm.errors import CapiLlmError, FetchFailed
from capi_llm.tools.attempts import Attempt, Progress
from capi_llm.tools.cache import Store, writing
from capi_llm.tools.parts import Part, Platform, Release, address
from capi_llm.waiting import Cancel

_PROXY_FIX = "let this machine reach {host} (HTTPS_PROXY is honoured)"
_STEP = 1 << 20  # bytes between two words about progress
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_MAGIC = {
    "linux": (b"\x7fELF",),
    "darwin": (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"),
}


class Releases:
    """Downloads parts into ``store``. One instance serves one run."""

    def __init__(
        self,
        store: Store,
        platform: Platform,
        progress: Progress,
        cancel: Cancel | None,
        limits: http.Limits = http.PATIENT,
    ) -> None:
        self._store = store
        self._platform = platform
        self._progress = progress
        self._cancel = cancel
        self._limits = limits
        self._unreachable: dict[str, str] = {}

    def fetch(self, part: Part) -> Attempt | None:
        """Install ``part``; the caller holds its lock. Returns what went wrong, if something did."""
        if set(part.releases) != set(part.files):
            return Attempt("official download", "none is published")
        folder = self._store.root / "downloads" / part.name / part.key(self._platform)
        files: dict[str, Path] = {}
        origin: dict[str, Any] = {}
        for file, release in part.releases.items():
            url = address(release.url, part, self._platform)
            tried = f"official download {url}"
            if self._platform.os not in release.systems:
                return Attempt("official download", f"none is published for {self._platform.os}")
            host = urlsplit(url).netloc
            if host in self._unreachable:
                return Attempt(tried, self._unreachable[host], _PROXY_FIX.format(host=host))
            try:
                files[file], origin[file] = self._one(part, release, url, folder / file)
            except http.Unreachable as error:
                self._unreachable[host] = f"{error.what}: {error.why}"
                return Attempt(tried, self._unreachable[host], _PROXY_FIX.format(host=host))
            except FetchFailed as error:
                return Attempt.of(tried, error)
        self._store.install(part.name, part.key(self._platform), files, {"download": origin})
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def _one(self, part: Part, release: Release, url: str, to: Path) -> tuple[Path, dict[str, str]]:
        digests = _Digests(self._store.root / "digests" / f"{part.name}.json")
        expected, source = self._expected(part, release, url, digests)

        told = -1

        def progress(done: int, total: int | None) -> None:
            nonlocal told
            if done // _STEP == told and done != total:
                return
            told = done // _STEP
            size = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
            self._progress(part.name, f"downloading {to.name}: {size}", done / total if total else None)

        raw = to.with_name(to.name + ".raw")
        digest = http.download(
            url, raw, sha256=expected, progress=progress, cancel=self._cancel, limits=self._limits
        )
        member = address(release.member, part, self._platform)
        with writing(to):
            if member:
                _extract(raw, member, to, url)
                raw.unlink()
            else:
                raw.replace(to)
            self._check_content(to, url, executable=not part.folder)
            digests.add(url, digest)
        return to, {"url": url, "sha256": digest, "expected_from": source}

    def _expected(self, part: Part, release: Release, url: str, digests: _Digests) -> tuple[str | None, str]:
        """The digest that the file must have, and who says so."""
        known = digests.get(url)
        if known:
            return known, "the digest of the first download"
        if not release.checksums:
            return None, "nobody: the publisher gives no checksum; its digest holds from now on"
        where = address(release.checksums, part, self._platform)
        text = http.fetch_text(where, cancel=self._cancel, limits=self._limits)
        return find_checksum(text, url.rsplit("/", 1)[1], where), where

    def _check_content(self, path: Path, url: str, *, executable: bool) -> None:
        """A page that says "please log in" is not an executable, though it may answer 200."""
        with path.open("rb") as file:
            start = file.read(512)
        if executable:
            good = start.startswith(_MAGIC[self._platform.os])
        else:
            good = b"apiVersion:" in start or b"kind:" in start
        if not good:
            path.unlink()
            kind = f"an executable for {self._platform.os}" if executable else "a manifest"
            raise FetchFailed("what came is not the file asked for", on=url, why=f"it is not {kind}")
        path.chmod(0o755 if executable else 0o644)


def find_checksum(text: str, file: str, where: str) -> str:
    """The SHA-256 of ``file`` in ``text``: a bare digest, or lines ``DIGEST  FILE``."""
    words = text.split()
    if len(words) == 1 and _SHA256.fullmatch(words[0]):
        return words[0].lower()
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if _SHA256.fullmatch(digest) and name.strip().removeprefix("*").removeprefix("./") == file:
            return digest.lower()
    raise FetchFailed("the publisher's checksum can not be read", on=where, why=f"it has none for {file}")


def _extract(archive: Path, member: str, to: Path, url: str) -> None:
    """Write one member of a tar.gz or zip to ``to``; no other name in it is used."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as source, to.open("wb") as target:
                shutil.copyfileobj(source, target)
            return
        with tarfile.open(archive) as tar:
            found = tar.extractfile(member)
            if found is None:
                raise KeyError(member)
            with found, to.open("wb") as target:
                shutil.copyfileobj(found, target)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FetchFailed("the archive is not as expected", on=url, why=str(error)) from error


class _Digests:
    """Digest of each address on first use, for one part; its lock guards the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, url: str) -> str | None:
        return self._all().get(url)

    def add(self, url: str, digest: str) -> None:
        known = self._all()
        if known.get(url) == digest:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**known, url: digest}, indent=1, sort_keys=True)
        new = self._path.with_suffix(".new")
        new.write_text(text)
        new.replace(self._path)

    def _all(self) -> Mapping[str, str]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise CapiLlmError(
                "the list of known digests can not be read",
                on=str(self._path),
                why=str(error),
                fix="remove that file; digests are then taken anew from the publishers",
            ) from error
