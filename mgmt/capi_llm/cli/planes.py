"""Commands on management planes: bootstrap, destroy, planes, version."""

from __future__ import annotations

import platform
from typing import Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import StepReport, columns, data
from capi_llm.cli.options import State, confirm, output, pass_state, plane_name, timeout, yes
from capi_llm.cli.recipe import carry_out, show_plan

_FLAGS = {
    "rancher": ("management.rancher", "--with-rancher"),
    "rancher_version": ("rancher.version", "--rancher-version"),
    "hostname": ("rancher.hostname", "--hostname"),
    "expose": ("management.expose", "--expose"),
    "ingress_class": ("rancher.ingressClass", "--ingress-class"),
    "certificate": ("rancher.certificate", "--certificate"),
    "charts": ("charts.mirror", "--charts"),
    "webhook_certs": ("management.webhookCerts", "--webhook-certs"),
    "delivery": ("apps.delivery", "--delivery"),
    "kubernetes": ("management.kubernetes", "--kubernetes"),
    "node_image": ("management.nodeImage", "--node-image"),
    "kubeconfig": ("management.kubeconfig", "--kubeconfig"),
    "kube_context": ("management.context", "--context"),
}
"""Options of bootstrap that are settings too: parameter → setting, option."""


@click.command()
@click.option(
    "--plane",
    "kind",
    default="",
    metavar="KIND",
    help="Kind of plane: kind, existing or sandbox.  [default: kind where Docker answers, else sandbox]",
)
@click.option(
    "--with-rancher/--without-rancher",
    "rancher",
    default=None,
    help="Rancher on it, or Cluster API alone (kind, existing).  [default: with]",
)
@click.option(
    "--rancher-version", metavar="VERSION", help=f"Version of Rancher.  [default: {versions.RANCHER}]"
)
@click.option("--hostname", metavar="HOST", help="Host name of Rancher.")
@click.option(
    "--expose", metavar="HOW", help="How Rancher is reached: ngrok, docker, loadbalancer or ingress."
)
@click.option(
    "--ingress-class", metavar="CLASS", help="With --expose ingress: its class.  [default: the cluster's]"
)
@click.option(
    "--certificate",
    metavar="SECRET",
    help="With --expose ingress: a TLS Secret of a public authority in cattle-system.",
)
@click.option(
    "--charts", metavar="URL", help="Chart repository that has all charts, in place of the publishers'."
)
@click.option(
    "--webhook-certs",
    metavar="WHO",
    help="Who makes the certificates of Cluster API's webhooks: self or cert-manager.  [default: self]",
)
@click.option(
    "--delivery",
    metavar="HOW",
    help="How apps come to clusters: fleet or direct.  [default: fleet with Rancher, else direct]",
)
@click.option(
    "--kubernetes",
    metavar="VERSION",
    help=f"Kubernetes of a kind cluster.  [default: {versions.NODE_KUBERNETES}]",
)
@click.option("--node-image", metavar="IMAGE", help="Image of a kind cluster's node.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="Kubeconfig of a plane of kind existing.",
)
@click.option("--context", "kube_context", metavar="CONTEXT", help="Context in it; has to be said.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and why; change nothing.")
@click.option(
    "--upgrade", is_flag=True, help="Take what capi-llm has installed to newer versions; shows them first."
)
@yes("upgrading")
@timeout("", "Longest wait for each step of a kind or existing plane, such as 90s or 20m.")
@click.option("--show-password", is_flag=True, help="Print Rancher's first password at the end.")
@click.option("--cluster", default="", metavar="NAME", help="Then make this workload cluster, with its apps.")
@click.option("--workers", metavar="MIN..MAX|N", help="Workers of that cluster.  [default: 1..3]")
@plane_name
@click.pass_context
def bootstrap(
    context: click.Context,
    /,
    kind: str,
    dry_run: bool,
    upgrade: bool,
    timeout: float | None,
    show_password: bool,
    yes: bool,
    cluster: str,
    workers: str | None,
    **flags: Any,
) -> None:
    """Make a management plane, or bring back what is missing of it.

    Can be stopped and run again at any time: it goes on where it is, with the choices that it was
    made with.
    """
    from capi_llm import plane
    from capi_llm.clusters import spec
    from capi_llm.errors import BadInput
    from capi_llm.steps import budgets

    state = context.ensure_object(State)
    said = {
        _FLAGS[name][0]: (_option(name, value), value) for name, value in flags.items() if value is not None
    }
    settings = state.settings_with(said)
    if workers and not cluster:
        raise BadInput("--workers is for --cluster", fix="add --cluster NAME")
    if cluster:
        spec.from_flags(name=cluster, workers=workers)  # refuses what is wrong before a plane is made
    chosen = plane.choose(settings, state.plane, kind)
    if chosen.kind == "sandbox" and said:
        option, _ = next(iter(said.values()))
        raise BadInput(f"{option} is not for a sandbox", fix="leave it out, or add --plane kind")
    if chosen.why:
        state.console.say(f"Plane {chosen.name!r} will be {chosen.why}.")
    name = chosen.name
    planned = None
    if dry_run or upgrade:
        planned = plane.plan(settings, name=name, kind=chosen.kind, upgrade=upgrade)
    if dry_run and planned:
        show_plan(planned)
        return
    results = carry_out(state, settings, chosen, upgrade=planned, yes=yes, patience=timeout)
    if not cluster and any(result.outcome == "done" for result in results):
        state.console.say("Next: capi-llm new-cluster demo --workers 1..3")
    if show_password:
        _show_password(state, name)
    if cluster:
        from capi_llm.cli.clusters import new_cluster

        state.plane = name
        context.invoke(new_cluster, name=cluster, workers=workers, timeout=budgets.CLUSTER)


