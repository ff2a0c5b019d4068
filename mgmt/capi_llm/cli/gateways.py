"""The gateway that a command asks: of a cluster, through a port-forward of our own, or at a URL."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from capi_llm.cli import names
from capi_llm.cli.options import State, duration, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.kube.credentials import Credentials
    from capi_llm.models.gateway_address import Gateway
    from capi_llm.settings import Secret

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Opened:
    """A gateway that can be asked. ``simulated`` says what stands behind it; empty: nothing is simulated."""

    gateway: Gateway
    cluster: str = ""
    simulated: str = ""


def asking(command: _Command) -> _Command:
    """The options of commands that ask a model."""
    for option in (
        plane_name,
        timeout("SMOKE"),
        click.option(
            "--wait",
            callback=duration(0.0),
            metavar="TIME",
            help="How long a gateway that is just starting may take.  [default: 0s]",
        ),
        click.option(
            "--max-tokens", "most", type=click.IntRange(1), metavar="N", help="Longest answer, in tokens."
        ),
        click.option(
            "--host", default="", metavar="HOST", help="Host header for --url: tests routing by host."
        ),
        click.option(
            "--url",
            default="",
            metavar="URL",
            help="Of a gateway elsewhere; its key is CAPI_LLM_GATEWAY_KEY in the environment.",
        ),
        click.option(
            "--model", default="", metavar="NAME", help="Model to ask.  [default: the first of its list]"
        ),
    ):
        command = option(command)
    return command


cluster_argument = click.argument("cluster", required=False, default="", shell_complete=names.clusters)


@contextlib.contextmanager
def opened(state: State, cluster: str, url: str, host: str, wait: float) -> Iterator[Opened]:
    """The gateway of ``cluster`` while the block runs, or that at ``url``.

    ``wait`` is how many seconds a connection waits for a ready pod. Raises BadInput, NotFound and what
    the API server says.
    """
    from capi_llm.errors import BadInput
    from capi_llm.models import gateway_address

    if url:
        if cluster:
            raise BadInput("a cluster and --url exclude each other", on=cluster, fix="leave one of them out")
        gateway = gateway_address.opened(url, host, state.settings.gateway_key)
        if gateway.key and gateway_address.in_the_clear(gateway):
            state.console.say("The key goes to this address unencrypted; use https where others can listen.")
        yield Opened(gateway)
        return
    if host:
        raise BadInput("--host is for --url", fix="give the gateway's address with --url")
    with _of_cluster(state, cluster, wait) as found:
        yield found


@contextlib.contextmanager
def _of_cluster(state: State, cluster: str, wait: float) -> Iterator[Opened]:
    from capi_llm import plane
    from capi_llm.forward import origins
    from capi_llm.forward.forwarder import Forwarder
    from capi_llm.models.gateway_address import Gateway
    from capi_llm.sandbox.layout import layout
    from capi_llm.sandbox.simulated import LITELLM, behind

    words = (cluster, "litellm:0") if cluster else ("litellm:0",)
    wanted = origins.parse(words)
    with plane.connected(state.settings, state.plane) as here, contextlib.ExitStack() as kept:
        label, (origin,) = origins.find(here, wanted, kept)
        simulated = ""
        if here.identity.kind == "sandbox":
            simulated = behind(layout(state.settings.state, here.identity.name), origin.cluster, LITELLM)
        key = _key(origin.credentials)
        with contextlib.closing(
            Forwarder(
                wait=wait,
                report=lambda app, text: state.console.say(f"{app}: a connection was reset: {text}"),
            )
        ) as forwarder:
            (forward,) = forwarder.start([(origin.credentials, origin.targets)])
            yield Opened(Gateway(forward.url, key=key), label, simulated)


def _key(credentials: Credentials) -> Secret:
    from capi_llm.errors import NotFound
    from capi_llm.fields import secret
    from capi_llm.kube.client import Api
    from capi_llm.kube.resources import SECRETS, Ref
    from capi_llm.settings import Secret

    ref = Ref(SECRETS, "litellm", "llm")
    with Api(credentials) as api:
        data = (api.find(ref) or {}).get("data") or {}
    try:
        text = base64.b64decode(data["master-key"], validate=True).decode()
    except (KeyError, binascii.Error, UnicodeDecodeError) as error:
        raise NotFound(
            "the gateway's key is not there", on=str(ref), why="it has no master-key that can be read",
            fix="capi-llm apps apply CLUSTER litellm makes one",
        ) from error  # fmt: skip
    return Secret(secret(text, str(ref)))
