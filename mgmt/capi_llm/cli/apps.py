"""``apps``: the LLM apps on a workload cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.app_delivery import apply_apps, count, diff, render
from capi_llm.cli.app_migration import migrate
from capi_llm.cli.app_options import Asked, on_cluster, opened, watching
from capi_llm.cli.console import columns, data
from capi_llm.cli.options import State, confirm, output, timeout, yes

if TYPE_CHECKING:
    from capi_llm.apps.bundle import Bundle
    from capi_llm.apps.engine import AppStatus
    from capi_llm.apps.stack import Stack


_WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet")


@click.group()
def apps() -> None:
    """The LLM apps on a workload cluster: list, render, diff, apply, wait, remove.

    \b
    capi-llm apps apply demo            bring all that fit, and wait until they are ready
    capi-llm apps diff demo litellm     what that would change of one of them
    """


@apps.command("list")
@output("table", "json", "yaml")
@on_cluster
def list_apps(state: State, asked: Asked, output: str) -> None:
    """Every app, whether it is on CLUSTER, and how it is."""
    from capi_llm.apps.catalogue import choose

    with opened(state, asked) as stack:
        bundles = choose(stack.bundles, asked.apps, "APP") if asked.apps else stack.bundles
        known = [bundle.name for bundle in bundles]
        delivered = [app for app in stack.engine.delivered() if app not in known and not asked.apps]
        states = {item.app: item for item in stack.engine.status([*known, *delivered])}
    rows = []
    for bundle in bundles:
        item = states[bundle.name]
        own = bundle.on(stack.target.kubernetes)
        word = _state(item, _why_not(stack, bundle) or "not delivered")
        rows.append(_row(bundle.name, item, word, own.version, own.namespace, not _why_not(stack, bundle)))
    rows += [_row(app, states[app], _state(states[app], ""), "", "", False) for app in delivered]
    if stack.kind == "sandbox":
        _say_what_is_simulated(state, (asked.namespace, asked.cluster), rows)
    if output != "table":
        about = {"name": asked.cluster, "namespace": asked.namespace, "delivery": stack.engine.name}
        data({"apiVersion": versions.API_VERSION, "cluster": about, "apps": rows}, output)
        return
    table = [("APP", "STATE", "VERSION", "NAMESPACE", "MESSAGE")]
    table += [
        (
            row["name"],
            row["state"],
            row["version"],
            row["namespace"],
            "; ".join(filter(None, (row["message"], row["simulated"]))) if row["delivered"] else "",
        )
        for row in rows
    ]
    click.echo("\n".join(columns(table)))


def _why_not(stack: Stack, bundle: Bundle) -> str:
    """Why ``bundle`` does not fit the cluster; empty where it does."""
    if not bundle.fits(stack.kind):
        return f"not in {stack.kind}"
    if not bundle.fits(stack.kind, stack.cni):
        return f"for cni {bundle.cni}"
    minor = stack.target.kubernetes
    return f"not for Kubernetes {minor}" if bundle.too_new(minor) else ""


def _say_what_is_simulated(state: State, cluster: tuple[str, str], rows: list[dict[str, Any]]) -> None:
    from capi_llm import plane
    from capi_llm.sandbox.layout import layout
    from capi_llm.sandbox.simulated import behind

    sandbox = layout(state.settings.state, plane.choose_name(state.settings, state.plane))
    for row in rows:
        if any(part["kind"] in _WITH_PODS for part in row["parts"]):
            row["simulated"] = behind(sandbox, cluster, (row["namespace"], row["name"]))


def _state(item: AppStatus, otherwise: str) -> str:
    return item.status.state.value if item.delivered else otherwise


def _row(app: str, item: AppStatus, state: str, version: str, space: str, fits: bool) -> dict[str, Any]:
    return {
        "name": app,
        "state": state,
        "ready": item.delivered and item.status.ready,
        "delivered": item.delivered,
        "fits": fits,
        "version": item.version or version,
        "namespace": space,
        "message": item.status.message,
        "simulated": "",
        "parts": [
            {
                "apiVersion": part.ref.resource.api_version,
                "kind": part.ref.resource.kind,
                "namespace": part.ref.namespace or "",
                "name": part.ref.name,
                "state": part.status.state.value,
                "message": part.status.message,
            }
            for part in item.parts
        ],
    }


@apps.command("wait")
@timeout("APPS")
@on_cluster
def wait_for_apps(state: State, asked: Asked, timeout: float) -> None:
    """Wait until apps on CLUSTER are ready: those named, else all that were delivered."""
    from capi_llm.apps import course
    from capi_llm.apps.catalogue import choose
    from capi_llm.waiting import ready

    with opened(state, asked) as stack:
        if asked.apps:
            choose(stack.bundles, asked.apps, "APP")
        wanted = list(asked.apps) or list(stack.engine.delivered())
        with watching(state, stack, timeout) as waiting:
            states = course.until_ready(stack.engine, wanted, waiting)
    state.console.mark(ready(), f"{count(len(states), 'app')} ready.")


@apps.command("remove")
@yes("removing apps with what they store")
@timeout("APPS")
@on_cluster
def remove_apps(
    state: State,
    asked: Asked,
    timeout: float,
    yes: bool,
) -> None:
    """Remove apps from CLUSTER, with their volumes: those named, else all that were delivered.

    Namespaces, generated Secrets and definitions of kinds stay.
    """
    from capi_llm.apps import course

    with opened(state, asked, command="apps remove") as stack:
        names = course.removal(stack.bundles, stack.engine.delivered(), asked.apps)
        if not names:
            state.console.say("Nothing of that is on the cluster; nothing was changed.")
            return
        confirm(
            state, f"Remove {', '.join(names)} from cluster {asked.cluster!r}, with what they store?", yes=yes
        )
        for item in stack.engine.remove(names, timeout=timeout):
            state.console.say(f"{item.app}: {count(len(item.deleted), 'object')} deleted.")
            for ref in item.kept:
                state.console.say(f"{ref} kept.")
        if not stack.engine.delivered():
            stack.forget()


@apps.command("restart")
@click.option("--wait/--no-wait", default=True, help="Wait until they are ready.  [default: wait]")
@timeout("APPS")
@on_cluster
def restart_apps(
    state: State,
    asked: Asked,
    wait: bool,
    timeout: float,
) -> None:
    """Replace the pods of apps on CLUSTER, one after the other: those named."""
    from capi_llm.apps import course, restart
    from capi_llm.apps.catalogue import choose
    from capi_llm.errors import BadInput

    if not asked.apps:
        raise BadInput("no app was named", fix=f"capi-llm apps restart {asked.cluster} APP")
    with opened(state, asked, command="apps restart") as stack:
        choose(stack.bundles, asked.apps, "APP")
        for ref in restart.pods(stack.workload, stack.engine.status(asked.apps)):
            state.console.say(f"{ref}: its pods are being replaced.")
        if wait:
            with watching(state, stack, timeout) as waiting:
                course.until_ready(stack.engine, asked.apps, waiting)


@apps.command("logs")
@click.option("--follow", is_flag=True, help="Go on as new lines come.")
@click.option("--previous", is_flag=True, help="Of the run before the last crash.")
@click.option("--tail", type=click.IntRange(min=0), default=100, show_default=True, help="Lines of each.")
@on_cluster
def logs_of_apps(
    state: State,
    asked: Asked,
    follow: bool,
    previous: bool,
    tail: int,
) -> None:
    """Log of the containers of apps on CLUSTER: those named, else all that were delivered."""
    from capi_llm.apps import log
    from capi_llm.apps.catalogue import choose

    with opened(state, asked) as stack:
        if asked.apps:
            choose(stack.bundles, asked.apps, "APP")
        states = stack.engine.status(asked.apps or stack.engine.delivered())
        containers = log.containers(stack.workload, states)
        if not containers:
            state.console.say("No containers are there.")
        for line in log.lines(stack.workload, containers, tail=tail, follow=follow, previous=previous):
            click.echo(line)


for command in (render, diff, apply_apps, migrate):
    apps.add_command(command)

COMMANDS = (apps,)
