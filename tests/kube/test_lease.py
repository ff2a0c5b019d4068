"""The lock in the cluster: one holder, told by name; a dead one is followed."""

from __future__ import annotations

import datetime
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from capi_llm import waiting
from capi_llm.errors import NotFound, Refused, Unavailable
from capi_llm.kube.client import Api
from capi_llm.kube.lease import COMMAND_ANNOTATION, LeaseLock
from capi_llm.kube.resources import LEASES, Object, Ref
from capi_llm.settings import hostname
from control_plane import ControlPlane


def lock(api: Api, namespace: str, command: str = "capi-llm bootstrap", duration: int = 15) -> LeaseLock:
    return LeaseLock(api, "plane", namespace, command=command, duration=duration)


def left_behind(api: Api, namespace: str, *, renewed_ago: float, duration: int = 15) -> Object:
    """The Lease of a holder that died."""
    renewed = datetime.datetime.fromtimestamp(time.time() - renewed_ago, datetime.UTC)
    spec = {
        "holderIdentity": "elsewhere pid 7 abc",
        "leaseDurationSeconds": duration,
        "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "leaseTransitions": 3,
    }
    return api.create(LEASES, {"metadata": {"name": "plane", "namespace": namespace}, "spec": spec})


@pytest.fixture
def lease(namespace: str) -> Ref:
    return Ref(LEASES, "plane", namespace)


