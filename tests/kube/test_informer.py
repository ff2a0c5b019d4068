"""Informers: what they know, and what they survive."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import reply
from test_apply import crd, model

from capi_llm import waiting
from capi_llm.errors import ApiError, CapiLlmError, Forbidden, NotFound, TimedOut, Unauthorized, Unavailable
from capi_llm.kube import informer as informer_module
from capi_llm.kube.apply import apply
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import CONFIGMAPS, CRDS, NAMESPACES, NODES, SECRETS, Object, Ref, Resource
from capi_llm.kube.streams import watch
from control_plane import ControlPlane

Start = Callable[..., Informer]


def config_map(name: str, namespace: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def names(informer: Informer) -> list[str]:
    """The names it knows, without the ConfigMap that a controller may put into every namespace."""
    return [item["metadata"]["name"] for item in informer.items()]


def eventually(condition: Callable[[], bool], informer: Informer, timeout: float = 30) -> None:
    """Wait by the informer's own bell."""
    waiter = waiting.Waiter(interval=timeout)
    informer.add_wakeup(waiter.wakeup)

    def probe() -> waiting.Status:
        return waiting.ready() if condition() else waiting.pending(f"{informer.trouble or 'not yet'}")

    waiting.until(probe, what="the informer", timeout=timeout, waiter=waiter)


@pytest.fixture
def start(api: Api) -> Iterator[Start]:
    """Start an informer; it is stopped after the test."""
    started: list[Informer] = []

    def make(*arguments: Any, by: Api | None = None, **keywords: Any) -> Informer:
        started.append(Informer(by or api, *arguments, **keywords).start())
        return started[-1]

    yield make
    for informer in started:
        informer.stop()
        informer._thread.join(5)
        assert not informer._thread.is_alive()


