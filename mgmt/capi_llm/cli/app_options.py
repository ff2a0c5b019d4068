"""What the commands of ``apps`` share: their arguments, the apps of a cluster, a line for each."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from capi_llm.cli import names
from capi_llm.cli.console import MARKS
from capi_llm.cli.options import State, namespace, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.apps.course import Wait
    from capi_llm.apps.engine import AppStatus, Engines
    from capi_llm.apps.stack import Stack

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Asked:
    """What the command line says of a cluster and its apps; ``files`` and ``sets`` are values."""

    cluster: str
    namespace: str
    apps: tuple[str, ...] = ()
    bundle_dir: Path | None = None
    files: tuple[Path, ...] = ()
    sets: tuple[str, ...] = ()


def on_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
    """``CLUSTER [APP]...`` and where they are, which ``command`` gets as an :class:`Asked`."""

    @functools.wraps(command)
    def folded(
        state: State,
        cluster: str,
        namespace: str,
        apps: tuple[str, ...],
        bundle_dir: Path | None,
        files: tuple[Path, ...] = (),
        sets: tuple[str, ...] = (),
        **more: Any,
    ) -> Any:
        return command(state, Asked(cluster, namespace, apps, bundle_dir, files, sets), **more)

    options: tuple[Callable[[Any], Any], ...] = (
        click.argument("apps", nargs=-1, metavar="[APP]..."),
        click.argument("cluster", shell_complete=names.clusters),
        click.option(
            "--bundle-dir", type=click.Path(path_type=Path), help="Folder with bundles of your own."
        ),
        namespace,
        plane_name,
        pass_state,
    )
    wrapped: Callable[..., Any] = folded
    for option in options:
        wrapped = option(wrapped)
    return wrapped


def values(command: _Command) -> _Command:
    """helm's own ``-f`` and ``--set``."""
    sets = click.option(
        "--set", "sets", multiple=True, metavar="APP.VALUE=…", help="One value, as helm takes it."
    )
    return click.option(
        "-f", "--file", "files", multiple=True, type=click.Path(path_type=Path), help="Values, by app."
    )(sets(command))


@contextlib.contextmanager
def opened(state: State, asked: Asked, *, command: str = "", to: Engines | None = None) -> Iterator[Stack]:
    """The apps of a cluster; with a ``command`` that changes them, under the cluster's lock."""
    from capi_llm import plane
    from capi_llm.apps import stack as apps

    with contextlib.ExitStack() as stack:
        if command:
            words = f"{command} {asked.cluster}"
            here = stack.enter_context(
                plane.working_on_cluster(state.settings, state.plane, asked.cluster, asked.namespace, words)
            )
        else:
            here = stack.enter_context(plane.connected(state.settings, state.plane))
        yield stack.enter_context(
            apps.opened(
                state.settings,
                here.identity.kind,
                here.api(),
                asked.cluster,
                asked.namespace,
                bundle_dir=asked.bundle_dir,
                files=asked.files,
                sets=asked.sets,
                to=to,
                engine=here.identity.choices.get("delivery", ""),
            )
        )


@contextlib.contextmanager
def watching(state: State, stack: Stack, timeout: float) -> Iterator[Wait]:
    """How to wait, with one line per app that changes in place."""
    from capi_llm.apps.course import Wait
    from capi_llm.waiting import Cancel, Status, Waiter

    with state.console.drawing() as drawing:
        latest: list[str] = []

        def hear(states: Sequence[AppStatus]) -> None:
            latest[:] = _progress(states)
            drawing.show(latest)

        def report(status: Status) -> None:
            if "API server" in status.message or "no answer" in status.message:
                line = f"{MARKS[status.state.value][0]} {status.message}"
                drawing.show([line, *latest], plain=[line])

        yield Wait(timeout, stack.workload, Waiter(report=report, cancel=state.cancel or Cancel()), hear)


def _progress(states: Sequence[AppStatus]) -> list[str]:
    width = max((len(state.app) for state in states), default=0)
    return [
        f"{MARKS[state.status.state.value][0]} {state.app.ljust(width)}  {state.status.message}"
        for state in states
    ]
