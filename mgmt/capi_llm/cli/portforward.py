"""``portforward``: local ports into a cluster, in the foreground or in the background."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from capi_llm import versions
from capi_llm.cli import names
from capi_llm.cli.console import columns, data
from capi_llm.cli.options import State, output, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.forward.forwarder import Forward
    from capi_llm.forward.origins import Origin, Wanted
    from capi_llm.forward.records import Local, Records, Run

_STARTED_SECONDS = 60.0
"""Longest wait for the process of --detach to listen."""


@click.command()
@click.argument("words", nargs=-1, metavar="[CLUSTER] [APP]...", shell_complete=names.clusters)
@click.option("--management", is_flag=True, help="Into the management cluster instead of a workload cluster.")
@click.option("-n", "--namespace", default="", metavar="NAMESPACE",
              help="Namespace of the Services.  [default: the app's own; default for svc/NAME]")  # fmt: skip
@click.option("--address", default="127.0.0.1", show_default=True, metavar="IP", help="Address to listen on.")
@click.option("--auto-port", is_flag=True, help="Where a local port is in use, take the next free one.")
@click.option("--open", "opened", is_flag=True, help="Open the first page of it in the browser.")
@click.option("--detach", is_flag=True, help="Go on in the background, and return when all listen.")
@click.option("--stop", is_flag=True, help="End what runs in the background: of CLUSTER, or all.")
@click.option("--list", "listed", is_flag=True, help="Show what is being forwarded on this machine.")
@click.option("--background-id", hidden=True, default="")
@timeout("FORWARD")
@output("table", "json", "yaml")
@plane_name
@pass_state
def portforward(
    state: State,
    words: tuple[str, ...],
    management: bool,
    namespace: str,
    address: str,
    auto_port: bool,
    opened: bool,
    detach: bool,
    stop: bool,
    listed: bool,
    background_id: str,
    timeout: float,
    output: str,
) -> int | None:
    """Forward local ports to the apps of CLUSTER: all that are known, or those that are named.

    \b
    APP is openwebui, litellm, ollama, rancher, jupyterhub or ingress, or any Service:
      capi-llm portforward demo                       all known apps that are there
      capi-llm portforward demo litellm:4001          LiteLLM, at another local port
      capi-llm portforward demo svc/web:8080:80 -n shop
    Every connection is brought to a pod that is ready, and waits --timeout for one.
    """
    from capi_llm import plane
    from capi_llm.errors import BadInput, Interrupted
    from capi_llm.forward import background, origins
    from capi_llm.forward.forwarder import Forwarder
    from capi_llm.forward.records import Records

    records = Records(state.settings.state)
    if sum((stop, listed, detach)) > 1:
        raise BadInput("--detach, --stop and --list exclude each other", fix="give one of them")
    if listed:
        _list(state, records.running(state.plane), output)
        return None
    if stop:
        _stop(state, records, words)
        return None
    wanted = origins.parse(words, namespace, management=management)
    with plane.connected(state.settings, state.plane) as here, contextlib.ExitStack() as kept:
        name = here.identity.name
        label, found = origins.find(here, wanted, kept)
        if here.identity.kind == "sandbox":
            _say_what_is_simulated(state, name, found)
        if detach:
            run = _same(records, name, label, found, auto_port=auto_port)
            if run:
                state.console.say("It is forwarded in the background already.")
            else:
                flags = _flags(wanted, address, auto_port, timeout)
                run = background.start(records, [*_config(state), "--name", name, "portforward",
                                                 *origins.words_of(label), *wanted.words, *flags],
                                       timeout=_STARTED_SECONDS)  # fmt: skip
                state.console.say("It goes on in the background; `capi-llm portforward --stop` ends it.")
            _show(run.forwards, output)
            _open(state, opened, run.forwards)
            return None
        with contextlib.closing(
            Forwarder(
                address=address,
                auto_port=auto_port,
                wait=timeout,
                report=lambda app, text: state.console.say(f"{app}: a connection was reset: {text}"),
                known=records.holder,
            )
        ) as forwarder:
            forwards = forwarder.start([(origin.credentials, origin.targets) for origin in found])
            _say_what_differs(state, forwards)
            with records.recorded(name, label, forwards, name=background_id) as run:
                _show(run.forwards, output)
                _open(state, opened, run.forwards)
                with contextlib.suppress(KeyboardInterrupt):
                    threading.Event().wait()
                return Interrupted.exit_code


def _say_what_is_simulated(state: State, plane: str, found: Sequence[Origin]) -> None:
    from capi_llm.sandbox.layout import layout
    from capi_llm.sandbox.simulated import behind

    sandbox = layout(state.settings.state, plane)
    for origin in found:
        for item in origin.targets:
            words = behind(sandbox, origin.cluster, (item.place.namespace, item.place.service))
            state.console.say(f"{item.name}: {words}.")


def _config(state: State) -> list[str]:
    return ["--config", str(state.config)] if state.config else []


def _flags(wanted: Wanted, address: str, auto_port: bool, timeout: float) -> list[str]:
    """The options of the command, for the one in the background."""
    found = ["--address", address, "--timeout", f"{timeout}s"]
    found += ["--namespace", wanted.namespace] if wanted.namespace else []
    return found + ["--auto-port"] * auto_port + ["--management"] * wanted.management


def _same(
    records: Records, plane: str, label: str, found: Sequence[Origin], *, auto_port: bool
) -> Run | None:
    """A run in the background that forwards all of that already."""
    from capi_llm.forward.targets import SAME

    wanted = [item for origin in found for item in origin.targets]
    for run in records.running(plane, label):
        known = {(item.name, item.target): item.port for item in run.forwards}
        ports = [(item.local, known.get((item.name, str(item)), 0)) for item in wanted]
        if run.background and all(port and (auto_port or want in (port, 0, SAME)) for want, port in ports):
            return run
    return None


def _stop(state: State, records: Records, words: Sequence[str]) -> None:
    from capi_llm.errors import BadInput
    from capi_llm.forward import origins
    from capi_llm.forward.records import none_running

    if len(words) > 1:
        raise BadInput("--stop takes a cluster and no apps", fix=f"capi-llm portforward --stop {words[0]}")
    cluster = origins.label_of(words[0]) if words else None
    runs = [run for run in records.running(state.plane, cluster) if run.background]
    if cluster and not runs:
        raise none_running(state.plane, cluster)
    for run in runs:
        records.stop(run)
        apps = ", ".join(item.name for item in run.forwards)
        state.console.say(f"Not forwarded any more: {apps} of {run.cluster or run.plane}.")
    if not runs:
        state.console.say("Nothing is forwarded in the background.")


def _list(state: State, runs: Sequence[Run], output: str) -> None:
    if output != "table":
        data({"apiVersion": versions.API_VERSION, "runs": [asdict(run) for run in runs]}, output)
        return
    rows = [("PLANE", "CLUSTER", "APP", "ADDRESS", "TO", "PID", "BACKGROUND")]
    rows += [
        (run.plane, run.cluster, item.name, item.url, item.target, str(run.pid), "*" * run.background)
        for run in runs
        for item in run.forwards
    ]
    if len(rows) > 1:
        click.echo("\n".join(columns(rows)))
    else:
        state.console.say("Nothing is being forwarded.")


def _show(forwards: Sequence[Local], output: str) -> None:
    if output == "table":
        rows = [("APP", "ADDRESS", "TO"), *((item.name, item.url, item.target) for item in forwards)]
        click.echo("\n".join(columns(rows)))
    else:
        data(
            {"apiVersion": versions.API_VERSION, "forwards": [asdict(item) for item in forwards]},
            output,
        )
    sys.stdout.flush()


def _say_what_differs(state: State, forwards: Sequence[Forward]) -> None:
    from capi_llm.forward.targets import SAME

    for item in forwards:
        if item.target.local not in (item.port, 0, SAME):
            state.console.say(
                f"{item.name}: port {item.target.local} is in use, {item.port} is taken instead."
            )
        if item.knative:
            state.console.say(
                f"{item.name}: a Knative Service, reached through its router; a request wakes it from zero."
            )


def _open(state: State, wanted: bool, forwards: Sequence[Local]) -> None:
    if not wanted:
        return
    from capi_llm.forward.targets import BY_NAME
    from capi_llm.settings import has_display

    pages = [item.url for item in forwards if item.name in BY_NAME and BY_NAME[item.name].page]
    if not pages:
        state.console.say("None of it is a page that a browser could show.")
    elif sys.stdout.isatty() and has_display():
        import webbrowser

        webbrowser.open(pages[0])
    else:
        state.console.say(f"Open {pages[0]} in a browser; none can be opened from here.")


COMMANDS = (portforward,)
