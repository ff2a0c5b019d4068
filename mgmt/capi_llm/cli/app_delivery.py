"""``apps render``, ``diff`` and ``apply``: what the apps are to be, what that changes, and the change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.app_options import Asked, on_cluster, opened, values, watching
from capi_llm.cli.console import data
from capi_llm.cli.options import State, output, timeout

if TYPE_CHECKING:
    from capi_llm.apps.engine import Delivered, Difference, Release
    from capi_llm.apps.stack import Stack

_SIGNS = {"create": "+", "change": "~", "delete": "-"}
_WORDS = {"create": "would be created", "change": "would be changed", "delete": "would be deleted"}


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["objects", "helm"]),
    default="objects",
    show_default=True,
    help="The objects, or one Helm chart.",
)
@click.option(
    "-o",
    "--output",
    default="yaml",
    metavar="yaml|json|DIR",
    show_default=True,
    help="Form of the objects; the folder of the chart.",
)
@values
@on_cluster
def render(
    state: State,
    asked: Asked,
    form: str,
    output: str,
) -> None:
    """The objects that apps apply would apply to CLUSTER, as kubectl takes them; or a Helm chart.

    Secrets are not in it: apps apply makes them in the cluster. --format helm -o DIR writes the chart
    llm-stack, with value provider: docker (the ClusterClass and the apps) or apps (the apps).
    """
    from capi_llm.apps import export, namespaces
    from capi_llm.errors import BadInput

    if (form == "helm") == (output in ("yaml", "json")):
        raise BadInput("-o names the folder of --format helm", fix="--format helm -o DIR, or -o yaml")
    with opened(state, asked) as stack:
        chosen = stack.choose(asked.apps)
        if form == "helm":
            path = export.write(Path(output), chosen, stack.helm)
            state.console.say(f"Next: helm install llm-stack {path} --namespace llm --create-namespace")
            click.echo(str(path))
            return
        rendered = stack.engine.render(chosen)
    objects = [obj for item in rendered for obj in item.objects]
    # Fleet's own objects are for the management plane, where nothing of theirs is missing.
    ours = stack.engine.name == "direct"
    own = [release for release in chosen if ours and release.bundle.place == "workload"]
    objects = [*namespaces.objects(own, objects), *objects]
    if output == "json":
        data({"apiVersion": "v1", "kind": "List", "items": objects}, output)
    else:
        for obj in objects:
            data(obj, output, stream=True)


@click.command()
@click.option("--exit-code", is_flag=True, help="End with 5 where something would change.")
@click.option("--force-conflicts", is_flag=True, help="As if fields that others own were taken over.")
@output("table", "json", "yaml")
@values
@on_cluster
def diff(
    state: State,
    asked: Asked,
    exit_code: bool,
    force_conflicts: bool,
    output: str,
) -> int:
    """What apps apply would change on CLUSTER, field by field, by the server's dry run."""
    with opened(state, asked) as stack:
        chosen = stack.choose(asked.apps, with_needs=True)
        found = stack.differences(chosen, force=force_conflicts)
    if output == "table":
        click.echo("\n".join(_lines(found)))
    else:
        data(
            {"apiVersion": versions.API_VERSION, "objects": [difference_json(item) for item in found]}, output
        )
    return 5 if exit_code and any(item.action != "none" for item in found) else 0


def _lines(found: Sequence[Difference]) -> list[str]:
    return [*difference_lines(found), f"Diff: {counts(found) or 'nothing'}."]


def difference_lines(found: Sequence[Difference]) -> list[str]:
    """What differs, object by object."""
    from capi_llm.cli.plan import value

    lines = []
    for item in found:
        if item.action == "none":
            continue
        lines.append(f"{_SIGNS[item.action]} {item.ref}: {_WORDS[item.action]}")
        lines += [f"    {change.path}: {value(change.old)} → {value(change.new)}" for change in item.changes]
        if item.conflict:
            lines.append(f"    refused without --force-conflicts: {item.conflict}")
        if item.action == "change" and not item.changes:
            lines.append("    only whose fields they are")
    return lines


def counts(found: Sequence[Difference]) -> str:
    """``1 to change, 40 unchanged``."""
    numbers = {
        word: sum(item.action == action for item in found)
        for action, word in (
            ("create", "to create"),
            ("change", "to change"),
            ("delete", "to delete"),
            ("none", "unchanged"),
        )
    }
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number)


def difference_json(item: Difference) -> dict[str, Any]:
    """One object in ``-o json``."""
    return {
        "app": item.app,
        "apiVersion": item.ref.resource.api_version,
        "kind": item.ref.resource.kind,
        "namespace": item.ref.namespace or "",
        "name": item.ref.name,
        "action": item.action,
        "conflict": item.conflict,
        "changes": [{"path": change.path, "old": change.old, "new": change.new} for change in item.changes],
    }


@click.command("apply")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others own.")
@click.option("--wait/--no-wait", default=True, help="Wait until they are ready.  [default: wait]")
@timeout("APPS")
@values
@on_cluster
def apply_apps(
    state: State,
    asked: Asked,
    force_conflicts: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Bring apps to CLUSTER, with what they need: those named, else all that are wanted.

    Run again, it changes nothing. What left a bundle is deleted, and nothing else.
    """
    with opened(state, asked, command="apps apply") as stack:
        deliver(
            state,
            stack,
            stack.choose(asked.apps, with_needs=True),
            force=force_conflicts,
            wait=wait,
            timeout=timeout,
        )


def deliver(
    state: State, stack: Stack, releases: Sequence[Release], *, force: bool, wait: bool, timeout: float
) -> None:
    """Bring ``releases`` with one line per app, and wait for them."""
    from capi_llm.apps import course

    if not releases:
        state.console.say("No apps are wanted.")
        return
    for ref in stack.prepare(releases):
        state.console.say(f"{ref} made.")
    with watching(state, stack, timeout) as waiting:
        done = course.deliver(stack.engine, releases, waiting, force=force, to_end=wait)
    for item in done:
        for ref in item.pruned:
            state.console.say(f"{ref} deleted: it left {item.app}.")
        for ref in item.kept:
            state.console.say(f"{ref} kept, though it left {item.app}.")
    _summary(state, done, wait)


def _summary(state: State, done: Sequence[Delivered], wait: bool) -> None:
    from capi_llm.waiting import ready

    changed = [item for item in done if item.writes]
    if changed:
        writes = sum(item.writes for item in changed)
        where = "" if len(changed) == len(done) else f" of {count(len(changed), 'app')}"
        what = f"{count(writes, 'object')}{where} changed"
    else:
        what = "nothing was changed"
    text = f"{count(len(done), 'app')} {'ready' if wait else 'delivered'}: {what}."
    state.console.mark(ready(), text)


def count(number: int, what: str) -> str:
    """``1 app``, ``5 apps``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
