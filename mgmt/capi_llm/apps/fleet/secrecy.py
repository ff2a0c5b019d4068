"""What may not be in a Bundle or HelmOp: Secrets, and values that are secret.

Everybody who may read Bundles reads what is in them, and Fleet copies it into Content objects and
into the record of the release. Secrets go to the workload cluster itself, before the apps; charts
refer to them by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capi_llm import secret_names
from capi_llm.errors import BadInput

_KIND = r"""["']?\bkind["']?\s*:\s*["']?Secret\b["']?"""
_CORE = r"""["']?\bapiVersion["']?\s*:\s*["']?v1\b["']?"""
_SECRET = re.compile(
    rf"^{_KIND}\s*(?:#.*)?$|{_CORE}[\s,]+{_KIND}|{_KIND}[\s,]+{_CORE}|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----",
    re.MULTILINE,
)
"""A manifest of a Secret, not ``kind: Secret`` in a reference to one; or a key itself."""

_SHAPES = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
    r"|^(?:sk-|hf_|ghp_|github_pat_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{8,}"
    r"|^AKIA[0-9A-Z]{16}$"
    r"|^eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|://[^/\s:@]+:[^/\s@]+@"
)
_REFERS = re.compile(r"^(?:existing|imagePull|image_pull|pull|tls|ca|external)", re.IGNORECASE)
"""``existingSecret`` and ``imagePullSecrets`` are names of Secrets."""

_ELSEWHERE = ("os.environ/", "$(", "${", "{{")
"""How a value says that it is to be found somewhere else."""

_FIX = (
    "leave it out, and let the chart refer to a Secret by name; capi-llm puts Secrets into the workload "
    "cluster itself"
)


def check_files(bundle: str, files: Sequence[tuple[str, bytes]]) -> None:
    """Raise BadInput where one of the chart's files makes a Secret, or holds what looks like one."""
    for name, content in files:
        text = content.decode(errors="replace")
        match = _SECRET.search(text)
        if match is not None:
            line = text.count("\n", 0, match.end()) + 1
            raise BadInput(
                f"{name}:{line}: bundle {bundle} has a Secret in it",
                why="everybody who may read Bundles on the management cluster would read it",
                fix=_FIX,
            )


def check_values(bundle: str, values: Mapping[str, Any]) -> None:
    """Raise BadInput where a value has the name of a secret, or looks like one; it is not repeated."""
    place = next(_secret(values, ""), None)
    if place is not None:
        raise BadInput(
            f"values of {bundle}: {place} is a secret, by its name or what it looks like",
            why="everybody who may read Bundles on the management cluster would read it",
            fix=_FIX,
        )


def _secret(value: Any, path: str, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        # {name: API_KEY, value: …}, as in a container's env
        named = value.get("name")
        for key, item in value.items():
            below = f"{path}.{key}" if path else str(key)
            own = named if key == "value" and isinstance(named, str) else str(key)
            yield from _secret(item, below, own)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _secret(item, f"{path}[{number}]", name)
    elif isinstance(value, str) and value and not value.startswith(_ELSEWHERE):
        by_name = secret_names.secret(name) and not _REFERS.match(name)
        if by_name or _SHAPES.search(value):
            yield path
