"""``classes``: the ClusterClasses that clusters can be made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import columns, data
from capi_llm.cli.options import State, output, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.clusters.classes import ClassInfo


@click.group()
def classes() -> None:
    """List ClusterClasses, and show what one can be told."""


@classes.command("list")
@output("table", "json", "yaml")
@plane_name
@pass_state
def list_classes(state: State, output: str) -> None:
    """The classes that ship with capi-llm, and those on the management plane."""
    found = _all(state)
    if output != "table":
        data({"apiVersion": versions.API_VERSION, "classes": [_as_json(info) for info in found]}, output)
        return
    rows = [("NAME", "WHERE", "INFRASTRUCTURE", "WORKER CLASSES")]
    rows += [(info.name, _where(info), info.infrastructure, ", ".join(info.worker_classes)) for info in found]
    click.echo("\n".join(columns(rows)))


@classes.command("show")
@click.argument("name", shell_complete=names.classes)
@output("table", "json", "yaml")
@plane_name
@pass_state
def show_class(state: State, name: str, output: str) -> None:
    """Worker classes and variables of the class NAME."""
    from capi_llm.errors import NotFound

    found = _all(state)
    # What is on the plane is what a cluster would be made from.
    info = next((info for info in reversed(found) if info.name == name), None)
    if info is None:
        raise NotFound(
            f"there is no class {name!r}",
            why=f"there are: {', '.join(dict.fromkeys(info.name for info in found))}",
            fix="capi-llm classes list",
        )
    if output != "table":
        data({"apiVersion": versions.API_VERSION, **_as_json(info)}, output)
        return
    click.echo(f"{info.name} ({_where(info)})")
    click.echo(f"infrastructure: {info.infrastructure}; control plane: {info.control_plane}")
    click.echo(f"worker classes: {', '.join(info.worker_classes)}\n")
    rows = [("VARIABLE", "TYPE", "DEFAULT", "DESCRIPTION")]
    rows += [
        (item.name, item.type, json.dumps(item.default) if item.default is not None else "", item.description)
        for item in info.variables
    ]
    click.echo("\n".join(columns(rows)))


def _all(state: State) -> list[ClassInfo]:
    from capi_llm import plane
    from capi_llm.clusters import classes
    from capi_llm.errors import NotFound

    found = [classes.describe_folder(folder) for folder in classes.shipped()]
    try:
        with plane.connected(state.settings, state.plane) as here:
            found += classes.in_cluster(here.api())
    except NotFound:
        state.console.say("No management plane: showing the classes that ship with capi-llm.")
    return found


def _where(info: ClassInfo) -> str:
    return f"on the plane, namespace {info.namespace}" if info.namespace else "ships with capi-llm"


def _as_json(info: ClassInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "namespace": info.namespace,
        "infrastructure": info.infrastructure,
        "controlPlane": info.control_plane,
        "workerClasses": list(info.worker_classes),
        "variables": [
            {"name": item.name, "type": item.type, "required": item.required, "default": item.default,
             "description": item.description}
            for item in info.variables
        ],
    }  # fmt: skip


COMMANDS = (classes,)
