"""The folders of KWOK workload clusters: given out once, and never swept while they are made."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capi_llm.errors import CapiLlmError
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.workload import Workload, Workloads, of_sandbox


@pytest.fixture
def workloads(here: Layout, shared: Path) -> Workloads:
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


def test_what_can_not_be_removed_keeps_no_other_from_it(
    workloads: Workloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = [workloads.layout(reserve(workloads, f"{number}{uuid.uuid4()}")) for number in (1, 2)]
    for layout in layouts:
        (layout.root / "cluster.json").unlink()
    stays, goes = layouts
    remove = workloads.remove

    def refused(folder: Path) -> None:
        if folder == stays.root:
            raise CapiLlmError("the folder of a workload cluster can not be removed", on=str(folder))
        remove(folder)

    monkeypatch.setattr(workloads, "remove", refused)
    with pytest.raises(CapiLlmError, match="can not be removed"):
        workloads.remove_unnamed()
    assert not goes.root.exists()


def test_a_link_in_the_folder_goes_and_what_it_leads_to_stays(workloads: Workloads, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = workloads.layout(reserve(workloads, str(uuid.uuid4()))).root
    (root / "log").symlink_to(tmp_path / "elsewhere")
    workloads.remove(root)
    assert not root.exists()
    assert (tmp_path / "elsewhere").is_dir()
