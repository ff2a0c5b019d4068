"""``logs``: of the sandbox's parts, of those of its clusters, of apps and of the autoscaler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capi_llm.cli import names
from capi_llm.cli.options import State, namespace, pass_state, plane_name
from capi_llm.errors import BadInput, CapiLlmError, NotFound

if TYPE_CHECKING:
    from capi_llm.steps.context import Plane

AUTOSCALER = "autoscaler"
_AUTOSCALER_APP = "cluster-autoscaler"


@click.command()
@click.argument("what", shell_complete=names.parts)
@click.argument("cluster", required=False, default="", shell_complete=names.clusters)
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option(
    "--tail", type=click.IntRange(min=0), default=200, show_default=True, help="Lines from the end."
)
@namespace
@plane_name
@pass_state
def logs(state: State, what: str, cluster: str, follow: bool, tail: int, namespace: str) -> None:
    """Log of WHAT: a part of a sandbox, an app on CLUSTER, or its `autoscaler`.

    Parts of a plane on a cluster are Cluster API's managers, capi-core and so on. Those of a sandbox are
    supervisor, etcd, kube-apiserver, capi-core and so on; `audit` is the API server's
    own record of every write. With CLUSTER, a part of that cluster's own control plane.
    """
    from capi_llm import plane
    from capi_llm.sandbox import workload
    from capi_llm.sandbox.logs import lines
    from capi_llm.support.redact import Redactor

    if cluster and what not in (*workload.PARTS, "supervisor"):
        for line in _of_app(state, what, cluster, namespace, tail, follow):
            click.echo(line)
        return
    if not cluster and what == AUTOSCALER:
        raise BadInput("whose autoscaler is it to be?", fix="capi-llm logs autoscaler CLUSTER")
    with plane.connected(state.settings, state.plane) as here:
        if not cluster and here.identity.kind != "sandbox":
            for line in plane.log_lines(here, what, tail=tail, follow=follow):
                click.echo(line)
            return
        if cluster:
            path = _of_cluster(state, here, what, cluster, namespace)
        else:
            path = plane.log_path(state.settings, here.identity, what)
    for line in lines(path, tail=tail, follow=follow):
        # The API server quotes in it what it has refused.
        click.echo(Redactor().text(line) if what == "audit" else line)


def _of_cluster(state: State, here: Plane, part: str, cluster: str, namespace: str) -> Path:
    """The log of a part of a cluster's own control plane. Raises NotFound where it has none here."""
    from capi_llm.apps.delivery import find
    from capi_llm.sandbox import workload
    from capi_llm.sandbox.layout import layout

    uid = find(here.api(), cluster, namespace)["metadata"]["uid"]
    sandbox = layout(state.settings.state, here.identity.name)
    own = next((item for item in workload.of_sandbox(sandbox) if item.uid == uid), None)
    if own is None:
        raise NotFound(
            f"the control plane of cluster {cluster!r} is not made of processes of this machine",
            why="only clusters of kwok-llm-clusterclass have such parts",
            fix=f"capi-llm status {cluster}",
        )
    return sandbox.cluster(own.folder).log(part)


def _of_app(state: State, app: str, cluster: str, namespace: str, tail: int, follow: bool) -> Iterator[str]:
    from capi_llm.apps import log
    from capi_llm.apps.catalogue import choose
    from capi_llm.cli.app_options import Asked, opened

    app = _AUTOSCALER_APP if app == AUTOSCALER else app
    with opened(state, Asked(cluster, namespace)) as stack:
        (bundle,) = choose(stack.bundles, (app,), "WHAT")
        api = stack.management if bundle.place == "management" else stack.workload
        containers = log.containers(api, stack.engine.status((app,)))
        if not containers:
            why = "" if bundle.fits(stack.kind) else f": it is not in a {stack.kind}"
            state.console.say(f"No container of {app} is there{why}.")
        try:
            yield from log.lines(api, containers, tail=tail, follow=follow, previous=False)
        except CapiLlmError as error:
            if stack.kind == "sandbox":
                error.fix = error.fix or "the pods of a sandbox are simulated: they write no log"
            raise


COMMANDS = (logs,)
