"""Commands that look: status, events."""

from __future__ import annotations

import contextlib
import datetime
from typing import TYPE_CHECKING

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import coloured, columns, data, took
from capi_llm.cli.options import State, namespace, output, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.apps.fleet.overview import FleetView
    from capi_llm.clusters.autoscaler import Decision
    from capi_llm.errors import CapiLlmError
    from capi_llm.live import Scene


@click.command()
@click.argument("name", required=False, default="", shell_complete=names.clusters)
@output("table", "json", "yaml")
@click.option("-n", "--namespace", default=None, help="Only clusters of this namespace.")
@click.option("--all", "everything", is_flag=True, help="Also what is ready of many clusters and machines.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and show every change, until Ctrl-C.")
@plane_name
@pass_state
def status(
    state: State, name: str, output: str, namespace: str | None, everything: bool, watch: bool
) -> int | None:
    """How the management plane and its clusters are: one verdict, then a tree.

    With NAME, of that cluster only, and what its autoscaler decided last. With --verbose,
    also what Fleet says of each bundle on them.
    """
    from capi_llm import live
    from capi_llm.cli import scene as scenes
    from capi_llm.cli import trees

    if watch:
        from capi_llm.cli.watch import show

        return show(state, name, output, namespace, everything)
    scene = live.look(state.settings, state.plane, namespace, name)
    if name and scene.plane.serves_clusters and not scene.clusters:
        raise _unknown(state, name, namespace)
    fleet = _fleet(state, scene) if state.verbose else ()
    decided = _decided(state, scene) if name else {}
    if output != "table":
        found = scenes.as_json(scene)
        if state.verbose:
            found["fleet"] = [view.as_json() for view in fleet]
        for view in found["clusters"]:
            decision = decided.get((view["namespace"], view["name"]))
            view |= {"autoscaler": vars(decision)} if decision else {}
        data(found, output)
    else:
        lines = scenes.lines(scene, everything=everything)
        lines += [line for view in fleet for line in trees.lines(view.node())]
        lines += [f"Autoscaler, {_ago(decision.time)} ago: {decision}" for decision in decided.values()]
        click.echo("\n".join(map(coloured, lines)))
    return None


def _fleet(state: State, scene: Scene) -> tuple[FleetView, ...]:
    from capi_llm import plane
    from capi_llm.apps.fleet import overview

    if not scene.clusters:
        return ()
    with plane.connected(state.settings, state.plane) as here:
        return overview.look(here.api(), {(view.namespace, view.name) for view in scene.clusters})


def _ago(time: str) -> str:
    moment = datetime.datetime.fromisoformat(time)
    return took(max(0.0, (datetime.datetime.now(datetime.UTC) - moment).total_seconds()))


def _decided(state: State, scene: Scene) -> dict[tuple[str, str], Decision]:
    """What the autoscaler of each cluster decided last; nothing of one that can not be asked just now."""
    from capi_llm import plane
    from capi_llm.clusters import autoscaler, workload
    from capi_llm.errors import CapiLlmError

    found = {}
    with plane.connected(state.settings, state.plane) as here:
        for view in scene.clusters:
            with (
                contextlib.suppress(CapiLlmError),
                workload.connected(here.api(), view.name, view.namespace, retry_for=0) as api,
            ):
                if (decision := autoscaler.last_decision(api)) is not None:
                    found[view.namespace, view.name] = decision
    return found


def _unknown(state: State, name: str, namespace: str | None) -> CapiLlmError:
    from capi_llm import live
    from capi_llm.clusters.kubeconfig import unknown_cluster
    from capi_llm.kube.resources import CLUSTERS, Ref

    known = live.look(state.settings, state.plane).clusters
    return unknown_cluster(
        name, namespace or "default", [Ref(CLUSTERS, view.name, view.namespace) for view in known]
    )


@click.command()
@click.argument("name", shell_complete=names.clusters)
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
