"""The folders of KWOK workload clusters: given out once, and never swept while they are made."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.workload import Workload, Workloads, of_sandbox


@pytest.fixture
def workloads(here: Layout) -> Workloads:
    return Workloads(Layout(here.root / "state" / "sandboxes" / "test"), "instance")


def reserve(workloads: Workloads, uid: str) -> Workload:
    return workloads.reserve(uid, "web", "default", services="10.96.0.0/24", pods="192.168.0.0/16")


def test_both_objects_of_a_cluster_ask_at_once(workloads: Workloads) -> None:
    for _ in range(10):
        uid, together = str(uuid.uuid4()), threading.Barrier(4)

        def ask(uid: str = uid, together: threading.Barrier = together) -> Workload:
            together.wait(10)
            return reserve(workloads, uid)

        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(ask) for _ in range(4)]
        assert [item.result() for item in asked] == [workloads.find(uid)] * 4


def test_what_is_being_made_is_not_what_was_left(workloads: Workloads) -> None:
    left = workloads.layout(reserve(workloads, str(uuid.uuid4()))).root
    (left / "cluster.json").unlink()
    (left / "etcd").mkdir()
    ended, removed = threading.Event(), []

    def sweep() -> None:
        while not ended.is_set():
            removed.extend(workloads.remove_unnamed())

    with ThreadPoolExecutor(1) as threads:
        sweeping = threads.submit(sweep)
        try:
            made = [reserve(workloads, str(uuid.uuid4())) for _ in range(40)]
        finally:
            ended.set()
        sweeping.result()
    assert removed == [left.name]
    assert sorted(item.uid for item in made) == sorted(
        item.uid for item in of_sandbox(Layout(left.parent.parent))
    )
