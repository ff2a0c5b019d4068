"""``config``: every setting and where it came from; the JSON Schema of the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.console import columns, data
from capi_llm.cli.options import State, output, plane_name

if TYPE_CHECKING:
    from capi_llm.settings import Found


@click.group(invoke_without_command=True)
@output("table", "json", "yaml")
@plane_name
@click.pass_context
def config(context: click.Context, output: str) -> None:
    """Every setting, and where its value came from. Secrets are shown as ****."""
    if context.invoked_subcommand is not None:
        return
    from capi_llm.settings import load

    state = context.ensure_object(State)
    flags = {"plane.name": ("--name", state.plane)} if state.plane else {}
    settings = load(state.config, flags=flags)
    settings.check_apart()
    hosts = [network.cidr for network in settings.networks_to_avoid()]
    found = [
        replace(item, value=hosts, place="this machine")
        if item.setting.path == "host.networks" and item.source == "default"
        else item
        for item in settings.found
    ]
    if output != "table":
        data(
            {
                "apiVersion": versions.API_VERSION,
                "file": str(settings.file) if settings.file else None,
                "settings": [_as_json(item) for item in found],
            },
            output,
        )
        return
    rows = [("SETTING", "VALUE", "FROM")]
    rows += [
        (item.setting.path, _text(_short(item)), _origin(item))
        for item in found
        # A sandbox has a dozen executables, and hardly anybody brings their own.
        if item.value is not None or not item.setting.path.startswith("parts.executables.")
    ]
    click.echo("\n".join(columns(rows)))


@config.command("schema")
@click.argument("file", type=click.Choice(["settings", "cluster"]), default="settings")
@output("json", "yaml")
def schema(file: str, output: str) -> None:
    """JSON Schema of capi-llm.yaml, or with `cluster` of the files of new-cluster -f."""
    from capi_llm.settings import schema as schemas

    data(schemas.cluster() if file == "cluster" else schemas.settings(), output)


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "name": found.setting.path,
        "value": _plain(found.value),
        "source": found.source,
        "place": found.place,
        "variable": found.setting.variable,
        "description": found.setting.help,
    }


def _plain(value: Any) -> Any:
    from capi_llm.fields import Range
    from capi_llm.settings import Model, Provider, Secret, providers
    from capi_llm.settings.models import written

    if isinstance(value, Path | Secret | Range):
        return str(value)
    if isinstance(value, tuple) and any(isinstance(item, Model) for item in value):
        return [written(item) for item in value]
    if isinstance(value, tuple) and any(isinstance(item, Provider) for item in value):
        return [providers.written(item) for item in value]
    return list(value) if isinstance(value, tuple) else value


def _short(found: Found) -> Any:
    value = _plain(found.value)
    named = found.setting.path in ("models", "providers") and value
    return [item["name"] for item in value] if named else value


def _text(value: Any) -> str:
    import json

    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def _origin(found: Found) -> str:
    words = {"file": "", ".env": "", "flag": "flag "}.get(found.source, f"{found.source} ")
    return (words + found.place).strip()


COMMANDS = (config,)
