"""A repository with charts of somebody else, as tests need one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_bundles import config, make

from file_server import FileServer


@contextlib.contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A repository of what is put into ``folder``, trusted by whoever is started meanwhile."""
    folder.mkdir()
    found = FileServer(folder, tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(found.certificate))
    yield found
    found.close()


def publish(
    program: Path, repository: FileServer, tmp_path: Path, version: str = "0.1.0", **data: str
) -> None:
    """Put chart ``theirs`` into the repository; its sources are below ``tmp_path``."""
    text = (
        config("theirs", **data)
        + "---\n"
        + config("size").replace("data: {}", "data: {n: '{{ .Values.n }}'}")
    )
    chart = make(tmp_path / "source", "theirs", {"c": text}, chart={"version": version})
    (chart.folder / "values.yaml").write_text('"n": 1\n')  # YAML takes a bare n for a no
    for command in (["package", chart.folder, "-d", repository.folder], ["repo", "index", repository.folder]):
        subprocess.run([program, *command], check=True, capture_output=True)
