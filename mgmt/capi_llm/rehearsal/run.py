"""A rehearsal: the world before on a throwaway sandbox, the change over it, and what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from capi_llm.errors import BadInput
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.rehearsal import stage as stages
from capi_llm.rehearsal import world as worlds
from capi_llm.rehearsal.course import Course
from capi_llm.rehearsal.findings import Finding, ordered
from capi_llm.rehearsal.mapping import Mapping
from capi_llm.rehearsal.results import Rehearsal
from capi_llm.rehearsal.world import Key, World
from capi_llm.settings import Settings

MOST_MACHINES = 40
"""Machines that one rehearsal simulates without being told to do more: some 4 s each to roll."""


def rehearse(
    settings: Settings,
    before: World,
    after: World,
    *,
    clusters: Sequence[Key] = (),
    findings: Sequence[Finding] = (),
    most: int = MOST_MACHINES,
    timeout: float = 600.0,
    keep: bool = False,
    say: Callable[[str], None] = lambda line: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Rehearsal:
    """Run ``after`` over ``before`` and say what became of ``clusters`` (all that it touches).

    ``findings`` are known already. ``say`` hears of every part of the run, ``tell`` what is waited
    for. ``timeout`` is in seconds, for everything after the sandbox is
    there. Raises BadInput where there would be more than ``most`` machines, and what bringing up
    a sandbox raises; what Cluster API refuses is a finding.
    """
    started = time.monotonic()
    chosen = list(clusters) or worlds.touched(before, after)
    before, after = worlds.only(before, chosen), worlds.only(after, chosen)
    _check_size(before, after, chosen, most)
    if not worlds.changed(before, after):
        return Rehearsal(
            (), ordered([*findings, *Mapping((before, after))(after).findings]), source=before.source
        )
    say("making a throwaway sandbox")
    with stages.stage(settings, keep=keep) as place:
        say(f"the sandbox is ready ({time.monotonic() - started:.0f} s)")
        done = perform(place.api, before, after, findings=findings, timeout=timeout, say=say, tell=tell)
        kept = str(place.settings.state) if keep else ""
    return replace(done, seconds=time.monotonic() - started, kept=kept)


def perform(
    api: Api,
    before: World,
    after: World,
    *,
    findings: Sequence[Finding] = (),
    timeout: float = 600.0,
    say: Callable[[str], None] = lambda line: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Rehearsal:
    """The same on a sandbox that is there, and not prepared yet; all clusters of both worlds are run."""
    mapping = Mapping((before, after))
    was, will = mapping(before), mapping(after)
    found = [*findings, *will.findings]
    found += stages.prepare(api, mapping.infrastructure(), {**before.schemas, **after.schemas})
    with contextlib.closing(Informers(api)) as informers:
        course = Course(informers, mapping, was, will, before, after, timeout, say, tell, found)
        results, events = course.results()
    return Rehearsal(results, ordered(course.findings), events, source=before.source)


def _check_size(before: World, after: World, clusters: Iterable[Key], most: int) -> None:
    sizes = {
        key: max(worlds.size(world, world.objects[key]) for world in (before, after) if key in world.objects)
        for key in clusters
    }
    if sum(sizes.values()) > most:
        names = ", ".join(f"{key.namespace}/{key.name} {size}" for key, size in sizes.items())
        raise BadInput(
            f"{sum(sizes.values())} machines are more than the {most} that a rehearsal simulates",
            on=names,
            why="a machine takes some seconds to roll on this one",
            fix=f"choose with --cluster NAME, or allow more with --max-machines {sum(sizes.values())}",
        )
