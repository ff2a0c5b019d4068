"""Commands that make, change and end workload clusters: new-cluster, scale, delete-cluster."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capi_llm.cli import names
from capi_llm.cli.console import data, took
from capi_llm.cli.imports import wait_for_import
from capi_llm.cli.options import State, confirm, namespace, output, pass_state, plane_name, timeout, yes
from capi_llm.cli.wait import wait_for

if TYPE_CHECKING:
    from capi_llm.clusters.spec import ClusterSpec
    from capi_llm.clusters.tree import ClusterView
    from capi_llm.steps.context import Plane


@click.command("new-cluster")
@click.argument("name", required=False)
@click.option(
    "--workers", metavar="MIN..MAX|N", help="Range for the autoscaler, or a fixed number.  [default: 1..3]"
)
@click.option(
    "-f", "--file", "file", type=click.Path(path_type=Path), help="ClusterSpec file; flags win over it."
)
@click.option(
    "--class",
    "cluster_class",
    metavar="CLASS",
    shell_complete=names.classes,
    help="ClusterClass (classes list).",
)
@click.option(
    "--class-dir", type=click.Path(path_type=Path), help="Folder of a class of your own, applied first."
)
@click.option("--version", "version", metavar="VERSION", help="Kubernetes of the cluster, such as v1.33.0.")
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Namespace of the cluster.  [default: default]")
@click.option("--pods", metavar="CIDR", help="Pod network.  [default: 192.168.0.0/16]")
@click.option("--services", metavar="CIDR", help="Service network.  [default: 10.96.0.0/24]")
@click.option("--service-domain", metavar="DOMAIN", help="DNS domain of Services.  [default: cluster.local]")
@click.option("--control-plane", type=int, metavar="N", help="Control-plane machines.  [default: 1]")
@click.option(
    "--pool", "pools", multiple=True, metavar="NAME=MIN..MAX[:CLASS]", help="One more pool of workers."
)
@click.option("--cpu", metavar="N", help="What a worker has, for scaling from zero.  [default: 2]")
@click.option(
    "--memory", metavar="QUANTITY", help="What a worker has, for scaling from zero.  [default: 4Gi]"
)
@click.option(
    "--count", type=int, metavar="N", help="Make N clusters side by side: NAME-1 to NAME-N.  [1 to 100]"
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the Cluster.")
@click.option("--set", "variables", multiple=True, metavar="VAR=VALUE", help="Variable of the class.")
@click.option(
    "--apps", "apps", metavar="APP,…|none", help="Apps to bring to it.  [default: all that fit the plane]"
)
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Wait until control plane, workers and apps are ready.  [default: wait]",
)
@timeout("CLUSTER")
@click.option("--dry-run", is_flag=True, help="Print the Cluster and change nothing; needs no plane.")
@output("yaml", "json")
@plane_name
@pass_state
def new_cluster(
    state: State,
    /,
    file: Path | None,
    class_dir: Path | None,
    apps: str | None,
    wait: bool,
    timeout: float,
    count: int | None,
    dry_run: bool,
    output: str,
    **flags: Any,
) -> None:
    """Make the workload cluster NAME with its apps, and wait until all of it is ready.

    Run again with the same values, it changes nothing; with other values it is refused and
    says which command makes the change.
    """
    from capi_llm import plane
    from capi_llm.cli import new_apps
    from capi_llm.clusters import (
        classes,
        create,
        machine_images,
        machine_mirrors,
        machine_proxies,
        several,
        spec,
        specfile,
        topology,
    )
    from capi_llm.settings import proxies

    settings = state.settings
    kind = plane.kind_of(settings, state.plane)
    names = new_apps.named(settings, apps)
    folder = classes.load_dir(class_dir) if class_dir else None
    wanted = spec.merge(
        specfile.load(file) if file else None,
        spec.from_flags(**flags),
        default_class=folder.name if folder else plane.default_class(kind),
        class_namespace="" if folder else plane.CLASS_NAMESPACE,
        defaults=spec.Given(**settings.cluster, places=settings.cluster_places),
    )
    if wanted.places:
        spec.keep_apart(wanted, settings.networks_to_avoid())
    all_wanted = (wanted,) if count is None else several.specs(wanted, count)
    if dry_run:
        info = folder or classes.shipped_class(wanted.cluster_class)
        described = classes.describe_folder(info) if info else None
        made = [
            topology.manifest(classes.check(item, described) if described else item) for item in all_wanted
        ]
        data(made[0] if count is None else {"apiVersion": "v1", "kind": "List", "items": made}, output)
        return
    offered: dict[str, Any] = {}
    if kind == "kind":
        offered |= machine_mirrors.offered(wanted, report=state.console.say)
        offered |= machine_proxies.offered(wanted, proxies(), report=state.console.say)
    if count is not None:
        from capi_llm.cli import several as making

        if kind == "kind":
            machine_images.ensure(wanted, report=state.console.say)
        making.make(state, all_wanted, folder=folder, offered=offered, apps=names, wait=wait, timeout=timeout)
        return
    started = time.monotonic()
    command = f"new-cluster {wanted.name}"
    with plane.working_on_cluster(settings, state.plane, wanted.name, wanted.namespace, command) as here:
        new_apps.check_engine(settings, here, names)
        new_apps.check_kubernetes(settings, kind, wanted, names)
        if kind == "kind":
            machine_images.ensure(wanted, report=state.console.say)
        outcome = create.create(here.api(), wanted, folder=folder, offered=offered)
        done = "created" if outcome.action == "created" else "is there, nothing was changed"
        state.console.say(f"Cluster {wanted.namespace}/{wanted.name} {done}.")
        if not wait:
            state.console.say(f"Next: capi-llm wait cluster {wanted.name}{_in(wanted.namespace)}")
            return
        new_apps.bring_network(state, here, outcome.obj, timeout=timeout)
        view = wait_for(state, here, wanted.name, wanted.namespace, timeout)
        _ready(state, here, wanted, view, time.monotonic() - started)
        left = timeout - (time.monotonic() - started)
        wait_for_import(state, here, wanted.name, wanted.namespace, left)
        left = timeout - (time.monotonic() - started)
        new_apps.bring(state, here, wanted.name, wanted.namespace, names, timeout=left)
        _end(state, here, wanted)


def _ready(state: State, here: Plane, wanted: ClusterSpec, view: ClusterView, seconds: float) -> None:
    from capi_llm.clusters import kubeconfig

    text = kubeconfig.fetch(here.api(), wanted.name, wanted.namespace)
    path = kubeconfig.save(text, wanted.name, wanted.namespace, state.settings.kubeconfigs)
    state.console.mark(view.status, f"Cluster {wanted.namespace}/{wanted.name} is ready ({took(seconds)}).")
    state.console.say(f"Kubeconfig: {path}")


def _end(state: State, here: Plane, wanted: ClusterSpec) -> None:
    if here.identity.kind == "sandbox" and not all(pool.fixed for pool in wanted.pools):
        state.console.say("A sandbox runs no autoscaler; workers stay as many until you scale them.")
    state.console.say(
        f"Next: capi-llm status, or capi-llm scale {wanted.name} --workers 2..4{_in(wanted.namespace)}"
    )


@click.command()
@click.argument("name", shell_complete=names.clusters)
@click.option(
    "--workers", required=True, metavar="MIN..MAX|N", help="Range for the autoscaler, or a fixed number."
)
@click.option("--pool", default="", metavar="POOL", help="Pool to scale.  [default: md-0]")
@click.option("--wait/--no-wait", default=True, help="Wait until the machines are ready.  [default: wait]")
@timeout("CLUSTER")
@namespace
@plane_name
@pass_state
def scale(
    state: State, name: str, workers: str, pool: str, wait: bool, timeout: float, namespace: str
) -> None:
    """Give a pool of cluster NAME another number of machines."""
    from capi_llm import plane
    from capi_llm.clusters import scale as scaling
    from capi_llm.clusters.spec import parse_workers

    wanted = parse_workers(workers)
    with plane.working_on_cluster(state.settings, state.plane, name, namespace, f"scale {name}") as here:
        result = scaling.scale(here.api(), name, namespace, pool, wanted)
        if not result.changed:
            state.console.say(
                f"Pool {result.pool} of {name} has workers {result.after} already; nothing was changed."
            )
        else:
            state.console.say(f"Pool {result.pool} of {name}: workers {result.before} → {result.after}.")
        if wait:
            view = wait_for(state, here, name, namespace, timeout)
            count = next(item.count for item in view.pools if item.name == result.pool)
            state.console.say(
                f"Pool {result.pool}: {count.ready} of {count.desired} workers are ready, asked for {wanted}."
            )
            state.console.mark(view.status, f"Cluster {namespace}/{name} is ready.")


@click.command("delete-cluster")
@click.argument("name", shell_complete=names.clusters)
@yes("deleting the cluster with everything on it")
@timeout("DELETE")
@namespace
@plane_name
@pass_state
def delete_cluster(state: State, name: str, yes: bool, timeout: float, namespace: str) -> None:
    """Delete cluster NAME, and wait until nothing of it is left."""
    from capi_llm import plane
    from capi_llm.clusters import delete
    from capi_llm.clusters.kubeconfig import label
    from capi_llm.forward.records import Records
    from capi_llm.kube.cache import Informers
    from capi_llm.sandbox import remains

    confirm(state, f"Delete cluster {namespace}/{name} with everything on it?", yes=yes)
    with (
        plane.working_on_cluster(
            state.settings, state.plane, name, namespace, f"delete-cluster {name}"
        ) as here,
        contextlib.closing(Informers(here.api())) as informers,
        state.console.drawing() as drawing,
    ):

        def on_leftovers(left: Any) -> None:
            lines = [f"… {item.ref} {'is being deleted' if item.deleting else 'exists'}"
                     + (f", held by {item.holders}" if item.holders else "") for item in left]  # fmt: skip
            drawing.show([f"Deleting {namespace}/{name}: {len(left)} objects left", *lines], plain=lines[:1])

        delete.delete(
            informers, name, namespace, timeout=timeout, kubeconfigs=state.settings.kubeconfigs,
            on_leftovers=on_leftovers,
        )  # fmt: skip
    state.console.say(f"Cluster {namespace}/{name} is gone.")
    forwards = Records(state.settings.state)
    for run in forwards.running(here.identity.name, label(name, namespace)):
        forwards.stop(run)
    for path in remains.forget_merged(here.identity, namespace, name):
        state.console.say(f"Its context was taken out of {path}.")


def _in(namespace: str) -> str:
    return "" if namespace == "default" else f" -n {namespace}"


COMMANDS = (new_cluster, scale, delete_cluster)
