"""What the tests of the sandbox's modules share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_llm.sandbox.layout import Layout


@pytest.fixture
def here() -> Iterator[Layout]:
    """The folder of a sandbox; not under pytest's tmp_path, which is too long for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="capi-llm-"))
    try:
        yield Layout(folder / "sandbox")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
