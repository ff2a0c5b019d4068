"""Which bundles there are: those that ship with capi-llm, or those of a folder, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path

from capi_llm import fields
from capi_llm.apps.bundle import FILE, Bundle
from capi_llm.apps.fleetfile import read
from capi_llm.errors import BadInput, NotFound

SHIPPED = "capi_llm.bundles"


def shipped(mirror: str = "") -> tuple[Bundle, ...]:
    """The bundles that ship with capi-llm, each after those that it depends on.

    Charts of others come from the repository ``mirror``; from their publishers where it is empty.
    """
    bundles = load_dir(Path(str(files(SHIPPED))), "the package")
    return tuple(_mirrored(bundle, mirror) for bundle in bundles) if mirror else bundles


def _mirrored(bundle: Bundle, mirror: str) -> Bundle:
    return replace(bundle, chart=replace(bundle.chart, repo=mirror)) if bundle.chart else bundle


def load_dir(path: Path, option: str = "--bundle-dir") -> tuple[Bundle, ...]:
    """The bundles in the folders of ``path``, or the one that ``path`` itself is, in their order.

    ``option`` named the folder. Raises NotFound where it is not there, BadInput for what can not be followed.
    """
    if not path.is_dir():
        raise NotFound("the folder does not exist", on=str(path), fix=f"check {option}")
    own = (path / FILE).is_file()
    folders = [path] if own else sorted(item for item in path.iterdir() if (item / FILE).is_file())
    bundles = [read(folder) for folder in folders]
    seen: dict[str, Bundle] = {}
    for bundle in bundles:
        if bundle.name in seen:
            raise BadInput(
                f"{bundle.document.at('name')}: bundle {bundle.name!r} is there twice",
                why=f"the other one is {seen[bundle.name].folder}",
                fix="give one of them another name",
            )
        seen[bundle.name] = bundle
    if not own:
        _check_dependencies(seen)
    return order(bundles)


def order(bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
    """``bundles``, each after those of them that it depends on, else by name.

    Raises BadInput for a circle.
    """
    by_name = {bundle.name: bundle for bundle in sorted(bundles, key=lambda bundle: bundle.name)}
    graph = {
        name: [other for other in bundle.depends_on if other in by_name] for name, bundle in by_name.items()
    }
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle: list[str] = list(reversed(error.args[1]))
        first = by_name[circle[0]]
        raise BadInput(
            f"{first.document.at('dependsOn')}: bundles depend on each other in a circle",
            why=" → ".join(circle),
            fix="take one of them out of dependsOn",
        ) from None


def choose(bundles: Sequence[Bundle], names: Iterable[str], where: str) -> tuple[Bundle, ...]:
    """Those of ``bundles`` that are named, in their order. Raises BadInput for a name that there is not."""
    wanted = list(names)
    known = [bundle.name for bundle in bundles]
    for name in wanted:
        if name not in known:
            raise fields.unknown(f"{where}: app", name, known)
    return tuple(bundle for bundle in bundles if bundle.name in wanted)


def _check_dependencies(bundles: Mapping[str, Bundle]) -> None:
    for bundle in bundles.values():
        for number, other in enumerate(bundle.depends_on):
            if other not in bundles:
                place = bundle.document.at("dependsOn", number, "name")
                raise fields.unknown(f"{place}: bundle", other, bundles)