def test_the_second_is_refused_with_the_name_of_the_first(api: Api, namespace: str, lease: Ref) -> None:
    with lock(api, namespace):
        live = api.get(lease)
        assert live["metadata"]["annotations"][COMMAND_ANNOTATION] == "capi-llm bootstrap"
        with pytest.raises(Refused) as caught:
            lock(api, namespace, "capi-llm destroy").acquire()
        text = str(caught.value)
        assert f"Lease {namespace}/plane" in text
        assert f"`capi-llm bootstrap` on {hostname()} pid {os.getpid()}" in text
        assert " since 20" in text
        assert api.get(lease)["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    assert api.find(lease) is None
    with lock(api, namespace, "capi-llm destroy"):
        pass


def test_a_first_try_whose_answer_was_lost_is_no_other_holder(
    api: Api, namespace: str, lease: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server has died after it wrote the Lease: the second try is a Conflict with ourselves."""
    mine = lock(api, namespace)
    api.create(LEASES, mine._body(None))
    found = [None]
    real = api.find
    monkeypatch.setattr(api, "find", lambda ref: found.pop() if found else real(ref))
    with mine:
        mine.check()
        assert real(lease) is not None
    assert real(lease) is None


def test_a_renewal_whose_answer_was_lost_does_not_keep_it_from_being_given_back(
    api: Api, namespace: str, lease: Ref
) -> None:
    with lock(api, namespace):
        api.merge_patch(lease, {"metadata": {"annotations": {"renewed": "again"}}})
    assert api.find(lease) is None


def test_one_that_could_not_be_given_back_does_not_stand_in_its_own_way(
    api: Api, namespace: str, lease: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server was away when it was to be deleted; the same command goes on with another part."""
    first = lock(api, namespace)
    with monkeypatch.context() as broken:

        def away(_: Object) -> None:
            raise Unavailable("can not delete", why="connection refused")

        broken.setattr(first, "_delete", away)
        with first:
            pass
    assert api.find(lease) is not None
    with lock(api, namespace, "the next part"):
        assert api.get(lease)["metadata"]["annotations"][COMMAND_ANNOTATION] == "the next part"
    assert api.find(lease) is None


def test_it_is_given_back_when_the_command_fails(api: Api, namespace: str, lease: Ref) -> None:
    with pytest.raises(RuntimeError), lock(api, namespace):
        raise RuntimeError
    assert api.find(lease) is None


def test_it_can_be_taken_again(api: Api, namespace: str) -> None:
    held = lock(api, namespace)
    for _ in range(2):
        held.acquire()
        held.check()
        held.release()
    held.release()


def test_it_is_renewed(api: Api, namespace: str, lease: Ref) -> None:
    with lock(api, namespace, duration=1) as held:
        first = api.get(lease)

        def probe() -> waiting.Status:
            live = api.get(lease)
            assert live["spec"]["acquireTime"] == first["spec"]["acquireTime"]
            assert live["metadata"]["annotations"] == first["metadata"]["annotations"]
            renewed = live["spec"]["renewTime"] > first["spec"]["renewTime"]
            return waiting.ready() if renewed else waiting.pending("not yet")

        waiting.until(probe, what="a renewal", timeout=10, waiter=waiting.Waiter(interval=0.05))
        held.check()


def test_an_expired_lease_is_taken_over(api: Api, namespace: str, lease: Ref) -> None:
    left_behind(api, namespace, renewed_ago=60)
    with lock(api, namespace):
        spec = api.get(lease)["spec"]
        assert spec["holderIdentity"].startswith(f"{hostname()} pid {os.getpid()}")
        assert spec["leaseTransitions"] == 4
    assert api.find(lease) is None


def test_a_lease_that_is_still_good_is_not_taken_over(api: Api, namespace: str, lease: Ref) -> None:
    before = left_behind(api, namespace, renewed_ago=5)
    with pytest.raises(Refused, match="elsewhere pid 7"):
        lock(api, namespace).acquire()
    assert api.get(lease) == before


def test_a_lease_without_holder_is_free(api: Api, namespace: str) -> None:
    api.create(LEASES, {"metadata": {"name": "plane", "namespace": namespace}, "spec": {}})
    with lock(api, namespace):
        pass


def test_of_many_that_try_at_once_one_gets_it(api: Api, namespace: str) -> None:
    left_behind(api, namespace, renewed_ago=60)
    locks = [lock(api, namespace, f"command {number}") for number in range(8)]
    start = threading.Barrier(len(locks))

    def attempt(one: LeaseLock) -> bool:
        start.wait(10)
        try:
            one.acquire()
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(len(locks)) as pool:
        got = list(pool.map(attempt, locks))
    assert sum(got) == 1
    for one, has in zip(locks, got, strict=True):
        if has:
            one.check()
        one.release()


def test_a_holder_that_lost_it_is_told_and_leaves_it_alone(api: Api, namespace: str, lease: Ref) -> None:
    with lock(api, namespace, duration=1) as held:
        other = {"metadata": {"annotations": None}, "spec": {"holderIdentity": "elsewhere pid 7 abc"}}
        api.merge_patch(lease, other)

        def probe() -> waiting.Status:
            held.check()
            return waiting.pending("not noticed yet")

        with pytest.raises(Refused, match=r"was lost while working .* elsewhere pid 7"):
            waiting.until(probe, what="the loss", timeout=10, waiter=waiting.Waiter(interval=0.05))
    assert api.get(lease)["spec"]["holderIdentity"] == "elsewhere pid 7 abc"


def test_it_is_kept_over_a_restart_of_the_api_server(
    api: Api, control_plane: ControlPlane, namespace: str, lease: Ref
) -> None:
    with lock(api, namespace, duration=2) as held:
        first = api.get(lease)["spec"]["renewTime"]
        control_plane.kill_apiserver()
        control_plane.start()

        def probe() -> waiting.Status:
            renewed = api.get(lease)["spec"]["renewTime"] > first
            return waiting.ready() if renewed else waiting.pending("not yet")

        waiting.until(probe, what="a renewal", timeout=20, waiter=waiting.Waiter(interval=0.1))
        held.check()
    assert api.find(lease) is None


def test_releasing_while_the_server_is_away_is_quick(control_plane: ControlPlane, namespace: str) -> None:
    with Api.from_kubeconfig(control_plane.kubeconfig) as api:
        held = lock(api, namespace)
        held.acquire()
        control_plane.kill_apiserver()
        started = time.monotonic()
        held.release()
        assert time.monotonic() - started < 5
    control_plane.start()


def test_the_namespace_must_exist(api: Api) -> None:
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        lock(api, "nowhere").acquire()
