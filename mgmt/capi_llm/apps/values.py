"""Values of an app, from all who say some: the bundle, the plane, the settings, files and ``--set``.

They are merged as helm merges: maps key by key, everything else as a whole, the later wins.
Whoever says values for several apps says them by app, as a chart of charts has them::

    ollama:
      models: [tinyllama]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capi_llm import documents, fields, secret_names
from capi_llm.apps.engine import Origin, Release
from capi_llm.errors import BadInput, NotFound

_NOT_HERE = "values end in manifests; secrets come from the environment or are generated"


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """``layers`` as one, the later over the earlier."""
    found: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = found.get(key)
            found[key] = merge(below, value) if _both(value, below) else value  # type: ignore[arg-type]
    return found


def unsaid(values: Mapping[str, Any], *said: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``values`` would come through where ``said`` is merged over them."""
    found = dict(values)
    for layer in said:
        for key in found.keys() & layer.keys():
            value = found[key]
            left = unsaid(value, layer[key]) if _both(value, layer[key]) else {}
            if left:
                found[key] = left
            else:
                del found[key]
    return found


def _both(value: Any, other: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(other, Mapping)


def of_file(path: Path, apps: Iterable[str]) -> Origin:
    """What the file of ``-f`` says, by app. Raises NotFound, BadInput with line and place."""
    try:
        found = documents.load(documents.read(path, "-f"), str(path))
    except FileNotFoundError:
        raise NotFound("the file does not exist", on=str(path), fix="check -f") from None
    if len(found) != 1 or not isinstance(found[0].data, dict):
        raise BadInput(f"{path}: it has to hold one map of apps and their values", fix="write `APP: {…}`")
    document = found[0]
    known = list(apps)
    for name, values in document.data.items():
        if name not in known:
            raise fields.unknown(f"{document.at(name)}: app", name, known)
        if not isinstance(values, dict):
            raise BadInput(f"{document.at(name)}: it is not a map of values", fix=f"write `{name}: {{…}}`")
    return Origin(document.data, "", document)


def check_sets(sets: Iterable[str], apps: Iterable[str]) -> None:
    """Raise BadInput for a ``--set`` that is of no app, or says a secret."""
    known = list(apps)
    for text in sets:
        key, equals, _ = text.partition("=")
        app, dot, path = key.partition(".")
        if not equals or not dot:
            raise BadInput(f"--set: {key!r} is not APP.VALUE=…", fix="e.g. --set ollama.replicas=2")
        if app not in known:
            raise fields.unknown("--set: app", app, known)
        if secret_names.on_path(path):
            raise BadInput(f"--set {key}: a secret does not belong into a command line", fix=_NOT_HERE)


def place_of(release: Release, path: str) -> str:
    """Who has said the value at ``path`` (``models.0``), the last one first."""
    trail = _trail(path)
    for origin in reversed(release.origins):
        if _has(origin.values, trail):
            if origin.document is not None:
                return origin.document.at(*origin.below, *trail)
            return f"{origin.where}: {documents.dotted(trail)}" if trail else origin.where
    return f"{release.bundle.document.source}: {documents.dotted(trail) or 'helm.values'}"


def _trail(path: str) -> documents.Trail:
    return tuple(int(part) if part.isdigit() else part for part in path.split(".") if part)


def _has(values: Any, trail: documents.Trail) -> bool:
    for part in trail:
        if isinstance(part, int) and isinstance(values, list) and part < len(values):
            values = values[part]
        elif isinstance(values, Mapping) and str(part) in values:
            values = values[str(part)]
        else:
            return False
    return True
