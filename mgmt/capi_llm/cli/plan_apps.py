"""``plan``: its lines and its JSON about the apps of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from capi_llm.cli.app_delivery import counts, difference_json, difference_lines

if TYPE_CHECKING:
    from capi_llm.apps.outlook import Outlook

_BY = {"direct": "directly", "fleet": "by Fleet"}


def lines(views: Sequence[Outlook]) -> list[str]:
    """One part for each cluster, and what all of them come to."""
    found: list[str] = []
    for view in views:
        found.append(f"{_sign(view)} Apps of {view.cluster.namespace}/{view.cluster.name}: {_outcome(view)}")
        found += [f"    {line}" for line in difference_lines(view.objects)]
        if view.verdict != "accepted":
            found.append(f"    because {view.why}")
        if view.fix:
            found.append(f"    to go on: {view.fix}")
    summary = counts([item for view in views for item in view.objects])
    return [*found, *([f"Apps: {summary}."] if summary else [])]


def _sign(view: Outlook) -> str:
    if view.verdict != "accepted":
        return "✗" if view.verdict == "refused" else "?"
    return {"deliver": "+", "change": "~"}.get(view.action, "=")


def _outcome(view: Outlook) -> str:
    if view.verdict != "accepted":
        return "would be refused" if view.verdict == "refused" else "could not be asked"
    if view.action == "deliver":
        return f"would be delivered {_BY[view.delivery]}, in this order: {', '.join(view.apps)}"
    if view.action == "change":
        return "would be changed"
    return "no change" if view.apps else f"none: {view.why}"


def as_json(views: Sequence[Outlook]) -> list[dict[str, Any]]:
    """One entry for each cluster; ``objects`` as in ``apps diff``."""
    return [
        {
            "cluster": {
                "name": view.cluster.name,
                "namespace": view.cluster.namespace or "",
                "delivery": view.delivery,
            },
            "action": view.action,
            "verdict": view.verdict,
            "apps": list(view.apps),
            "objects": [difference_json(item) for item in view.objects],
            "why": [view.why] if view.why else [],
            "fix": view.fix,
        }
        for view in views
    ]
