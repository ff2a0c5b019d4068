"""From one delivery engine to the other, with the apps going on as they are.

Each step can be done again, and what is recorded changes last. So a migration that was killed
goes on when it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence

from capi_llm import fields
from capi_llm.apps import course, delivery
from capi_llm.apps.engine import Engines, Release
from capi_llm.apps.places import ByPlace
from capi_llm.apps.stack import Stack
from capi_llm.errors import Refused


def migrate(stack: Stack, to: Engines, wait: course.Wait) -> list[str]:
    """Have the apps of ``stack`` delivered by ``to``; returns those that changed hands.

    Both engines know them for a while. Fleet's helm takes objects over where the bundle says
    ``takeOwnership``, and lets go of them without deleting anything where its Bundle says ``keepResources``;
    the direct engine takes over by force, and lets go by giving up its inventory.

    Raises BadInput for an app that is not among the bundles any more, Refused for one that Fleet
    would not take over.
    """
    both = stack.by_place
    moving = _moving(stack, both)
    names = [release.app for release in moving]
    if to == "fleet":
        _check_takes(moving)
        both.apply(moving)
        course.until_ready(both.fleet, names, wait)
        both.direct.let_go(names)
    else:
        brought = set(both.fleet.delivered())
        held = [release for release in moving if release.app in brought]
        both.fleet.keep(held, timeout=wait.timeout)
        for level in course.by_level(moving):
            both.direct.apply(level, force=True)
        if delivery.recorded(stack.cluster) == "fleet":
            both.fleet.let_go(moving, timeout=wait.timeout)
        course.until_ready(both.direct, names, wait)
    if both.delivered():
        delivery.record(stack.management, stack.cluster, to)
    return names


def _moving(stack: Stack, both: ByPlace) -> list[Release]:
    """What is on the workload cluster, by either engine."""
    delivered = set(both.delivered())
    known = {bundle.name for bundle in stack.bundles}
    for name in sorted(delivered - known):
        raise fields.unknown("on the cluster: app", name, sorted(known))
    return [
        release
        for release in stack.releases
        if release.app in delivered and release.bundle.place == "workload"
    ]


def _check_takes(releases: Sequence[Release]) -> None:
    for release in releases:
        helm = release.bundle.document.data.get("helm") or {}
        if helm.get("takeOwnership") is not True:
            raise Refused(
                f"Fleet would not take over {release.app}",
                why="its fleet.yaml does not say helm.takeOwnership: true",
                fix="write that into it, or remove the app and bring it again",
            )
