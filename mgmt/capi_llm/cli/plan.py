"""``plan``: what a change would do, asked of Cluster API's own webhooks, and of the apps' API servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import data
from capi_llm.cli.options import State, output, pass_state, plane_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capi_llm.apps.outlook import Outlook
    from capi_llm.clusters.plan import Item
    from capi_llm.clusters.spec import ClusterSpec, Given

_SIGNS = {"create": "+", "change": "~", "none": "=", "unknown": "~"}
_LONGEST = 160


@click.command()
@click.argument("name", required=False, shell_complete=names.clusters)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="ClusterSpec file, or manifests: Cluster, ClusterClass, templates.",
)
@click.option("--class-dir", type=click.Path(path_type=Path), help="Folder of a class.")
@click.option(
    "-n", "--namespace", metavar="NAMESPACE", help="Namespace of what names none.  [default: default]"
)
@click.option("--workers", metavar="MIN..MAX|N", help="As in new-cluster.")
@click.option("--class", "cluster_class", metavar="CLASS", help="As in new-cluster.")
@click.option("--version", "version", metavar="VERSION", help="As in new-cluster.")
@click.option("--control-plane", type=int, metavar="N", help="As in new-cluster.")
@click.option("--pool", "pools", multiple=True, metavar="NAME=MIN..MAX[:CLASS]", help="As in new-cluster.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="As in new-cluster.")
@click.option("--set", "variables", multiple=True, metavar="VAR=VALUE", help="As in new-cluster.")
@click.option("--apps", "apps", metavar="APP,…|none", help="As in new-cluster.")
@click.option("--exit-code", is_flag=True, help="End with 5 where something would change.")
@output("table", "json", "yaml")
@plane_name
@pass_state
def plan(
    state: State,
    /,
    files: tuple[Path, ...],
    class_dir: Path | None,
    apps: str | None,
    exit_code: bool,
    output: str,
    **flags: Any,
) -> int:
    """What a change would do: accepted or refused, and what differs, field by field.

    Every object is sent to the API server as a dry run, through Cluster API's own webhooks; those of
    a cluster's apps to the cluster, or to Fleet. Nothing is written. Ends with 1 where something would
    be refused.
    """
    from capi_llm import plane
    from capi_llm.apps import outlook
    from capi_llm.cli import new_apps, plan_apps
    from capi_llm.clusters import classes, spec
    from capi_llm.clusters import plan as planning
    from capi_llm.errors import BadInput

    said = spec.from_flags(**flags)
    named = new_apps.named(state.settings, apps)
    folder = classes.load_dir(class_dir) if class_dir else None
    sources = [planning.load(path) for path in files]
    objects = [*(folder.objects if folder else ()), *(obj for source in sources for obj in source.objects)]
    given = [source.given for source in sources if source.given is not None]
    settings = state.settings
    default = folder.name if folder else plane.default_class(plane.kind_of(settings, state.plane))
    defaults = spec.Given(**settings.cluster, places=settings.cluster_places)
    wanted = _specs(given, said, defaults, default, "" if folder else plane.CLASS_NAMESPACE)
    for one in wanted:
        spec.keep_apart(one, settings.networks_to_avoid() if one.places else ())
    if not wanted and not objects:
        raise BadInput("nothing is asked for", fix="capi-llm plan -f FILE, or capi-llm plan NAME --version …")
    with plane.connected(settings, state.plane) as here:
        api = here.api()
        infos = [
            classes.describe_folder(folder) if folder else classes.find(api, one.cluster_class, one.namespace)
            for one in wanted
        ]
        checked = [classes.check(one, info) for one, info in zip(wanted, infos, strict=True)]
        items = planning.of_change(api, objects, checked, namespace=said.namespace or "default")
        usual = here.identity.choices.get("delivery", "")
        views = [
            outlook.of_cluster(settings, here.identity.kind, api, one, info, named, engine=usual)
            for one, info in zip(checked, infos, strict=True)
        ]
    if output == "table":
        click.echo("\n".join([*_lines(items), *plan_apps.lines(views)]))
        state.console.say("Nothing was written. Which machines would be replaced: capi-llm rehearse -f FILE.")
    else:
        data(
            {"apiVersion": versions.API_VERSION, **_as_json(items), "apps": plan_apps.as_json(views)}, output
        )
    every: list[Item | Outlook] = [*items, *views]
    if any(item.verdict == "refused" for item in every):
        return 1
    return 5 if exit_code and any(item.action != "none" for item in every) else 0


def _specs(
    given: Sequence[Given], said: Given, defaults: Given, default_class: str, class_namespace: str
) -> list[ClusterSpec]:
    """One spec per file, with the flags over it; of the flags alone where they name a cluster."""
    from dataclasses import replace

    from capi_llm.clusters import spec
    from capi_llm.errors import BadInput

    more = replace(said, namespace=None) != spec.Given()
    if not given and not said.name and more:
        raise BadInput("options change a cluster, and none is named", fix="capi-llm plan NAME --version …")
    if len(given) > 1 and more:
        raise BadInput("options with more than one ClusterSpec file", fix="plan one file at a time")
    files: list[Given | None] = [*given] or ([None] if said.name else [])
    return [
        spec.merge(
            file, said, default_class=default_class, class_namespace=class_namespace, defaults=defaults
        )
        for file in files
    ]


def _lines(items: Sequence[Item]) -> list[str]:
    lines = []
    for item in items:
        sign = {"refused": "✗", "not asked": "?"}.get(item.verdict, _SIGNS[item.action])
        lines.append(f"{sign} {item.ref}: {_outcome(item)}")
        lines += [f"    {change.path}: {value(change.old)} → {value(change.new)}" for change in item.changes]
        lines += [f"    because {reason}" for reason in item.why]
        if item.fix:
            lines.append(f"    to go on: {item.fix}")
        lines += [f"    note: {note}" for note in item.notes]
    counts = _counts(items)
    lines.append("Plan: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count) + ".")
    return lines


def _outcome(item: Item) -> str:
    if item.verdict != "accepted":
        return "would be refused" if item.verdict == "refused" else "could not be asked"
    return {"create": "would be created", "change": "would be changed"}.get(item.action, "no change")


def _counts(items: Sequence[Item]) -> dict[str, int]:
    def accepted(action: str) -> int:
        return sum(item.verdict == "accepted" and item.action == action for item in items)

    return {
        "to create": accepted("create"),
        "to change": accepted("change"),
        "unchanged": accepted("none"),
        "refused": sum(item.verdict == "refused" for item in items),
        "not asked": sum(item.verdict == "not asked" for item in items),
    }


def value(value: Any) -> str:
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value, separators=(", ", ": "))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _as_json(items: Sequence[Item]) -> dict[str, Any]:
    return {
        "summary": {what.replace(" ", "_"): count for what, count in _counts(items).items()},
        "objects": [
            {
                "apiVersion": item.ref.resource.api_version,
                "kind": item.ref.resource.kind,
                "namespace": item.ref.namespace or "",
                "name": item.ref.name,
                "action": item.action,
                "verdict": item.verdict,
                "changes": [
                    {"path": change.path, "old": change.old, "new": change.new} for change in item.changes
                ],
                "why": list(item.why),
                "fix": item.fix,
                "notes": list(item.notes),
            }
            for item in items
        ],
    }


COMMANDS = (plan,)
