"""The same work on several clusters at once: each with its name, one end for all, and Ctrl-C for all."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from capi_llm.cli import side_by_side
from capi_llm.cli.console import Console
from capi_llm.cli.options import State
from capi_llm.errors import Interrupted, Refused
from capi_llm.waiting import Waiter, pending, ready, until

CLUSTERS = ("default/a-1", "default/a-2")


def test_works_meet_and_each_says_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    meeting = threading.Barrier(2, timeout=60)
    second = threading.Event()

    def work(state: State, cluster: str) -> None:
        with state.console.drawing() as drawing:
            meeting.wait()
            drawing.show(["… litellm  0 of 1 pods", "what has no mark"])
            meeting.wait()
        if cluster == CLUSTERS[1]:
            state.console.say("Secret llm/litellm made.")
            state.console.mark(ready(), "2 apps ready: 9 objects changed.")
            second.set()
            return
        assert second.wait(60)
        raise Refused("it is locked", fix="wait")

    (failure,) = side_by_side.run(State(Console()), CLUSTERS, work)
    assert failure.on == "cluster default/a-1"
    said = capsys.readouterr().err.splitlines()
    assert sorted(said[:4]) == [
        "default/a-1 what has no mark",
        "default/a-2 what has no mark",
        "… default/a-1  litellm  0 of 1 pods",
        "… default/a-2  litellm  0 of 1 pods",
    ]
    assert said[4:] == [
        "✗ default/a-1  it is locked",
        "default/a-2: Secret llm/litellm made.",
        "✓ default/a-2: 2 apps ready: 9 objects changed.",
    ]


def test_ctrl_c_ends_all() -> None:
    meeting = threading.Barrier(2, timeout=60)
    ended = threading.Semaphore(0)

    def work(state: State, cluster: str) -> None:
        assert state.cancel is not None
        meeting.wait()
        if cluster == CLUSTERS[1]:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            until(lambda: pending("forever"), what="the end", timeout=300, waiter=Waiter(cancel=state.cancel))
        except Interrupted:
            ended.release()
            raise

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        side_by_side.run(State(Console(quiet=True)), CLUSTERS, work)
    assert all(ended.acquire(timeout=30) for _ in CLUSTERS)