def _option(name: str, value: object) -> str:
    """The option as it was typed."""
    option = _FLAGS[name][1]
    return option.replace("--with-", "--without-") if value is False else option


def _show_password(state: State, name: str) -> None:
    from capi_llm import plane
    from capi_llm.errors import NotFound
    from capi_llm.steps import rancher

    with plane.connected(state.settings, name) as here:
        found = rancher.password(here.api())
    if found is None:
        raise NotFound(
            f"plane {name!r} has no first password of Rancher",
            on=str(rancher.PASSWORD),
            fix="leave --show-password out; a plane without Rancher has none",
        )
    click.echo(found.reveal())


@click.command()
@yes("destroying the plane and everything on it")
@plane_name
@pass_state
def destroy(state: State, yes: bool) -> None:
    """Take a management plane away, with every cluster on it."""
    from capi_llm import plane
    from capi_llm.identity import Identities
    from capi_llm.rehearsal import stage

    settings = state.settings
    stage.clean(settings)
    found = plane.to_destroy(settings, Identities(settings.state), state.plane)
    name = found.name
    what = "Forget" if found.kind == "existing" else "Destroy"
    rest = "" if found.kind == "existing" else " and every cluster on it"
    confirm(state, f"{what} plane {name!r}{rest}?", yes=yes)
    with state.console.drawing() as drawing:
        plane.destroy(settings, name=name, report=StepReport(state.console, drawing))
    left = "process, port" if found.kind == "sandbox" else "container"
    if found.kind == "existing":
        state.console.say(f"Plane {name!r} is forgotten; its cluster was not touched.")
    else:
        state.console.say(f"Plane {name!r} is gone: no {left} or file of it is left.")


@click.group()
def planes() -> None:
    """List management planes, and choose one."""


@planes.command("list")
@output("table", "json", "yaml")
@pass_state
def list_planes(state: State, output: str) -> None:
    """The management planes of this machine."""
    from capi_llm.identity import Identities

    identities = Identities(state.settings.state)
    used = identities.used()
    found, damaged = identities.sorted_out()
    if output != "table":
        data(
            {
                "apiVersion": versions.API_VERSION,
                "planes": [
                    {
                        "name": item.name,
                        "kind": item.kind,
                        "kubeconfig": item.kubeconfig,
                        "context": item.context,
                        "used": item.name == used,
                        "damaged": "",
                    }
                    for item in found
                ]
                + [
                    {
                        "name": name,
                        "kind": "",
                        "kubeconfig": "",
                        "context": "",
                        "used": name == used,
                        "damaged": error.brief,
                    }
                    for name, error in damaged.items()
                ],
            },
            output,
        )
        return
    rows = [("NAME", "KIND", "USED", "KUBECONFIG")]
    rows += [(item.name, item.kind, "*" if item.name == used else "", item.kubeconfig) for item in found]
    rows += [(name, "damaged", "*" if name == used else "", "") for name in damaged]
    if found or damaged:
        click.echo("\n".join(columns(rows)))
        for error in damaged.values():
            state.console.error(error)
    else:
        state.console.say("There is no management plane yet. Make one: capi-llm bootstrap")


@planes.command("use")
@click.argument("name", shell_complete=names.planes)
@pass_state
def use_plane(state: State, name: str) -> None:
    """Make NAME the plane of commands that do not name one."""
    from capi_llm.identity import Identities

    Identities(state.settings.state).use(name)
    state.console.say(f"Commands now act on plane {name!r}.")


@click.command()
@output("table", "json", "yaml")
def version(output: str) -> None:
    """Versions of capi-llm and of what it installs."""
    found = versions.installed() | {"python": platform.python_version()}
    if output == "table":
        click.echo("\n".join(columns(list(found.items()))))
    else:
        data({"apiVersion": versions.API_VERSION, "versions": found}, output)


COMMANDS = (bootstrap, destroy, planes, version)
