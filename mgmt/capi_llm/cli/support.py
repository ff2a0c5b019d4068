"""``support-bundle``: one file for who is to help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from capi_llm import versions
from capi_llm.cli.console import data
from capi_llm.cli.options import State, output, pass_state, plane_name


@click.command("support-bundle")
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.tar.gz",
    help="Where to write it.  [default: a new file in the current folder]",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@output("table", "json", "yaml")
@plane_name
@pass_state
def support_bundle(state: State, file: Path | None, force: bool, output: str) -> None:
    """Collect versions, settings, status, logs, events and objects, without secrets, in one file.

    Works with a plane that is half broken, and without one: index.json in it names what
    could not be had, and why. Changes nothing on the plane.
    """
    from capi_llm import plane
    from capi_llm.support import archive
    from capi_llm.support.collect import collect

    name = plane.choose_name(state.settings, state.plane)
    path = file.absolute() if file else archive.default_path(name)
    archive.check(path, force=force)
    with state.console.drawing() as drawing:
        bundle = collect(
            state.settings,
            name=name,
            status=lambda: _status(state, name),
            report=lambda piece: drawing.show([f"… collecting {piece}"], plain=[]),
        )
    archive.check(path, force=force)
    archive.write(bundle, path)
    if output != "table":
        data(
            {"apiVersion": versions.API_VERSION, "path": str(path), **_without_version(bundle.index())},
            output,
        )
        return
    for piece, why in sorted(bundle.missing.items()):
        state.console.say(f"Not in it: {piece}: {why}")
    state.console.say(f"{len(bundle.files)} files, secrets taken out. Look through it before you pass it on.")
    click.echo(path)


def _status(state: State, name: str) -> dict[str, Any]:
    from capi_llm import live
    from capi_llm.cli import scene

    return scene.as_json(live.look(state.settings, name))


def _without_version(index: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in index.items() if key != "apiVersion"}


COMMANDS = (support_bundle,)
