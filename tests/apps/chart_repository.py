"""A repository with charts of somebody else, as tests need one."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_bundles import config, make

from self_signed import certificate


class Repository:
    """A chart repository at ``https://127.0.0.1``, of the files in ``folder``; counts what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

            def log_message(self, format: str, *arguments: object) -> None:
                asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        self.certificate, key = certificate(folder.parent)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextlib.contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository of what is put into ``folder``, trusted by whoever is started meanwhile."""
    folder.mkdir()
    found = Repository(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(found.certificate))
    yield found
    found.server.shutdown()
    found.server.server_close()


def publish(
    program: Path, repository: Repository, tmp_path: Path, version: str = "0.1.0", **data: str
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
