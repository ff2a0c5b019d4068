"""A look at several clusters, with the end of one of them in its middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from capi_llm.clusters.several import Member, Several, Work
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.clusters.tree import Objects
from capi_llm.errors import CapiLlmError
from capi_llm.waiting import Wakeup, ready

Scenario = Callable[[str], Objects]


class Looks(Several):
    """Several whose objects are given, and do what is to happen while they are read."""

    def __init__(self, scenario: Scenario, on_answer: Callable[[str], None] | None = None) -> None:
        informers = cast(Any, SimpleNamespace(wakeup=Wakeup()))
        super().__init__(informers, [ClusterSpec("up")], cast(Any, None), on_answer=on_answer)
        self.scenario, self.seen = scenario, "ready"
        self.meanwhile: Callable[[Member], None] = lambda member: None

    def _objects(self, names: set[str]) -> Objects:
        self.meanwhile(self.members[0])
        found = self.scenario(self.seen)
        return replace(found, clusters=[obj for obj in found.clusters if obj["metadata"]["name"] in names])


@pytest.mark.parametrize("seen", ["ready", "starting"])
def test_an_end_that_comes_while_it_looks_stays(scenario: Scenario, seen: str) -> None:
    several, handed = Looks(scenario), list[Member]()

    def begin(work: Work, member: Member) -> None:
        handed.append(member)

    assert not several._look(begin).ready
    several.seen = seen
    assert not several._look(begin).ready
    assert len(handed) == 1
    several.meanwhile = lambda member: several._end(member, ready())
    assert several._look(begin).ready
    assert several.members[0].seconds > 0
    assert len(handed) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_one_that_is_ready_at_once_waits_for_what_its_answer_brings(scenario: Scenario, fails: bool) -> None:
    brought = list[str]()

    def bring(name: str) -> None:
        brought.append(name)
        if fails:
            raise CapiLlmError("no network")

    several, handed = Looks(scenario, bring), list[Work]()

    def begin(work: Work, member: Member) -> None:
        handed.append(work)

    (member,) = several.members
    several._look(begin)
    several._look(begin)
    assert handed == [several._answers]
    handed.pop()(member)
    assert brought == ["up"]
    assert several._look(begin).ready is fails
    assert (member.error is not None) is fails
    assert handed == ([] if fails else [several._save])
