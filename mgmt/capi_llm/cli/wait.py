"""The command ``wait``, and the wait for a cluster that other commands end with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from capi_llm.cli import names
from capi_llm.cli.imports import wait_for_import
from capi_llm.cli.options import State, namespace, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.clusters.create import Verdict
    from capi_llm.clusters.tree import ClusterView
    from capi_llm.steps.context import Plane


def wait_for(
    state: State,
    here: Plane,
    name: str,
    namespace: str,
    timeout: float,
    *,
    verdict: Verdict | None = None,
    versions: bool = False,
) -> ClusterView:
    """Wait for a cluster, drawing its tree; ``versions`` shows that of each machine."""
    from capi_llm.cli import trees
    from capi_llm.clusters import create, tree
    from capi_llm.kube.cache import Informers
    from capi_llm.steps import workload_containers
    from capi_llm.waiting import Status, Waiter

    latest: ClusterView | None = None
    with state.console.drawing() as drawing, contextlib.closing(Informers(here.api())) as informers:

        def on_tree(view: ClusterView) -> None:
            nonlocal latest
            latest = view
            plain = [] if verdict else [trees.text(f"{namespace}/{name}", view.status)]
            drawing.show(trees.lines(tree.nodes(view, versions=versions)), plain=plain)

        def report(status: Status) -> None:
            # What the tree can not say: that the API server is away, for one.
            if latest is None or status != latest.status:
                line = trees.text(f"{namespace}/{name}", status)
                below = trees.lines(tree.nodes(latest, versions=versions)) if latest else ()
                drawing.show([line, *below], plain=[line])

        view = create.wait_ready(
            informers,
            name,
            namespace,
            timeout=timeout,
            waiter=Waiter(report=report),
            on_tree=on_tree,
            verdict=verdict,
        )
    workload_containers.hold(here, [name])
    return view


@click.group()
def wait() -> None:
    """Wait until something is ready."""


@wait.command("plane")
@timeout("CLUSTER")
@plane_name
@pass_state
def wait_plane(state: State, timeout: float) -> None:
    """Wait until every step of the management plane is ready."""
    from capi_llm import plane
    from capi_llm.waiting import Status, Waiter, failed, until

    def probe() -> Status:
        view = plane.overview(state.settings, state.plane)
        if not view.under_way:
            return failed("nothing of it runs", fix="capi-llm bootstrap")
        return view.status

    until(probe, what="the management plane", timeout=timeout, waiter=Waiter(report=_say(state, "plane")))
    state.console.say("The management plane is ready.")


@wait.command("cluster")
@click.argument("name", shell_complete=names.clusters)
@timeout("CLUSTER")
@namespace
@plane_name
@pass_state
def wait_cluster(state: State, name: str, timeout: float, namespace: str) -> None:
    """Wait until control plane and workers of cluster NAME are ready."""
    from capi_llm import plane

    with plane.connected(state.settings, state.plane) as here:
        started = time.monotonic()
        view = wait_for(state, here, name, namespace, timeout)
        wait_for_import(state, here, name, namespace, timeout - (time.monotonic() - started))
    state.console.mark(view.status, f"Cluster {namespace}/{name} is ready.")


def _say(state: State, what: str) -> Callable[[Any], None]:
    from capi_llm.cli import trees

    return lambda status: state.console.say(trees.text(what, status)) if not status.ready else None


COMMANDS = (wait,)
