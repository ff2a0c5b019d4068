"""``apps migrate``: another delivery engine for the apps of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capi_llm.cli import names
from capi_llm.cli.app_options import Asked, opened, values, watching
from capi_llm.cli.options import State, namespace, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.apps.engine import Engines


@click.command()
@click.argument("cluster", shell_complete=names.clusters)
@click.option("--to", type=click.Choice(["direct", "fleet"]), required=True, help="The other engine.")
@timeout("APPS")
@values
@click.option("--bundle-dir", type=click.Path(path_type=Path), help="Folder with bundles of your own.")
@namespace
@plane_name
@pass_state
def migrate(
    state: State,
    cluster: str,
    to: Engines,
    timeout: float,
    files: tuple[Path, ...],
    sets: tuple[str, ...],
    bundle_dir: Path | None,
    namespace: str,
) -> None:
    """Have the apps of CLUSTER delivered by the other engine. They go on as they are.

    Values are those of an apps apply: give the same -f and --set.
    """
    from capi_llm.apps.migration import migrate as move
    from capi_llm.waiting import ready

    asked = Asked(cluster, namespace, (), bundle_dir, files, sets)
    with (
        opened(state, asked, command="apps migrate", to=to) as stack,
        watching(state, stack, timeout) as waiting,
    ):
        moved = move(stack, to, waiting)
    if not moved:
        state.console.say("No apps are on the cluster; apps.delivery says who brings them.")
        return
    state.console.mark(ready(), f"{len(moved)} apps are delivered by {to}.")
