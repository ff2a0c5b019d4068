"""``models route``, ``promote`` and ``rollback``: another split of a model's requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import columns, data
from capi_llm.cli.options import State, namespace, output, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.cli.gateways import Opened
    from capi_llm.models.split import Share
    from capi_llm.settings import Model

_REQUEST_SECONDS = 120.0
_SEEN_SECONDS = 180.0
"""How long a gateway may take until it has the new weights, after its pods are ready."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        pass_state,
        plane_name,
        namespace,
        timeout("APPS"),
        click.option("--url", default="", metavar="URL", help="Look at a gateway elsewhere; bring nothing."),
        click.option(
            "--requests",
            type=click.IntRange(0, 100000),
            default=200,
            show_default=True,
            metavar="N",
            help="Requests that the split is measured with.",
        ),
        click.option(
            "--cluster",
            default="",
            shell_complete=names.clusters,
            help="Bring it to this cluster and measure.",
        ),
        output("table", "json", "yaml"),
    ):
        command = option(command)
    return command


@click.command("route")
@click.argument("name", shell_complete=names.models)
@click.argument("shares", nargs=-1, required=True, metavar="BACKEND=WEIGHT...")
@_options
def route(state: State, name: str, shares: tuple[str, ...], **more: Any) -> int:
    """Share the requests of model NAME: capi-llm models route chat primary=90 canary=10"""
    from capi_llm.models import routes

    return _change(state, name, lambda model: routes.shares(model, shares), **more)


@click.command("promote")
@click.argument("name", shell_complete=names.models)
@click.argument("backend", default="")
@_options
def promote(state: State, name: str, backend: str, **more: Any) -> int:
    """Give all requests of model NAME to BACKEND, by default to the one beside the first."""
    from capi_llm.models import routes

    return _change(state, name, lambda model: routes.promotion(model, backend), **more)


@click.command("rollback")
@click.argument("name", shell_complete=names.models)
@_options
def rollback(state: State, name: str, **more: Any) -> int:
    """Give all requests of model NAME back to its first backend."""
    from capi_llm.models import routes

    return _change(state, name, routes.rollback, **more)


def _change(
    state: State,
    name: str,
    weights_of: Callable[[Model], Mapping[str, int]],
    *,
    output: str,
    cluster: str,
    requests: int,
    url: str,
    timeout: float,
    namespace: str,
) -> int:
    from capi_llm.errors import BadInput
    from capi_llm.forward import origins
    from capi_llm.models import editing, routes, split

    if state.settings.models is None:
        raise BadInput(
            "the settings have no models",
            why="only the default ones are there",
            fix="see capi-llm models add",
        )
    if cluster and url:
        raise BadInput("--cluster and --url exclude each other", fix="leave one of them out")
    model = routes.find(state.settings.models, name)
    fresh = routes.routed(model, weights_of(model))
    gains = [item for item, weight in fresh.weights.items() if weight]
    # As port-forward names it, and as apps does.
    namespace, cluster = origins.place_of(cluster, namespace)
    where = f"{namespace}/{cluster}" if cluster else ""
    if cluster or url:
        with _gateway(state, where, url) as opened:
            split.require_ready(opened.gateway, fresh, gains, within=_REQUEST_SECONDS)
    path, wrote = editing.save(state.settings.file, editing.put([fresh]))
    said = ", ".join(f"{item} {weight}" for item, weight in fresh.weights.items())
    state.console.say(f"Model {name}: {said} in {path}" + ("" if wrote else ", as it was") + ".")
    if cluster:
        _bring(state, cluster, namespace, timeout)
    elif not url:
        state.console.say(f"Next: capi-llm apps apply CLUSTER, or models route {name} … --cluster CLUSTER")
        return 0
    with _gateway(state, where, url) as opened:
        return _measured(state, opened, fresh, requests, output)


def _bring(state: State, cluster: str, namespace: str, timeout: float) -> None:
    from capi_llm.cli.app_delivery import deliver
    from capi_llm.cli.app_options import Asked, opened

    del state.settings  # what was written is read again
    asked = Asked(cluster, namespace, ("litellm-config", "litellm"))
    with opened(state, asked, command="models route") as stack:
        deliver(state, stack, stack.choose(asked.apps), force=False, wait=True, timeout=timeout)


def _gateway(state: State, cluster: str, url: str) -> Any:
    from capi_llm.cli import gateways

    return gateways.opened(state, cluster, url, "", 60.0)


def _measured(state: State, opened: Opened, model: Model, requests: int, output: str) -> int:
    from capi_llm.models import split
    from capi_llm.waiting import Waiter, pending, ready, until

    def seen() -> Any:
        from capi_llm.errors import FetchFailed

        try:
            found = split.known_weights(opened.gateway, model, within=10.0)
        except FetchFailed as error:
            return pending(error.brief)
        return ready() if found == model.weights else pending(f"the gateway has {found}")

    until(seen, what="the new weights at the gateway", timeout=_SEEN_SECONDS, waiter=Waiter(interval=0.5))
    if not requests:
        return 0
    with state.console.drawing() as drawing:
        answers, failed = split.measure(
            opened.gateway,
            model,
            requests,
            within=_REQUEST_SECONDS,
            heard=lambda count: drawing.show([f"· measuring: {count} of {requests} requests"], plain=[]),
        )
    found = split.shares(model, answers)
    if output != "table":
        data(_as_json(model, found, requests, failed, opened.simulated), output)
    else:
        click.echo("\n".join(_table(found)))
        click.echo(
            f"{sum(answers.values())} of {requests} requests answered, {failed} failed; 95 % intervals."
        )
        if opened.simulated:
            click.echo(opened.simulated)
    return 1 if failed or set(answers) - {share.backend for share in found} else 0


def _table(found: list[Share]) -> list[str]:
    rows = [("BACKEND", "WEIGHT", "ANSWERS", "SHARE", "INTERVAL", "")]
    rows += [
        (
            share.backend,
            str(share.weight),
            str(share.answers),
            f"{share.share:.1%}",
            f"{share.low:.1%} to {share.high:.1%}",
            "" if share.fits else f"{share.expected:.1%} is outside of it",
        )
        for share in found
    ]
    return columns(rows)


def _as_json(model: Model, found: list[Share], requests: int, failed: int, simulated: str) -> dict[str, Any]:
    return {
        "apiVersion": versions.API_VERSION,
        "model": model.name,
        "requests": requests,
        "failed": failed,
        "simulated": simulated,
        "confidence": 0.95,
        "backends": [
            {
                "name": share.backend,
                "weight": share.weight,
                "answers": share.answers,
                "share": share.share,
                "interval": [share.low, share.high],
                "expected": share.expected,
                "withinInterval": share.fits,
            }
            for share in found
        ],
    }
