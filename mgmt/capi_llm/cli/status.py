"""Commands that look: status, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.console import columns, data, split_mark
from capi_llm.cli.options import State, namespace, output, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.clusters.tree import ClusterView
    from capi_llm.plane import Overview


@click.command()
@output("table", "json", "yaml")
@click.option("-n", "--namespace", default=None, help="Only clusters of this namespace.")
@plane_name
@pass_state
def status(state: State, output: str, namespace: str | None) -> None:
    """How the management plane and its clusters are: one verdict, then a tree."""
    from capi_llm import plane
    from capi_llm.clusters import tree

    overview = plane.overview(state.settings, state.plane)
    views: list[ClusterView] = []
    if overview.serves_clusters:
        with plane.connected(state.settings, state.plane) as here:
            views = tree.overview(tree.collect(here.api(), namespace))
    if output != "table":
        data(_as_json(overview, views), output)
        return
    click.echo(_verdict(overview, views))
    for line in _plane_lines(overview):
        click.echo(_coloured(line))
    from capi_llm.cli import trees

    for view in views:
        for line in trees.lines(tree.nodes(view)):
            click.echo(_coloured(line))


def _verdict(overview: Overview, views: list[ClusterView]) -> str:
    bad = next((step for step in overview.steps if not step.status.ready), None)
    if bad is not None:
        return (
            f"Not ready: plane {overview.identity.name}, {bad.step}: {bad.status.message}\n"
            f"  to go on: {bad.status.fix or 'capi-llm bootstrap'}"
        )
    wrong = [view for view in views if not view.status.ready]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"Not ready: cluster {wrong[0].namespace}/{wrong[0].name}{more}, {wrong[0].status.message}"
    clusters = f"{len(views)} cluster{'' if len(views) == 1 else 's'}"
    return f"Ready: plane {overview.identity.name}, {clusters if views else 'no clusters yet'}"


def _plane_lines(overview: Overview) -> list[str]:
    from capi_llm.cli import trees
    from capi_llm.clusters.tree import Node

    steps = tuple(Node(step.step, step.status) for step in overview.steps if not step.status.ready)
    return trees.lines(
        Node(f"Plane {overview.identity.name}, kind {overview.identity.kind}", overview.status, steps)
    )


def _as_json(overview: Overview, views: list[ClusterView]) -> dict[str, Any]:
    from capi_llm.clusters import tree

    return {
        "apiVersion": versions.API_VERSION,
        "plane": {
            "name": overview.identity.name,
            "kind": overview.identity.kind,
            "ready": overview.ready,
            "steps": [
                {"name": step.step, "state": step.status.state.value, "message": step.status.message}
                for step in overview.steps
            ],
        },
        "clusters": [tree.as_json(view) for view in views],
    }


def _coloured(line: str) -> str:
    before, mark, colour, after = split_mark(line)
    return before + click.style(mark, fg=colour) + after if mark else line


@click.command()
@click.argument("name")
@output("table", "json", "yaml")
@namespace
@plane_name
@pass_state
def events(state: State, name: str, output: str, namespace: str) -> None:
    """What happened to cluster NAME and its machines, newest last."""
    from capi_llm import plane
    from capi_llm.clusters.events import of_cluster

    with plane.connected(state.settings, state.plane) as here:
        found = of_cluster(here.api(), name, namespace)
    if output != "table":
        data({"apiVersion": versions.API_VERSION, "events": [vars(event) for event in found]}, output)
        return
    rows = [("TIME", "TYPE", "REASON", "OBJECT", "MESSAGE")]
    rows += [(item.time, item.type, item.reason, f"{item.kind}/{item.name}", item.message) for item in found]
    click.echo("\n".join(columns(rows)))


COMMANDS = (status, events)
