"""How large a Bundle is, how its files are written into it, and what does not fit.

Two limits, each with its number. All files together, compressed, have to be below 1 MB
(https://fleet.rancher.io/gitrepo-content); and the Bundle is stored as it is written, so as an
object it has to be below the 1.5 MiB that etcd takes in one request
(https://etcd.io/docs/v3.5/dev-guide/limit/). Files are written as they are, which people can read,
as long as the Bundle stays small; above that, those that get smaller by it are written as base64 of gzip.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from capi_llm.errors import BadInput
from capi_llm.kube.resources import Object

LARGEST_COMPRESSED = 1_000_000
LARGEST_OBJECT = 1_572_864
PLAIN = 256 * 1024
"""Bytes of files up to which none is compressed."""

_ROOM = 64 * 1024
"""For what comes to the object later: status, finalizers, managedFields."""

_ENCODING = "base64+gz"


def resources(files: Sequence[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """``spec.resources`` of ``files`` (name and content), in the order given."""
    total = sum(len(content) for _, content in files)
    return [_resource(name, content, small=total <= PLAIN) for name, content in files]


def check(obj: Object, files: Sequence[tuple[str, bytes]]) -> None:
    """Raise BadInput, with the number, where ``obj`` with ``files`` in it is too large."""
    name = obj["metadata"]["name"]
    # As Fleet does it: the list of resources as JSON, compressed.
    compressed = len(gzip.compress(json.dumps(obj["spec"].get("resources") or []).encode(), mtime=0))
    if compressed >= LARGEST_COMPRESSED:
        raise BadInput(
            f"Bundle {name} is too large: its files have {compressed} bytes compressed",
            why=f"Fleet takes less than {LARGEST_COMPRESSED}; the largest is {_largest(files)}",
            fix="leave files out that no cluster needs, or split the bundle",
        )
    size = len(json.dumps(obj).encode())
    if size >= LARGEST_OBJECT - _ROOM:
        raise BadInput(
            f"Bundle {name} is too large: {size} bytes as an object",
            why=f"etcd takes {LARGEST_OBJECT} in one request, {_ROOM} of which Fleet needs for the status; "
            f"the largest file is {_largest(files)}",
            fix="leave files out that no cluster needs, or split the bundle",
        )


def _resource(name: str, content: bytes, *, small: bool) -> dict[str, Any]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    # mtime: the same file has to lead to the same Bundle tomorrow.
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    if text is not None and (small or len(packed) >= len(content)):
        return {"name": name, "content": text}
    return {"name": name, "content": packed, "encoding": _ENCODING}


def _largest(files: Sequence[tuple[str, bytes]]) -> str:
    if not files:
        return "none, but its values"
    name, content = max(files, key=lambda file: len(file[1]))
    return f"{name} with {len(content)}"
