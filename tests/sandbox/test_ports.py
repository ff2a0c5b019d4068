"""Ports and loopback addresses, tried with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capi_llm.errors import PrerequisiteMissing
from capi_llm.identity import Identities, Identity
from capi_llm.sandbox import ports
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.settings import Settings
from capi_llm.steps import budgets
from capi_llm.steps.context import Context, Plane
from capi_llm.steps.processes import SupervisorRuns
from capi_llm.waiting import Status, Waiter


@pytest.fixture
def range_of_our_own(monkeypatch: pytest.MonkeyPatch) -> range:
    """A range that no sandbox on this machine uses, so that these tests run beside one."""
    first = 30_000
    monkeypatch.setattr(ports, "_FIRST", first)
    return range(first, ports._LAST)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def listen(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((address, port))


def test_a_port_is_free_if_nothing_listens_on_it(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not ports.free(port)
    listener.close()
    assert ports.free(port)


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_port_is_taken_by_who_listens_on_every_address(everywhere: str) -> None:
    family = socket.AF_INET6 if ":" in everywhere else socket.AF_INET
    try:
        server = socket.create_server(
            (everywhere, 0), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    except (OSError, ValueError):
        pytest.skip("no IPv6 here")
    with server:
        assert not ports.free(server.getsockname()[1])


def test_a_port_in_time_wait_is_free(listener: socket.socket) -> None:
    """What a part that was just stopped leaves; the part itself would be able to bind it too."""
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = listener.accept()
        accepted.close()
    listener.close()
    assert ports.free(port)


def test_every_part_gets_a_port_of_its_own(range_of_our_own: range) -> None:
    found = ports.assign(())
    assert set(found) == set(ports.NAMES)
    assert len(set(found.values())) == len(ports.NAMES)
    assert set(found.values()) <= set(range_of_our_own)
    for manager in MANAGERS:
        assert {f"{manager}-webhook", f"{manager}-health", f"{manager}-diagnostics"} <= set(found)


def test_ports_stay_out_of_the_ranges_of_others() -> None:
    _, high = ports.IN_MEMORY_RANGE
    assert high <= ports._FIRST
    assert ports._LAST <= 32768  # where Linux begins to hand out ports to outgoing connections


def test_two_sandboxes_never_share_a_port_though_none_runs(range_of_our_own: range) -> None:
    first = ports.assign(())
    second = ports.assign(first.values())
    assert not set(first.values()) & set(second.values())
    third = ports.assign([*first.values(), *second.values()])
    assert not set(third.values()) & (set(first.values()) | set(second.values()))


def test_a_port_that_somebody_listens_on_is_not_given_away(range_of_our_own: range) -> None:
    first = ports.assign(())
    with listen(first["etcd"]), listen(first["kwok"]):
        second = ports.assign(())
    assert not {first["etcd"], first["kwok"]} & set(second.values())


def test_too_few_ports_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_FIRST", ports._LAST - len(ports.NAMES) + 1)
    with pytest.raises(PrerequisiteMissing, match="no free port"):
        ports.assign(())
    monkeypatch.setattr(ports, "_FIRST", 30_000)
    with pytest.raises(PrerequisiteMissing) as caught:
        ports.assign(range(30_000, ports._LAST))
    assert caught.value.fix


# Loopback addresses


@pytest.fixture
def in_memory_ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two free ports instead of the fixed ones, which a sandbox on this machine may use."""
    with listen(0) as one, listen(0) as two:
        found = one.getsockname()[1], two.getsockname()[1]
    monkeypatch.setattr(ports, "IN_MEMORY_PORTS", found)
    return found


def test_each_sandbox_gets_an_address_of_its_own(in_memory_ports: tuple[int, int]) -> None:
    taken: list[str] = []
    for _ in range(5):
        taken.append(ports.assign_loopback(taken))
    assert len(set(taken)) == 5
    assert all(ports.is_loopback(address) for address in taken)


@pytest.mark.usefixtures("in_memory_ports")
def test_those_who_do_not_know_of_each_other_hardly_get_the_same() -> None:
    """Two users' sandboxes that are made in the same moment: nothing listens there yet."""
    assert len({ports.assign_loopback(()) for _ in range(20)}) > 15


@pytest.mark.parametrize("which", [0, 1])
def test_an_address_on_which_somebody_uses_a_fixed_port_is_left_out(
    in_memory_ports: tuple[int, int], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_TRIES", 0)  # as where there are no others
    every = {f"127.0.0.{number}" for number in range(1, ports._LOOPBACKS)}
    left = {"127.0.0.3", "127.0.0.4"}
    with listen(in_memory_ports[which]), listen(in_memory_ports[which], "127.0.0.2"):
        assert ports.assign_loopback(every - left - {"127.0.0.1", "127.0.0.2"}) in left
        assert ports.assign_loopback(every - {"127.0.0.1", "127.0.0.2", "127.0.0.4"}) == "127.0.0.4"


def test_where_every_address_is_in_use_the_way_out_is_named(in_memory_ports: tuple[int, int]) -> None:
    with listen(in_memory_ports[0], "0.0.0.0"), pytest.raises(PrerequisiteMissing) as caught:
        ports.assign_loopback(())
    assert "lo0 alias" in caught.value.fix
    assert str(in_memory_ports[0]) in caught.value.on


# Ports of a plane that others took


def test_a_port_is_taken_by_others_only_if_its_own_part_does_not_run(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    for name, owner in (
        ("etcd", "etcd"),
        ("etcd-peer", "etcd"),
        ("capi-core-webhook", "capi-core"),
        ("capi-docker-diagnostics", "capi-docker"),
    ):
        assert ports.taken_by_others({name: port}, ()) == {name: port}
        assert ports.taken_by_others({name: port}, ["supervisor", owner]) == {}
        assert ports.taken_by_others({name: port}, ["supervisor", "kwok"]) == {name: port}


def test_a_part_owns_no_port_of_a_part_whose_name_begins_alike(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert ports.taken_by_others({"kube-apiserver": port}, ["kube"]) == {"kube-apiserver": port}
    assert ports.taken_by_others({"capi-core": port}, ["capi-co"]) == {"capi-core": port}


def test_a_port_on_which_nobody_listens_is_taken_by_nobody(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert ports.taken_by_others({"etcd": port}, ()) == {}


@pytest.fixture
def problems(tmp_path: Path, listener: socket.socket) -> Callable[[Waiter], list[str]]:
    """What the preflight says of a sandbox one of whose ports the listener has."""
    settings = Settings(state=tmp_path, cache=tmp_path, kubeconfigs=tmp_path)
    identity = Identity(
        "p", "sandbox", "/k", "c", instance="none", loopback="127.0.0.63",
        ports={"etcd": listener.getsockname()[1]},
    )  # fmt: skip

    def of(waiter: Waiter) -> list[str]:
        ctx = Context(settings, Plane(Identities(tmp_path), identity), waiter=waiter)
        return [problem.what for problem in SupervisorRuns(()).preflight(ctx)]

    return of


def test_a_port_that_is_let_go_in_a_moment_is_no_problem(
    problems: Callable[[Waiter], list[str]], listener: socket.socket
) -> None:
    """A part that was killed holds its port while its memory is given back, and is found no more."""
    seen: list[Status] = []

    def let_go(status: Status) -> None:
        seen.append(status)
        listener.close()

    assert problems(Waiter(report=let_go)) == []
    assert "is etcd's port" in seen[0].message


def test_a_port_that_stays_taken_is_one(
    problems: Callable[[Waiter], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "PORTS", 0.2)
    (found,) = problems(Waiter())
    assert found.endswith("which is etcd's port")
