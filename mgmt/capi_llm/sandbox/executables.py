"""Which executables and manifests are used: the user's own, else those in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from capi_llm.errors import BadInput
from capi_llm.settings import Settings
from capi_llm.tools import prepare
from capi_llm.tools.attempts import Progress, quiet
from capi_llm.tools.catalogue import CATALOGUE, OF_SANDBOX
from capi_llm.waiting import Cancel


def paths(settings: Settings, names: Sequence[str] = OF_SANDBOX) -> dict[str, Path]:
    """Part → path, of the parts ``names``. Raises NotFound where one is not here yet."""
    return prepare.find(names, cache_dir=settings.cache, explicit=_explicit(settings))


def absent(settings: Settings, names: Sequence[str] = OF_SANDBOX) -> list[str]:
    """Those of ``names`` that are not here yet."""
    return prepare.missing(names, cache_dir=settings.cache, explicit=_explicit(settings))


def own(settings: Settings) -> list[str]:
    """The parts that the user brings."""
    return list(_explicit(settings))


def bring(
    settings: Settings,
    names: Sequence[str] = OF_SANDBOX,
    *,
    progress: Progress = quiet,
    cancel: Cancel | None = None,
    verify: bool = False,
) -> dict[str, Path]:
    """Have the parts ``names`` here: see :func:`capi_llm.tools.prepare.prepare`."""
    return prepare.prepare(
        names,
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
            f"CAPI_LLM_PART_{unknown[0].upper().replace('-', '_')} names no part",
            fix=f"there are: {', '.join(CATALOGUE)}",
        )
    folder = settings.parts_dir
    there = {name: folder / name for name in CATALOGUE if (folder / name).exists()} if folder else {}
    return {**there, **settings.parts}
