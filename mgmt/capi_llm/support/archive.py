"""The bundle as one compressed file, readable by its owner only."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path

from capi_llm.errors import Refused
from capi_llm.files import write_private
from capi_llm.support.collect import Bundle


def default_path(name: str) -> Path:
    """A file in the current folder that is not there yet: with the plane's name and the time (UTC)."""
    return Path(f"capi-llm-support-{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.tar.gz").absolute()


def check(path: Path, *, force: bool) -> None:
    """Raise Refused where ``path`` exists and is not to be replaced."""
    if path.exists() and not force:
        raise Refused(
            "the file exists already",
            on=str(path),
            fix="name another one with -f, or add --force to replace it",
        )


def write(bundle: Bundle, path: Path) -> None:
    """Write ``bundle`` to ``path`` atomically, mode 0600. Raises CapiLlmError where that can not be done."""
    root = f"capi-llm-support-{bundle.plane}"
    files = {"index.json": json.dumps(bundle.index(), indent=2) + "\n", **bundle.files}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in sorted(files.items()):
            data = text.encode()
            about = tarfile.TarInfo(f"{root}/{name}")
            about.size, about.mode, about.mtime = len(data), 0o600, int(time.time())
            archive.addfile(about, io.BytesIO(data))
    write_private(path, out.getvalue())
