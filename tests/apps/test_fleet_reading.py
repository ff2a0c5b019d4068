"""How apps are, from all that a real Fleet v0.14.0 wrote of them (``scripts/soak fleet --record``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.apps.engine import AppStatus
from capi_llm.apps.fleet import reading
from capi_llm.contract import fleet
from capi_llm.waiting import State, pending, ready

DATA = Path(__file__).parent.parent / "contract/data/fleet-0.14"


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / f"{name}.yaml").read_text())
    return found


def look(state: str, **agents: Any) -> AppStatus:
    bds = [recorded(path.stem) for path in sorted(DATA.glob(f"bundledeployment-{state}-*.yaml"))]
    return reading.app(state, recorded(f"bundle-{state}"), None, bds, agents, 2)


STATES = {
    "paused": (State.PENDING, "OutOfSync on cluster default/w1: the newest change is not", "spec.paused"),
    "rollout": (State.PENDING, "OutOfSync on cluster default/w2: the newest change is not", "lets 1 be so"),
    "parts": (State.PENDING, "Pending on cluster default/w2: no BundleDeployment", "an earlier partition"),
    "lost": (
        State.PENDING,
        "Missing on cluster default/w1: ConfigMap soak/lost is gone",
        "somebody has deleted",
    ),
    "version": (
        State.FAILED,
        "NotReady on cluster default/w2: chart requires kubeVersion",
        "does not support",
    ),
    "targeting": (State.FAILED, "targeting error: cluster w1 in namespace default", "can not make"),
    "offline": (State.PENDING, "WaitApplied on cluster default/w2", "has not taken it up"),
}


@pytest.mark.parametrize("state", STATES)
def test_states_of_fleet(state: str) -> None:
    how, message, cause = STATES[state]
    status = look(state).status
    assert status.state is how
    assert status.message.startswith(message)
    assert cause in status.cause
    assert status.fix


def test_fleets_own_summary_of_a_paused_bundle_says_ready() -> None:
    assert fleet.bundle(recorded("bundle-paused"), clusters=2) == ready("ready on 2 of 2 clusters")
    assert not look("paused").status.ready


def test_an_agent_that_is_known_to_be_away_is_the_cause() -> None:
    away = pending("its agent was last seen 40 min ago", fix="look at it")
    status = look("offline", w1=ready(), w2=away).status
    assert (status.cause, status.fix) == ("its agent was last seen 40 min ago", "look at it")
    assert "has not taken it up" in look("offline", w2=ready()).status.cause


def test_a_helm_op_is_ready_when_its_bundle_is() -> None:
    bds = [recorded(f"bundledeployment-ready-{cluster}") for cluster in ("w1", "w2")]
    obj, made = recorded("helmop-ready"), recorded("bundle-ready")
    found = reading.app("tiny", obj, made, bds, {}, 2)
    assert found.status == ready("ready on 2 of 2 clusters")
    assert [part.ref.name for part in found.parts] == ["all-tiny", "all-tiny"]
    assert found.version == "0.1.0"
    # One cluster more is wanted than there is, or one is of the spec before.
    assert reading.app("tiny", obj, made, bds, {}, 3).status.message == "is on 2 of 3 clusters"
    bds[1]["metadata"]["labels"]["capi-llm.dev/revision"] = "another"
    assert reading.app("tiny", obj, made, bds, {}, 2).status.message == (
        "the newest change is on its way to 1 clusters"
    )


def test_a_helm_op_whose_repository_is_away() -> None:
    status = reading.app("tiny", recorded("helmop-away"), None, [], {}, 2).status
    assert status.message.startswith("the chart is not accepted: could not get a chart version")
    assert "repository" in status.cause
