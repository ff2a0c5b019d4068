"""A scene for people: one verdict, then a tree; and for programs as JSON.

Whoever has a few clusters sees all of them, whoever has many sees what is not ready.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capi_llm import versions
from capi_llm.cli import trees
from capi_llm.clusters import tree
from capi_llm.clusters.tree import ClusterView, Node
from capi_llm.waiting import ready

if TYPE_CHECKING:
    from capi_llm.live import Scene
    from capi_llm.steps.overview import Overview

MANY_CLUSTERS = 10
"""From more than these, the ready ones are counted and not shown."""

MOST_TREES = 20
"""Of many clusters that are not ready, so many are shown."""

MOST_NAMED = 5
"""Of clusters of which the same is said in one line, so many are named."""

MANY_MACHINES = 10
"""From more than these in one pool, the ready ones are counted and not shown."""


def lines(scene: Scene, *, everything: bool = False) -> list[str]:
    """Verdict and trees. Left out, unless ``everything`` is asked for, is only what is ready or too much."""
    return [
        *verdict(scene).splitlines(),
        *_plane(scene.plane),
        *_clusters(scene, everything),
        *_simulated(scene.clusters),
    ]


def verdict(scene: Scene) -> str:
    """One line, with a second one on what to do where a step of the plane is not ready."""
    plane = scene.plane.identity.name
    bad = next((step for step in scene.plane.steps if not step.status.ready), None)
    if bad is not None:
        return (
            f"Not ready: plane {plane}, {bad.step}: {bad.status.message}\n"
            f"  to go on: {bad.status.fix or 'capi-llm bootstrap'}"
        )
    if scene.behind:
        return f"Not known: plane {plane}: {scene.behind}"
    count, wrong = len(scene.clusters), scene.broken
    if wrong:
        many = f"{len(wrong)} of {count} clusters, first " if count > 1 else "cluster "
        return f"Not ready: {many}{wrong[0].namespace}/{wrong[0].name}, {wrong[0].status.message}"
    clusters = f"{count} cluster{'' if count == 1 else 's'}" if count else "no clusters yet"
    return f"Ready: plane {plane}, {clusters}"


def as_json(scene: Scene) -> dict[str, Any]:
    """All of it."""
    plane = scene.plane
    return {
        "apiVersion": versions.API_VERSION,
        "plane": {
            "name": plane.identity.name,
            "kind": plane.identity.kind,
            "ready": plane.ready,
            "steps": [
                {"name": step.step, "state": step.status.state.value, "message": step.status.message}
                for step in plane.steps
            ],
        },
        "clusters": [tree.as_json(view) for view in scene.clusters],
    }


def brief(view: ClusterView) -> str:
    """A cluster on one line, with its counts."""
    counts = [f"control plane {view.control_plane.count.ready}/{view.control_plane.count.desired}"]
    counts += [f"{pool.name} {pool.count.ready}/{pool.count.desired}" for pool in view.pools]
    return trees.text(f"Cluster {view.namespace}/{view.name} ({', '.join(counts)})", view.status)


def _plane(overview: Overview) -> list[str]:
    steps = tuple(Node(step.step, step.status) for step in overview.steps if not step.status.ready)
    label = f"Plane {overview.identity.name}, kind {overview.identity.kind}"
    return trees.lines(Node(label, overview.status, steps))


def _clusters(scene: Scene, everything: bool) -> Iterator[str]:
    views: Sequence[ClusterView] = scene.clusters
    many = len(views) > MANY_CLUSTERS and not everything
    shown = scene.broken[:MOST_TREES] if many else views
    for view in shown:
        node = tree.nodes(view)
        yield from trees.lines(node if everything else _shorter(node, only_broken=many))
    if not many:
        return
    if more := len(scene.broken) - len(shown):
        yield f"  {more} more clusters are not ready; status --all shows them"
    if good := len(views) - len(scene.broken):
        yield trees.text(f"{good} clusters are ready; status --all shows them", ready())


def _simulated(views: Sequence[ClusterView]) -> Iterator[str]:
    """One line for all clusters of which the same is simulated."""
    words: dict[str, list[str]] = {}
    for view in views:
        if view.simulated:
            words.setdefault(view.simulated, []).append(f"{view.namespace}/{view.name}")
    for word, clusters in words.items():
        named = ", ".join(clusters[:MOST_NAMED])
        more = f" and {len(clusters) - MOST_NAMED} more" if len(clusters) > MOST_NAMED else ""
        yield f"Simulated of {named}{more}: {word}"


def _shorter(node: Node, *, only_broken: bool) -> Node:
    """``node`` without ready ones below it, if it is ``only_broken`` or they are many."""
    children = [_shorter(child, only_broken=only_broken) for child in node.children]
    good = [child for child in children if child.status.ready]
    if only_broken:
        children = [child for child in children if not child.status.ready]
    elif len(good) > MANY_MACHINES:
        children = [child for child in children if not child.status.ready]
        children.append(Node(f"{len(good)} machines", ready()))
    return replace(node, children=tuple(children))
