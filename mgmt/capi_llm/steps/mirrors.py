"""Registry mirrors of the host's Docker, passed on to the management cluster's node.

A folder ``certs.d`` that is mounted where its containerd looks.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from capi_llm.containers import mirrors
from capi_llm.containers.docker import Docker
from capi_llm.files import write_private


def write(docker: Docker, folder: Path) -> Path | None:
    """The folder of the mirrors that nodes can use, written below ``folder``; None where there are none."""
    found = mirrors.of(docker)
    target = folder / "certs.d"
    shutil.rmtree(target, ignore_errors=True)
    if not found:
        return None
    write_private(target / mirrors.HUB / "hosts.toml", mirrors.hosts_toml(found))
    return target
