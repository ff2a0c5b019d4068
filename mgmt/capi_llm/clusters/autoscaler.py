"""What the cluster-autoscaler of a workload cluster decided last, and why, from the events that it writes.

Its reasons are in https://github.com/kubernetes/autoscaler/tree/cluster-autoscaler-1.33.0/cluster-autoscaler:
processors/status/eventing_scale_up_processor.go, core/scaleup and core/scaledown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from capi_llm.clusters.events import Event, of_source
from capi_llm.kube.client import Api

SOURCE = "cluster-autoscaler"


@dataclass(frozen=True)
class Decision:
    """``what`` it did or would not do, and ``why``. ``time`` is RFC 3339; ``warning``: it could not."""

    time: str
    what: str
    why: str = ""
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.what} ({self.why})" if self.why else self.what


def last_decision(api: Api) -> Decision | None:
    """The newest decision in the cluster behind ``api``; None where nothing tells of one.

    Events live for an hour. Raises Unavailable.
    """
    return newest(of_source(api, SOURCE))


def newest(events: Iterable[Event]) -> Decision | None:
    """The newest decision of these events, which are in any order. Pure.

    A decision about pods is one event for each pod: they are told together.
    """
    found = sorted(events, key=lambda event: event.time)
    told = [event for event in found if event.reason != "TriggeredScaleUp"]
    if not told:
        told = found
    if not told:
        return None
    last = told[-1]
    same = {event.name for event in found if (event.reason, event.message) == (last.reason, last.message)}
    if last.reason == "NotTriggerScaleUp":
        why = last.message.removeprefix("pod didn't trigger scale-up: ")
        return Decision(last.time, f"no scale-up for {_pods(len(same))}", why, warning=True)
    why = ""
    if last.reason == "ScaledUpGroup":
        triggers = {event.name for event in found if event.reason == "TriggeredScaleUp"}
        why = f"{_pods(len(triggers))} found no place" if triggers else ""
    return Decision(last.time, last.message, why, warning=last.type == "Warning")


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"
