"""Which executables and manifests a sandbox runs: the user's own, else those in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from capi_llm.errors import BadInput
from capi_llm.settings import Settings
from capi_llm.tools import prepare
from capi_llm.tools.attempts import Progress, quiet
from capi_llm.tools.parts import CATALOGUE
from capi_llm.waiting import Cancel


def paths(settings: Settings) -> dict[str, Path]:
    """Part → path, of every part. Raises NotFound where one is not here yet."""
    return prepare.find(CATALOGUE, cache_dir=settings.cache, explicit=_explicit(settings))


def absent(settings: Settings) -> list[str]:
    """The parts that are not here yet."""
    return prepare.missing(CATALOGUE, cache_dir=settings.cache, explicit=_explicit(settings))


def own(settings: Settings) -> list[str]:
    """The parts that the user brings."""
    return list(_explicit(settings))


def bring(
    settings: Settings, *, progress: Progress = quiet, cancel: Cancel | None = None, verify: bool = False
) -> dict[str, Path]:
    """Have every part here: see :func:`capi_llm.tools.prepare.prepare`."""
    return prepare.prepare(
        cache_dir=settings.cache,
        explicit=_explicit(settings),
        progress=progress,
        cancel=cancel,
        offline=settings.offline,
        verify=verify,
    )


def one(settings: Settings, name: str, *, progress: Progress = quiet, cancel: Cancel | None = None) -> Path:
    """Have the part ``name`` here, and return where."""
    found = prepare.prepare(
        [name],
        cache_dir=settings.cache,
        explicit=_explicit(settings),
        progress=progress,
        cancel=cancel,
        offline=settings.offline,
    )
    return found[name]


def _explicit(settings: Settings) -> Mapping[str, Path]:
    unknown = sorted(set(settings.parts) - set(CATALOGUE))
    if unknown:
        raise BadInput(
            f"CAPI_LLM_PART_{unknown[0].upper().replace('-', '_')} names no part of the sandbox",
            fix=f"there are: {', '.join(CATALOGUE)}",
        )
    folder = settings.parts_dir
    there = {name: folder / name for name in CATALOGUE if (folder / name).exists()} if folder else {}
    return {**there, **settings.parts}
