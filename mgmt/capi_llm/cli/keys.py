"""``keys``: keys of the gateway's clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import columns, data, standard_input
from capi_llm.cli.options import State, confirm, output, pass_state, plane_name, yes

if TYPE_CHECKING:
    from capi_llm.models.keys import Key, Keys
    from capi_llm.settings import Secret


@click.group()
def keys() -> None:
    """Keys of the gateway's clients: create, list, revoke.

    \b
    capi-llm keys create team-search --cluster demo --rpm 60
    capi-llm keys revoke team-search --cluster demo
    """


def _gateway(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        pass_state,
        plane_name,
        click.option(
            "--url",
            default="",
            metavar="URL",
            help="Of a gateway elsewhere; its master key is CAPI_LLM_GATEWAY_KEY in the environment.",
        ),
        click.option("--cluster", default="", shell_complete=names.clusters, help="Cluster of the gateway."),
    ):
        command = option(command)
    return command


@keys.command("create")
@click.argument("name")
@click.option("--stdin", is_flag=True, help="Take a key of your own from standard input; it begins with sk-.")
@click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="It may ask this one.  [default: all]"
)
@click.option("--rpm", type=click.IntRange(1), metavar="N", help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(1), metavar="N", help="Tokens a minute.")
@click.option("--model-rpm", multiple=True, metavar="MODEL=N", help="Requests a minute to one model.")
@click.option("--model-tpm", multiple=True, metavar="MODEL=N", help="Tokens a minute of one model.")
@click.option("--expires", default="", metavar="TIME", help="After that long, such as 12h or 30d.")
@output("table", "json", "yaml")
@_gateway
def create(
    state: State,
    name: str,
    stdin: bool,
    models: tuple[str, ...],
    rpm: int | None,
    tpm: int | None,
    model_rpm: tuple[str, ...],
    model_tpm: tuple[str, ...],
    expires: str,
    output: str,
    cluster: str,
    url: str,
) -> None:
    """Make key NAME. It is printed on standard output once, and can not be shown again."""
    from capi_llm.models import keys as api

    api.check_name(name)
    limits = api.Limits(
        rpm,
        tpm,
        api.by_model(model_rpm, "--model-rpm") or None,
        api.by_model(model_tpm, "--model-tpm") or None,
    )
    api.check_duration(expires)
    own = api.check_own(_from_stdin()) if stdin else None
    with _opened(state, cluster, url) as found:
        key = found.create(name, own=own, models=models, limits=limits, expires=expires)
    state.console.say(f"Key {name} was made. It is not shown again.")
    if output == "table":
        click.echo(key.reveal())
    else:
        data({"apiVersion": versions.API_VERSION, "name": name, "key": key.reveal()}, output)


@keys.command("list")
@output("table", "json", "yaml")
@_gateway
def list_keys(state: State, output: str, cluster: str, url: str) -> None:
    """Every key, by name; the keys themselves are not known any more."""
    with _opened(state, cluster, url) as found:
        listed = found.list()
    if output != "table":
        data({"apiVersion": versions.API_VERSION, "keys": [_as_json(key) for key in listed]}, output)
        return
    rows = [("NAME", "KEY", "MODELS", "REQUESTS/MIN", "TOKENS/MIN", "EXPIRES")]
    rows += [
        (
            key.name,
            key.shown,
            ", ".join(key.models) or "all",
            _limit(key.limits.requests, key.limits.requests_by_model),
            _limit(key.limits.tokens, key.limits.tokens_by_model),
            key.expires or "never",
        )
        for key in listed
    ]
    click.echo("\n".join(columns(rows)))


@keys.command("revoke")
@click.argument("name")
@yes("revoking it")
@_gateway
def revoke(state: State, name: str, yes: bool, cluster: str, url: str) -> None:
    """Take key NAME away: whoever shows it from then on gets 401."""
    confirm(state, f"Revoke key {name!r}?", yes=yes)
    with _opened(state, cluster, url) as found:
        found.revoke(name)
    state.console.say(f"Key {name} is revoked.")


def _opened(state: State, cluster: str, url: str) -> Any:
    from contextlib import contextmanager

    from capi_llm.cli import gateways
    from capi_llm.models.keys import Keys

    @contextmanager
    def way() -> Any:
        with gateways.opened(state, cluster, url, "", 60.0) as opened:
            made: Keys = Keys(opened.gateway)
            yield made

    return way()


def _from_stdin() -> Secret:
    from capi_llm.settings import Secret

    return Secret(standard_input(line=True).strip())


def _limit(number: int | None, by_model: Any) -> str:
    parts = [str(number)] if number else []
    parts += [f"{model} {limit}" for model, limit in (by_model or {}).items()]
    return ", ".join(parts) or "-"


def _as_json(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "key": key.shown,
        "models": list(key.models),
        "requestsPerMinute": key.limits.requests,
        "tokensPerMinute": key.limits.tokens,
        "requestsPerMinuteByModel": dict(key.limits.requests_by_model or {}),
        "tokensPerMinuteByModel": dict(key.limits.tokens_by_model or {}),
        "created": key.created,
        "expires": key.expires,
        "spend": key.spend,
    }


COMMANDS = (keys,)
