"""What an autoscaler decided last, from events as a real cluster-autoscaler 1.34 wrote them."""

from __future__ import annotations

import pytest

from capi_llm.clusters.autoscaler import SOURCE, Decision, last_decision, newest
from capi_llm.clusters.events import Event
from capi_llm.kube.resources import EVENTS
from sandboxes import Sandbox

GROUP = "MachineDeployment/default/demo-md-0-2rjtx"
TRIGGERED = f"pod triggered scale-up: [{{{GROUP} 1->3 (max: 3)}}]"
SET = f"Scale-up: group {GROUP} size set to 3 instead of 1 (max: 3)"
FULL = "pod didn't trigger scale-up: 1 max node group size reached"


def event(second: int, reason: str, message: str, kind: str = "Pod", name: str = "load-1") -> Event:
    return Event(f"2026-11-21T15:31:{second:02d}Z", "Normal", reason, kind, name, message, 1)


UP = [
    event(5, "ScaledUpGroup", SET, "ConfigMap", "cluster-autoscaler-status"),
    *(event(6, "TriggeredScaleUp", TRIGGERED, name=f"load-{number}") for number in range(4)),
]


def test_a_scale_up_is_told_with_how_many_pods_asked_for_it() -> None:
    assert newest(UP) == Decision("2026-11-21T15:31:05Z", SET, "4 pods found no place")


def test_a_pool_at_its_most_is_told_with_the_reason() -> None:
    events = [*UP, *(event(11, "NotTriggerScaleUp", FULL, name=f"load-{number}") for number in (5, 6))]
    decision = newest(reversed(events))
    assert decision == Decision(
        "2026-11-21T15:31:11Z", "no scale-up for 2 pods", "1 max node group size reached", warning=True
    )
    assert str(decision) == "no scale-up for 2 pods (1 max node group size reached)"


def test_where_only_pods_tell_they_are_believed() -> None:
    found = newest(UP[1:])
    assert found is not None
    assert found.what == TRIGGERED


def test_no_events_no_decision() -> None:
    assert newest([]) is None


@pytest.mark.sandbox
def test_only_events_of_an_autoscaler_are_asked_for(sandbox: Sandbox, namespace: str) -> None:
    for number, source in enumerate(("kubelet", SOURCE)):
        sandbox.api.create(
            EVENTS,
            {
                "metadata": {"name": f"e-{number}", "namespace": namespace},
                "involvedObject": {"kind": "ConfigMap", "name": "status", "namespace": namespace},
                "reason": "ScaledUpGroup",
                "message": SET if source == SOURCE else "something else",
                "type": "Normal",
                "lastTimestamp": f"2026-11-21T15:31:0{number}Z",
                "source": {"component": source},
            },
        )
    decision = last_decision(sandbox.api)
    assert decision is not None
    assert decision.what == SET
