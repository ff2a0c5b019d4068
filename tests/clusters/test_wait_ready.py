"""What a wait for a cluster believes, over objects that Cluster API v1.10.7 wrote."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from capi_llm.clusters import create, tree
from capi_llm.clusters.tree import Objects
from capi_llm.waiting import Waiter, Wakeup


def test_informers_that_are_not_of_one_moment_are_not_believed(
    scenario: Callable[[str], Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Cluster says already that its topology is brought about; the changed pool is not seen yet."""
    informers: Any = SimpleNamespace(api=object(), wakeup=Wakeup())
    in_server = [scenario("workers"), scenario("ready")]
    asked = []

    def collect(source: object, *_: object) -> Objects:
        asked.append("informers" if source is informers else "server")
        return scenario("ready") if source is informers else in_server.pop(0)

    monkeypatch.setattr(tree, "collect", collect)
    monkeypatch.setattr(create, "_catch_up", lambda *_: None)
    seen: list[bool] = []
    view = create.wait_ready(
        informers, "up", timeout=30, waiter=Waiter(interval=0.01),
        on_tree=lambda view: seen.append(view.status.ready),
    )  # fmt: skip
    assert view.status.ready
    assert asked == ["informers", "server"] * 2
    assert seen == [True, False, True]
