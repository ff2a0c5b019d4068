"""What the tests of the sandbox's modules share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_llm.sandbox.layout import Layout


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the state folders of a user are noted: the test's own place."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp" / f"capi-llm-{os.getuid()}"


@pytest.fixture
def here() -> Iterator[Layout]:
    """The folder of a sandbox; not under pytest's tmp_path, which is too long for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-"))
    try:
        yield Layout(folder / "sandbox")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