def test_it_follows_adds_changes_and_deletes(api: Api, namespace: str, start: Start) -> None:
    api.create(CONFIGMAPS, config_map("one", namespace, a="1"))
    informer = start(CONFIGMAPS, namespace)
    changes: list[tuple[str, str]] = []
    informer.wait_synced(10)
    informer.add_listener(lambda change, obj: changes.append((change, obj["metadata"]["name"])))
    assert informer.synced
    assert names(informer) == ["one"]
    found = informer.find("one")
    assert found is not None
    assert (found["kind"], found["apiVersion"], found["data"]) == ("ConfigMap", "v1", {"a": "1"})
    assert "managedFields" not in found["metadata"]
    assert informer.find("two") is None

    informer.wait_seen(api.create(CONFIGMAPS, config_map("two", namespace)), 10)
    assert names(informer) == ["one", "two"]
    informer.wait_seen(api.merge_patch(Ref(CONFIGMAPS, "one", namespace), {"data": {"a": "2"}}), 10)
    assert (informer.find("one") or {})["data"] == {"a": "2"}
    api.delete(Ref(CONFIGMAPS, "one", namespace))
    eventually(lambda: len(changes) == 3, informer)  # heard after the state has changed
    assert names(informer) == ["two"]
    assert changes == [("ADDED", "two"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_label_selector_all_namespaces_and_cluster_scope(api: Api, namespace: str, start: Start) -> None:
    chosen = start(CONFIGMAPS, None, f"test={namespace}")
    nodes = start(NODES)
    spaces = start(NAMESPACES)
    for informer in (chosen, nodes, spaces):
        informer.wait_synced(10)
    assert chosen.items() == []
    assert nodes.items() == []
    assert spaces.find(namespace) is not None
    api.create(CONFIGMAPS, config_map("other", namespace))
    obj = config_map("one", namespace)
    obj["metadata"]["labels"] = {"test": namespace}
    informer_obj = api.create(CONFIGMAPS, obj)
    chosen.wait_seen(informer_obj, 10)
    assert names(chosen) == ["one"]
    # An object that no longer matches is gone for this informer.
    api.merge_patch(Ref(CONFIGMAPS, "one", namespace), {"metadata": {"labels": None}})
    eventually(lambda: names(chosen) == [], chosen)


def test_before_the_first_list_it_does_not_say_that_nothing_is_there(api: Api) -> None:
    informer = Informer(api, CONFIGMAPS)
    with pytest.raises(Unavailable, match="not read yet"):
        informer.items()
    with pytest.raises(Unavailable):
        informer.find("one")


def test_a_wait_for_something_that_does_not_come(api: Api, namespace: str, start: Start) -> None:
    informer = start(CONFIGMAPS, namespace)
    informer.wait_synced(10)
    with pytest.raises(TimedOut, match="the watch is behind"):
        informer.wait_seen({"metadata": {"resourceVersion": str(2**62)}}, 0.1)


def test_the_api_server_is_killed_and_comes_back(
    api: Api, control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    api.create(CONFIGMAPS, config_map("one", namespace))
    informer = start(CONFIGMAPS, namespace)
    informer.wait_synced(10)
    control_plane.kill_apiserver()
    eventually(lambda: "connection refused" in informer.trouble, informer)
    assert names(informer) == ["one"]
    informer.check()
    control_plane.start()
    api.create(CONFIGMAPS, config_map("two", namespace))
    eventually(lambda: names(informer) == ["one", "two"], informer)
    assert informer.trouble == ""


def test_a_wait_outlasts_a_restart_of_the_api_server(
    control_plane: ControlPlane, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def restart() -> None:
        control_plane.kill_apiserver()
        control_plane.start()
        with Api.from_kubeconfig(control_plane.kubeconfig) as other:
            other.create(CONFIGMAPS, config_map("result", namespace))

    with Api.from_kubeconfig(control_plane.kubeconfig) as api, Informers(api) as informers:
        informers.of(CONFIGMAPS, namespace)

        def probe() -> waiting.Status:
            informer = informers.of(CONFIGMAPS, namespace)
            if informer.find("result"):
                return waiting.ready()
            return waiting.pending(informer.trouble or "no result yet")

        thread = threading.Thread(target=restart)

        def heard(status: waiting.Status) -> None:
            if not seen:
                thread.start()
            seen.append(status.message)

        waiter = waiting.Waiter(wakeup=informers.wakeup, report=heard, interval=60)
        waiting.until(probe, what="the result", timeout=60, waiter=waiter)
        thread.join()
    assert seen[0] == "no result yet"
    assert any("no answer from" in message for message in seen)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_probe_with_plain_requests_outlasts_a_restart(control_plane: ControlPlane, namespace: str) -> None:
    with Api.from_kubeconfig(control_plane.kubeconfig, retry_for=0) as api:
        control_plane.kill_apiserver()
        seen: list[str] = []

        def probe() -> waiting.Status:
            api.get(Ref(NAMESPACES, namespace))
            return waiting.ready()

        waiter = waiting.Waiter(report=lambda status: seen.append(status.message), interval=0.1)
        starter = threading.Timer(0.5, control_plane.start_apiserver)
        starter.start()
        waiting.until(probe, what="the namespace", timeout=60, waiter=waiter)
        starter.join()
    control_plane.start()
    assert "connection refused" in seen[0]


def test_deletions_that_happened_while_it_was_away(
    api: Api, control_plane: ControlPlane, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410: the version to go on from is compacted, so it lists again and finds the deletion."""
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.1)
    for name in ("keep", "drop"):
        api.create(CONFIGMAPS, config_map(name, namespace))
    informer = start(CONFIGMAPS, namespace)
    informer.wait_synced(10)
    changes: list[tuple[str, str]] = []
    informer.add_listener(lambda change, obj: changes.append((change, obj["metadata"]["name"])))
    gate = threading.Event()

    def held(*arguments: Any, **keywords: Any) -> Any:
        gate.wait(60)
        return watch(*arguments, **keywords)

    monkeypatch.setattr(informer_module, "watch", held)
    control_plane.kill_apiserver()
    control_plane.start()
    api.delete(Ref(CONFIGMAPS, "drop", namespace))
    last = api.create(CONFIGMAPS, config_map("new", namespace))
    control_plane.compact(int(last["metadata"]["resourceVersion"]))
    # A new API server has no history in its watch cache from before the compaction.
    control_plane.kill_apiserver()
    control_plane.start()
    gate.set()
    eventually(lambda: names(informer) == ["keep", "new"], informer)
    eventually(lambda: len(changes) == 2, informer)
    assert sorted(changes) == [("ADDED", "new"), ("DELETED", "drop")]


def test_an_ancient_version_is_an_error_event_410(
    api: Api, control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    last = api.create(CONFIGMAPS, config_map("one", namespace))
    control_plane.compact(int(last["metadata"]["resourceVersion"]))
    stream = watch(api, CONFIGMAPS, namespace, query={"resourceVersion": "1"}, read_timeout=10)
    events = [json.loads(line) for line in stream.lines()]
    assert [(event["type"], event["object"]["code"]) for event in events] == [("ERROR", 410)]
    # The informer starts from the same place and gets over it.
    informer = Informer(api, CONFIGMAPS, namespace)
    informer._store.bookmark("1")
    informer.start()
    try:
        informer.wait_synced(10)
        assert names(informer) == ["one"]
    finally:
        informer.stop()


def test_bookmarks_move_the_version_without_a_change(
    scripted: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.05)
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}
    api, server = scripted(listing("10", "one"), watching(bookmark), watching(cut=b'{"type":"ADDED","obj'))
    informer = start(CONFIGMAPS, "default", by=api)
    informer.wait_synced(10)
    eventually(lambda: len(server.requests) >= 3, informer)
    assert b"resourceVersion=10&" in server.requests[1]
    assert b"allowWatchBookmarks=true" in server.requests[1]
    assert b"resourceVersion=77&" in server.requests[2]
    assert names(informer) == ["one"]


def listing(version: str, *items: str) -> bytes:
    """Answer to a list."""
    objects = [{"metadata": {"name": name, "namespace": "default", "resourceVersion": "1"}} for name in items]
    body = {"kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": objects}
    return reply(200, body)


def watching(*events: Object, cut: bytes = b"") -> bytes:
    """Answer to a watch: whole events in chunks, then ``cut``, then the connection breaks."""
    out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for event in events:
        line = json.dumps(event).encode() + b"\n"
        out += f"{len(line):x}\r\n".encode() + line + b"\r\n"
    if cut:
        out += f"{len(cut) + 100:x}\r\n".encode() + cut
    return out


def added(name: str, version: str) -> Object:
    metadata = {"name": name, "namespace": "default", "resourceVersion": version}
    return {"type": "ADDED", "object": {"metadata": metadata}}


def test_a_watch_that_breaks_in_the_middle_of_a_line(
    scripted: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.05)
    half = json.dumps(added("half", "12")).encode()[:40]
    api, server = scripted(
        listing("10", "one"),
        watching(added("two", "11"), cut=half),
        watching(added("half", "12"), cut=b"{"),
        watching(),
    )
    informer = start(CONFIGMAPS, "default", by=api)
    informer.wait_synced(10)
    eventually(lambda: names(informer) == ["half", "one", "two"], informer)
    # It went on from the last whole event and did not list again.
    assert b"resourceVersion=11&" in server.requests[2]
    lists = [request for request in server.requests if b"watch=1" not in request.split(b"\r\n")[0]]
    assert len(lists) == 1


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


@pytest.mark.parametrize("way", ["status", "event"])
def test_410_in_both_ways_lists_again(
    scripted: Any, start: Start, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.05)
    gone = reply(410, GONE) if way == "status" else watching({"type": "ERROR", "object": GONE})
    api, server = scripted(listing("10", "one", "two"), gone, listing("20", "two", "three"), watching())
    informer = start(CONFIGMAPS, "default", by=api)
    informer.wait_synced(10)
    eventually(lambda: names(informer) == ["three", "two"], informer)
    eventually(lambda: len(server.requests) >= 4, informer)
    assert b"resourceVersion=20&" in server.requests[3]


def test_a_server_that_was_restored_to_an_older_state(
    scripted: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.05)
    ahead = {"kind": "Status", "code": 504, "reason": "Timeout", "message": "Too large resource version: 90"}
    api, _ = scripted(listing("90", "one"), reply(504, ahead), listing("20", "two"), watching())
    informer = start(CONFIGMAPS, "default", by=api)
    informer.wait_synced(10)
    eventually(lambda: names(informer) == ["two"], informer)


def test_events_that_are_no_events_make_it_list_again(
    scripted: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "LONGEST_PAUSE", 0.05)
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nnot json"
    broken = broken.replace(b"8\r\n", b"9\r\n") + b"\n"
    api, _ = scripted(listing("10", "one"), broken, listing("20", "two"), watching())
    informer = start(CONFIGMAPS, "default", by=api)
    informer.wait_synced(10)
    eventually(lambda: names(informer) == ["two"], informer)


def test_a_connection_that_is_dead_but_open_is_noticed(
    api: Api, control_plane: ControlPlane, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "READ_SECONDS", 0.5)
    informer = start(CONFIGMAPS, namespace)
    informer.wait_synced(10)
    versions = informer._store.version
    with control_plane.pause_apiserver():
        eventually(lambda: "timed out" in informer.trouble or "no answer" in informer.trouble, informer)
    informer.wait_seen(api.create(CONFIGMAPS, config_map("one", namespace)), 30)
    assert names(informer) == ["one"]
    assert informer._store.version != versions


def test_missing_permission_ends_it_and_is_told(
    control_plane: ControlPlane, start: Start, tmp_path: Path
) -> None:
    with Api.from_kubeconfig(control_plane.nobody_kubeconfig) as nobody:
        informer = start(SECRETS, "default", by=nobody)
        with pytest.raises(Forbidden, match="can not list"):
            informer.wait_synced(10)
        with pytest.raises(Forbidden):
            informer.items()
        informer._thread.join(5)
        assert not informer._thread.is_alive()
        with pytest.raises(Forbidden):
            informer.check()
    text = control_plane.nobody_kubeconfig.read_text().replace("token-of-nobody", "old-token")
    (tmp_path / "config").write_text(text)
    with Api.from_kubeconfig(tmp_path / "config") as stranger, Informers(stranger) as informers:
        with pytest.raises(Unauthorized):
            informers.of(SECRETS, "default", timeout=10)
        started = time.monotonic()
        with pytest.raises(Unauthorized):
            waiting.until(
                lambda: waiting.ready() if informers.of(SECRETS, "default").items() else waiting.pending(""),
                what="secrets",
                timeout=30,
            )
        assert time.monotonic() - started < 5


def test_a_kind_that_comes_later_and_goes_again(api: Api, namespace: str) -> None:
    group = f"{namespace}.example"
    models = Resource(group, "v1", "models", "Model")
    with Informers(api) as informers:
        with pytest.raises(NotFound):
            informers.of(models)
        definition = crd(group)
        apply(api, [definition, model(group, namespace)])
        informer = informers.of(models)
        # Its first list may lie between the kind and its first object.
        eventually(lambda: names(informer) == ["llama"], informer)
        api.delete(CRDS.ref(definition))
        eventually(lambda: not informer._store.items(), informer)
        eventually(lambda: not informer.synced, informer)
        with pytest.raises((NotFound, Unavailable)):
            informer.items()


def test_an_answer_that_was_asked_for_before_is_none(
    api: Api, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind comes while the informer still waits to be told that there is none."""
    real, asked, told = api.list_at, threading.Event(), threading.Event()

    def late(*args: Any, **options: Any) -> Any:
        try:
            return real(*args, **options)
        except NotFound:
            asked.set()
            assert told.wait(30)
            raise

    monkeypatch.setattr(api, "list_at", late)
    group = f"{namespace}.example"
    informer = start(Resource(group, "v1", "models", "Model"), namespace)
    assert asked.wait(30)
    apply(api, [crd(group), model(group, namespace)])
    waits = threading.Thread(target=told.set)
    ring = informer._nudge.ring

    def rung() -> None:  # it waits now
        ring()
        waits.start()

    monkeypatch.setattr(informer._nudge, "ring", rung)
    informer.wait_synced(30)
    monkeypatch.setattr(informer._nudge, "ring", ring)
    waits.join()
    assert informer.synced


def test_asking_again_for_a_kind_that_is_not_there_wakes_nobody(api: Api, namespace: str) -> None:
    """Or a wait that asks at every look would never rest."""
    models = Resource(f"{namespace}.example", "v1", "models", "Model")
    with Informers(api) as informers:
        for _ in range(5):
            with pytest.raises(NotFound):
                informers.of(models)
        assert informers.wakeup.rings() == 1
        assert informers.trouble == ""


def test_one_informer_per_kind_and_namespace(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    with Informers(api) as informers:
        first = informers.of(CONFIGMAPS, namespace)
        assert informers.of(CONFIGMAPS, namespace) is first
        assert informers.of(CONFIGMAPS) is not first
        rings = informers.wakeup.rings()
        first.wait_seen(api.create(CONFIGMAPS, config_map("one", namespace)), 10)
        informers.wakeup.wait(rings, 10)
        assert informers.wakeup.rings() > rings
        lists = [
            event
            for event in control_plane.audit()
            if event["verb"] == "list" and f"namespaces/{namespace}/configmaps" in event["requestURI"]
        ]
        assert len(lists) == 1
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with pytest.raises(CapiLlmError, match="closed"):
        informers.of(CONFIGMAPS, namespace)


def test_many_threads_ask_for_the_same_informer(api: Api, namespace: str) -> None:
    found: list[Informer] = []
    with Informers(api) as informers:
        threads = [
            threading.Thread(target=lambda: found.append(informers.of(CONFIGMAPS, namespace)))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 10
    assert len(set(map(id, found))) == 1


def test_a_server_that_never_answers_is_unavailable(control_plane: ControlPlane, tmp_path: Path) -> None:
    text = control_plane.kubeconfig.read_text().replace(f":{control_plane.port}", ":1")
    (tmp_path / "config").write_text(text)
    with (
        Api.from_kubeconfig(tmp_path / "config") as api,
        Informers(api) as informers,
        pytest.raises(Unavailable, match="connection refused"),
    ):
        informers.of(CONFIGMAPS, timeout=3)


def test_a_stop_while_the_server_hangs_is_quick(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    informer = Informer(api, CONFIGMAPS, namespace).start()
    informer.wait_synced(10)
    # After this the watch is open, not only asked for.
    informer.wait_seen(api.create(CONFIGMAPS, config_map("one", namespace)), 10)
    with control_plane.pause_apiserver():
        began = time.monotonic()
        informer.stop()
        informer._thread.join(5)
        assert not informer._thread.is_alive()
        assert time.monotonic() - began < 5  # and not as long as the watch would wait for an answer


def test_an_invalid_selector_is_told(api: Api, start: Start) -> None:
    informer = start(CONFIGMAPS, None, "not a selector!")
    with pytest.raises(ApiError, match="can not list"):
        informer.wait_synced(10)
