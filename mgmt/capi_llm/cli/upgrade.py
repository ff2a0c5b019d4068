"""``upgrade``: another Kubernetes version for a workload cluster, newer parts for a management plane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import data, took
from capi_llm.cli.options import State, namespace, output, pass_state, plane_name, timeout, yes

if TYPE_CHECKING:
    from capi_llm.clusters.upgrade import Plan


@click.group()
def upgrade() -> None:
    """Take something to a newer version."""


@upgrade.command("cluster")
@click.argument("name", shell_complete=names.clusters)
@click.option("--to", "version", required=True, metavar="VERSION", help="Kubernetes, such as v1.33.0.")
@click.option("--wait/--no-wait", default=True, help="Wait until every machine runs it.  [default: wait]")
@timeout("CLUSTER")
@click.option("--dry-run", is_flag=True, help="Print the plan, ask Cluster API's webhooks, change nothing.")
@output("table", "json", "yaml")
@namespace
@plane_name
@pass_state
def upgrade_cluster(
    state: State,
    name: str,
    version: str,
    wait: bool,
    timeout: float,
    dry_run: bool,
    output: str,
    namespace: str,
) -> None:
    """Take cluster NAME to another Kubernetes version, and wait until every machine runs it.

    The control plane goes first, then the pools. One minor version at a time, and never
    back. Run again, it goes on waiting; where all is done it changes nothing.
    """
    from dataclasses import replace

    from capi_llm import fields, plane
    from capi_llm.clusters import kubelet_access, machine_images
    from capi_llm.clusters import upgrade as upgrading
    from capi_llm.clusters.topology import spec_of
    from capi_llm.kube.resources import CLUSTERS, Ref

    version = fields.kubernetes_version(version, "--to")
    if dry_run:
        with plane.connected(state.settings, state.plane) as here:
            planned = upgrading.plan(here.api(), name, namespace, version)
            upgrading.ask(here.api(), planned)
        _show(planned, output)
        state.console.say(
            "Nothing to do." if planned.done else "Cluster API's webhooks accept it. Nothing was changed."
        )
        return
    started = time.monotonic()
    command = f"upgrade cluster {name}"
    with plane.working_on_cluster(state.settings, state.plane, name, namespace, command) as here:
        planned = upgrading.plan(here.api(), name, namespace, version)
        if planned.done:
            state.console.say(f"Cluster {namespace}/{name} runs {version} already; nothing was changed.")
        else:
            for line in _lines(planned):
                state.console.say(line)
            upgrading.ask(here.api(), planned)
            if here.identity.kind == "kind":
                have = spec_of(here.api().get(Ref(CLUSTERS, name, namespace)))
                machine_images.ensure(replace(have, version=version), report=state.console.say)
            if said := kubelet_access.allow(here.api(), name, namespace, state.cancel):
                state.console.say(said)
            if not upgrading.start(here.api(), planned):
                state.console.say("It is under way already; nothing was changed.")
        if wait:
            from capi_llm.cli.wait import wait_for

            view = wait_for(
                state, here, name, namespace, timeout, verdict=upgrading.verdict(version), versions=True
            )
            seconds = took(time.monotonic() - started)
            state.console.mark(
                view.status, f"Every machine of {namespace}/{name} runs {version} ({seconds})."
            )
        else:
            state.console.say("Next: run the same command again, to wait for its end.")
    if output != "table":
        data(_as_json(planned), output)


def _show(planned: Plan, output: str) -> None:
    if output == "table":
        click.echo("\n".join(_lines(planned)))
    else:
        data(_as_json(planned), output)


def _lines(planned: Plan) -> list[str]:
    lines = [f"Cluster {planned.namespace}/{planned.name}: Kubernetes {planned.before} → {planned.after}"]
    for number, stage in enumerate(planned.stages, 1):
        count = f"{stage.machines} machine{'s' if stage.machines != 1 else ''}"
        left = f"{stage.behind} of {count} to replace" if stage.behind else f"{count}, none to replace"
        lines.append(f"  {number}. {stage.what}: {left}" + (f", {stage.how}" if stage.behind else ""))
    if planned.concurrency > 1:
        lines.append(f"  up to {planned.concurrency} pools at once")
    return lines


def _as_json(planned: Plan) -> dict[str, Any]:
    return {
        "apiVersion": versions.API_VERSION,
        "cluster": {"name": planned.name, "namespace": planned.namespace},
        "from": planned.before,
        "to": planned.after,
        "done": planned.done,
        "poolsAtOnce": planned.concurrency,
        "stages": [
            {
                "what": stage.what,
                "from": stage.before,
                "machines": stage.machines,
                "toReplace": stage.behind,
                "how": stage.how,
            }
            for stage in planned.stages
        ],
    }


@upgrade.command("plane")
@click.option(
    "--rancher-version",
    metavar="VERSION",
    shell_complete=names.ranchers,
    help="The Rancher to go to.  [default: the plane's]",
)
@yes("upgrading")
@timeout("", "Longest wait for each step of a kind or existing plane, such as 90s or 20m.")
@click.option("--dry-run", is_flag=True, help="Print the plan, change nothing.")
@output("table", "json", "yaml")
@plane_name
@pass_state
def upgrade_plane(
    state: State, rancher_version: str | None, yes: bool, timeout: float | None, dry_run: bool, output: str
) -> None:
    """Take what capi-llm has installed on a management plane to the versions of this capi-llm.

    The plan is shown first, and asked about. What is there in a newer version stays. Run again, it
    goes on where it stopped; where nothing is older it changes nothing. `bootstrap --upgrade` is the same.
    """
    from capi_llm import plane
    from capi_llm.cli.recipe import carry_out, show_plan
    from capi_llm.errors import BadInput
    from capi_llm.identity import Identities

    said = {"rancher.version": ("--rancher-version", rancher_version)} if rancher_version else {}
    settings = state.settings_with(said)
    found = Identities(settings.state).resolve(state.plane, settings.plane)
    if said and not found.choices.get("rancher"):
        raise BadInput(
            "--rancher-version is for a plane with Rancher",
            on=f"plane {found.name!r}",
            fix="leave it out",
        )
    chosen = plane.choose(settings, found.name, found.kind)
    planned = plane.plan(settings, name=chosen.name, kind=chosen.kind, upgrade=True)
    if not dry_run:
        carry_out(state, settings, chosen, upgrade=planned, yes=yes, patience=timeout)
    if dry_run or output != "table":
        show_plan(planned, output)


COMMANDS = (upgrade,)
