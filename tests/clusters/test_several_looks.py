"""A look at several clusters, with the end of one of them in its middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from capi_llm.clusters.several import Member, Several, Work
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.clusters.tree import Objects
from capi_llm.waiting import ready

Scenario = Callable[[str], Objects]


class Looks(Several):
    """Several whose objects are given, and do what is to happen while they are read."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(cast(Any, None), [ClusterSpec("up")], cast(Any, None))
        self.scenario, self.seen = scenario, "ready"
        self.meanwhile: Callable[[Member], None] = lambda member: None

    def _objects(self, names: set[str]) -> Objects:
        self.meanwhile(self.members[0])
        return self.scenario(self.seen)


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
