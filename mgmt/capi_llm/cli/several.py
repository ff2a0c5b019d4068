"""``new-cluster --count``: several clusters, one table of how far each is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capi_llm.cli.console import MARKS, took

if TYPE_CHECKING:
    from capi_llm.cli.options import State
    from capi_llm.clusters.classes import ClassFolder
    from capi_llm.clusters.several import Member
    from capi_llm.clusters.spec import ClusterSpec


def make(
    state: State,
    wanted: Sequence[ClusterSpec],
    *,
    folder: ClassFolder | None,
    offered: Mapping[str, Any],
    apps: tuple[str, ...] | None,
    wait: bool,
    timeout: float,
) -> None:
    """Make the clusters of ``wanted`` side by side. Raises one error that names all that failed."""
    from dataclasses import replace

    from capi_llm import plane
    from capi_llm.cli import new_apps
    from capi_llm.clusters import classes, create, kubeconfig, several
    from capi_llm.kube.cache import Informers
    from capi_llm.steps import workload_containers

    first = wanted[0]
    command = f"new-cluster {first.name} and {len(wanted) - 1} more"
    started = time.monotonic()
    with (
        plane.working(state.settings, state.plane, command) as here,
        contextlib.closing(Informers(here.api())) as informers,
    ):
        new_apps.check_engine(state.settings, here, apps)
        new_apps.check_kubernetes(state.settings, here.identity.kind, first, apps)
        if here.identity.kind == "sandbox":
            info = (
                classes.describe_folder(folder)
                if folder
                else classes.find(here.api(), first.cluster_class, first.namespace)
            )
            several.check_room(here.api(), wanted, info)
        prepared = create.prepare(here.api(), first, folder=folder, offered=offered)
        with state.console.drawing() as drawing:
            said: set[str] = set()

            def on_change(members: Sequence[Member]) -> None:
                lines = [_head(members), *map(_line, members)]
                ended = [member for member in members if member.ended and member.name not in said]
                said.update(member.name for member in ended)
                plain = [_line(member) for member in ended]
                if all(member.action or member.ended for member in members) and "" not in said:
                    said.add("")
                    asked = sum(bool(member.action) for member in members)
                    plain.append(f"… {asked} clusters are asked for ({took(time.monotonic() - started)})")
                drawing.show(lines, plain=plain)

            run = several.Several(
                informers,
                [replace(prepared, name=spec.name) for spec in wanted],
                lambda name: plane.cluster_lock(
                    state.settings, here, name, first.namespace, f"new-cluster {name}"
                ),
                on_change,
                new_apps.network_of_several(state, here, first, timeout=timeout) if wait else None,
            )
            run.run(wait=wait, kubeconfigs=state.settings.kubeconfigs, timeout=timeout)
        workload_containers.hold(here, [member.name for member in run.members if member.error is None])
    if state.console.live:
        for member in run.members:  # what was drawn in place is gone
            state.console.mark(member.status, _line(member)[2:])
    made = sum(member.action == "created" for member in run.members)
    there = sum(member.action == "unchanged" for member in run.members)
    well = sum(member.error is None for member in run.members)
    end = f"{well} of {len(run.members)} clusters are ready" if wait else f"{well} clusters are asked for"
    state.console.say(
        f"{end} ({took(time.monotonic() - started)}): {made} created, {there} were there and not changed."
    )
    if wait and well:
        name = kubeconfig.label("NAME", first.namespace)
        state.console.say(f"Kubeconfigs: {state.settings.kubeconfigs}/kubeconfig-{name}.yaml")
        new_apps.follow_all(
            state,
            here,
            first.namespace,
            [member.name for member in run.members if member.error is None],
            apps,
            timeout=max(0.0, timeout - (time.monotonic() - started)),
        )
    if (error := several.failure(run.members)) is not None:
        raise error


def _head(members: Sequence[Member]) -> str:
    return f"{sum(member.status.ready for member in members)} of {len(members)} clusters ready"


def _line(member: Member) -> str:
    mark, _ = MARKS[member.status.state.value]
    if member.status.ready and member.kubeconfig is None:
        return f"{mark} {member.spec.namespace}/{member.name}  {member.action}"
    if member.status.ready:
        return f"{mark} {member.spec.namespace}/{member.name}  ready ({took(member.seconds)})"
    return f"{mark} {member.spec.namespace}/{member.name}  {member.status.message}"
