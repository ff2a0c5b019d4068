"""Forwarding through a real API server and real KWOK kubelets, with real servers behind simulated pods."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm import forward
from capi_llm.errors import BadInput, Forbidden, NotFound, PrerequisiteMissing
from capi_llm.forward import session
from capi_llm.forward.forwarder import Forward
from capi_llm.kube import kubeconfig
from capi_llm.kube.resources import NAMESPACES, NODES, SERVICES, Ref
from simulated_pods import World, wait_for


@pytest.fixture(autouse=True)
def streams_wait(pods: World) -> Iterator[None]:
    for backend in pods.backends.values():
        backend.go_on.clear()
    yield
    for backend in pods.backends.values():
        backend.go_on.set()


_names = iter(range(10**6))


@pytest.fixture
def namespace(pods: World) -> str:
    """A namespace of the test's own."""
    name = f"f{os.getpid()}-{next(_names)}"
    pods.api.create(NAMESPACES, {"metadata": {"name": name}})
    return name


Said = list[tuple[str, str]]


@contextlib.contextmanager
def forwarded(
    pods: World, namespace: str, word: str = "svc/web:0:80", **options: Any
) -> Iterator[tuple[Forward, Said]]:
    said: Said = []
    options.setdefault("report", lambda name, text: said.append((name, text)))
    with forward.forwarding(pods.plane.kubeconfig, word, namespace=namespace, **options) as local:
        (found,) = local.values()
        yield found, said


def connection(local: Forward, timeout: float = 30) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(local.address, local.port, timeout=timeout)


def get(local: Forward, path: str = "/who", timeout: float = 30) -> str:
    with contextlib.closing(connection(local, timeout)) as client:
        client.request("GET", path)
        return client.getresponse().read().decode()


@contextlib.contextmanager
def streaming(local: Forward) -> Iterator[http.client.HTTPResponse]:
    """A response whose first piece has come and whose others have not."""
    with contextlib.closing(connection(local)) as client:
        client.request("GET", "/stream?n=3")
        with client.getresponse() as response:
            assert response.readline()
            yield response


def test_a_pod_is_picked_for_every_connection(pods: World, namespace: str) -> None:
    a, b = pods.pod(namespace, "a"), pods.pod(namespace, "b", "two")
    pods.service(namespace)
    pods.publish(namespace, a)
    with forwarded(pods, namespace) as (local, said):
        assert get(local) == "a"
        pods.publish(namespace, b)
        wait_for(lambda: get(local) == "b", "the other pod")
        pods.publish(namespace, a, b)
        wait_for(lambda: get(local) == "a", "the first pod again")
        assert said == []


def test_connections_are_spread_over_the_pods(pods: World, namespace: str) -> None:
    a, b = pods.pod(namespace, "a"), pods.pod(namespace, "b", "two")
    pods.service(namespace)
    pods.publish(namespace, a, b)
    with forwarded(pods, namespace) as (local, _), contextlib.ExitStack() as stack:
        streams = [stack.enter_context(streaming(local)) for _ in range(4)]
        assert (pods.backends["a"].streams, pods.backends["b"].streams) == (2, 2)
        pods.backends["a"].go_on.set()
        pods.backends["b"].go_on.set()
        assert sorted(stream.read() for stream in streams) == [b"a 1\na 2\n"] * 2 + [b"b 1\nb 2\n"] * 2


def test_a_pod_that_is_deleted_ends_its_streams_and_the_next_is_taken(pods: World, namespace: str) -> None:
    a = pods.pod(namespace, "a")
    pods.service(namespace)
    pods.publish(namespace, a)
    with forwarded(pods, namespace) as (local, said), streaming(local) as response:
        b = pods.pod(namespace, "b")
        pods.publish(namespace, a, b)
        pods.delete(namespace, "a")
        with pytest.raises(ConnectionResetError):
            response.read()
        assert said == [("svc/web", f"pod {namespace}/a was deleted")]
        # The EndpointSlice still lists it.
        assert [get(local) for _ in range(5)] == ["b"] * 5


def test_a_connection_waits_for_a_pod(pods: World, namespace: str) -> None:
    pods.service(namespace)
    with forwarded(pods, namespace) as (local, said), ThreadPoolExecutor() as pool:
        answers = [pool.submit(get, local) for _ in range(3)]
        a = pods.pod(namespace, "a")
        assert not any(answer.done() for answer in answers)
        pods.publish(namespace, a)
        assert [answer.result(30) for answer in answers] == ["a"] * 3
        assert said == []


def test_the_wait_for_a_pod_is_bounded(pods: World, namespace: str) -> None:
    pods.service(namespace)
    with forwarded(pods, namespace, wait=0.5) as (local, said):
        with pytest.raises(ConnectionResetError):
            get(local)
        wait_for(lambda: said, "the message")
        assert f"no pod of Service {namespace}/web is ready: it has none" in said[0][1]


def test_the_api_server_restarts_during_a_stream(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    with (
        forwarded(pods, namespace) as (local, _),
        ThreadPoolExecutor() as pool,
        streaming(local) as response,
    ):
        pods.plane.kill_apiserver()
        try:
            with pytest.raises(ConnectionResetError):
                response.read()
            # The port listens all the time: who comes now waits.
            answer = pool.submit(get, local, timeout=90)
        finally:
            pods.plane.start()
        assert answer.result(90) == "a"
        assert get(local) == "a"


def test_a_node_is_gone_during_a_stream(pods: World, namespace: str) -> None:
    b = pods.pod(namespace, "b", "two")
    pods.service(namespace)
    pods.publish(namespace, b)
    with forwarded(pods, namespace) as (local, _), streaming(local) as response:
        a = pods.pod(namespace, "a", "one")
        pods.publish(namespace, a, b)
        pods.nodes["two"].kill()
        try:
            with pytest.raises(ConnectionResetError):
                response.read()
            # Nobody has told the API server yet: the pod on it still counts as ready.
            assert [get(local) for _ in range(5)] == ["a"] * 5
            pods.api.delete(Ref(NODES, "two"))
            assert [get(local) for _ in range(3)] == ["a"] * 3
        finally:
            pods.nodes["two"].start()
            if pods.api.find(Ref(NODES, "two")) is None:
                pods.api.create(NODES, {"metadata": {"name": "two", "labels": {"simulated": "two"}}})


def test_a_pod_that_refuses_is_passed_over(pods: World, namespace: str) -> None:
    """Ready, says the cluster, and nothing listens: what was sent goes to another pod."""
    dead, a = pods.pod(namespace, "dead"), pods.pod(namespace, "a")
    pods.service(namespace)
    pods.publish(namespace, dead)
    with forwarded(pods, namespace, wait=20) as (local, said), ThreadPoolExecutor() as pool:
        answer = pool.submit(get, local)
        pods.publish(namespace, dead, a)
        assert answer.result(30) == "a"
        assert {get(local) for _ in range(4)} == {"a"}
        assert said == []


def test_where_every_pod_refuses_the_wait_is_bounded(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "dead"))
    with forwarded(pods, namespace, wait=1) as (local, said):
        with pytest.raises(ConnectionResetError):
            get(local)
        wait_for(lambda: said, "the message")
        assert "connection refused" in said[0][1]


def test_200_connections_at_once(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"), pods.pod(namespace, "b", "two"))
    together = threading.Barrier(200, timeout=60)
    with forwarded(pods, namespace) as (local, said), ThreadPoolExecutor(200) as pool:

        def ask(number: int) -> bool:
            with contextlib.closing(connection(local, 60)) as client:
                client.request("GET", "/bytes?n=100000")
                first = client.getresponse().read()
                together.wait()  # all are open now
                client.request("POST", "/echo", body=str(number))
                return len(first) == 100_000 and client.getresponse().read() == str(number).encode()

        assert all(pool.map(ask, range(200)))
        assert said == []


def test_a_slow_reader_stops_the_sender(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    size, backend = 256 << 20, pods.backends["a"]
    with forwarded(pods, namespace) as (local, _), contextlib.closing(connection(local)) as client:
        backend.sent = 0
        client.request("GET", f"/bytes?n={size}")
        response = client.getresponse()
        seen = [-1] * 5

        def stopped() -> bool:
            seen[:] = [*seen[1:], backend.sent]
            return backend.sent > 0 and len(set(seen)) == 1

        wait_for(stopped, "the end of sending")
        assert backend.sent < 64 << 20  # buffers of five sockets and three programs
        total = 0
        while piece := response.read(1 << 20):
            total += len(piece)
        assert total == size


def test_much_goes_up(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    body = "0123456789" * 1_000_000
    with forwarded(pods, namespace) as (local, _), contextlib.closing(connection(local)) as client:
        client.request("POST", "/echo", body=body)
        assert client.getresponse().read().decode() == body


def test_a_knative_service_is_reached_through_its_router(pods: World, namespace: str) -> None:
    """The router is a stand-in: a server that says which Host it was asked for."""
    system = f"{namespace}-kourier"
    pods.api.create(NAMESPACES, {"metadata": {"name": system}})
    ports = [{"name": "http", "port": 80, "targetPort": 8081}]
    pods.service(system, "kourier-internal", ports=ports, selector={})
    pods.publish(system, pods.pod(system, "kourier"), service="kourier-internal")
    pods.api.create(
        SERVICES,
        {
            "metadata": {
                "name": "ollama",
                "namespace": namespace,
                "labels": {"serving.knative.dev/route": "ollama"},
            },
            "spec": {
                "type": "ExternalName",
                "externalName": f"kourier-internal.{system}.svc.cluster.local",
                "ports": [{"name": "http2", "port": 80}],
            },
        },
    )
    with (
        forwarded(pods, namespace, "ollama:0") as (local, said),
        contextlib.closing(connection(local)) as one,
    ):
        assert local.knative
        for _ in range(3):  # on one connection
            one.request("GET", "/host")
            assert one.getresponse().read().decode() == f"ollama.{namespace}.svc.cluster.local"
            one.request("POST", "/echo", body="Host: x\r\n\r\n" * 1000)
            assert one.getresponse().read() == b"Host: x\r\n\r\n" * 1000
        assert get(local) == "kourier"
        with socket.create_connection((local.address, local.port), timeout=30) as line:
            line.sendall(b"this is no HTTP\n")
            with pytest.raises(ConnectionResetError):
                line.recv(1)
        wait_for(lambda: said, "the message")
        assert "not an HTTP/1 request" in said[0][1]


def test_who_has_sent_all_still_gets_the_answer(
    pods: World, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody waits for ever for an end that a pod can not be told."""
    monkeypatch.setattr(session, "HALF_CLOSED_SECONDS", 5.0)
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    with forwarded(pods, namespace) as (local, said):
        with socket.create_connection((local.address, local.port), timeout=30) as line:
            line.sendall(b"GET /bytes?n=300000 HTTP/1.1\r\nHost: x\r\n\r\n")
            line.shutdown(socket.SHUT_WR)
            got: list[int] = []
            with pytest.raises(ConnectionResetError):
                got += iter(lambda: len(line.recv(65536)), 0)
        assert sum(got) > 300_000
        wait_for(lambda: said, "the message")
        assert "can not be told that end" in said[0][1]


def test_a_busy_local_port_is_named_or_moved(pods: World, namespace: str) -> None:
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PrerequisiteMissing) as caught, forwarded(pods, namespace, f"svc/web:{port}:80"):
            pass
        assert f"127.0.0.1:{port}" in caught.value.on
        assert "(pid " in caught.value.why
        assert "--auto-port" in caught.value.fix
        with forwarded(pods, namespace, f"svc/web:{port}:80", auto_port=True) as (local, _):
            assert local.port != port
            assert get(local) == "a"
    with forwarded(pods, namespace, f"svc/web:{port}:http") as (local, _):
        assert local.port == port


def test_what_can_not_be_forwarded_is_refused_at_once(pods: World, namespace: str) -> None:
    pods.service(namespace)
    with pytest.raises(BadInput, match="no TCP port 81"), forwarded(pods, namespace, "svc/web:0:81"):
        pass
    with pytest.raises(NotFound, match="no Service"), forwarded(pods, namespace, "svc/wob:0:80"):
        pass
    with (
        pytest.raises(NotFound, match="litellm is not on this cluster"),
        forwarded(pods, namespace, "litellm"),
    ):
        pass
    elsewhere = "203.0.113.1"
    with pytest.raises(BadInput, match="listen on"), forwarded(pods, namespace, address=elsewhere):
        pass
    with (
        pytest.raises(Forbidden),
        forward.forwarding(pods.plane.nobody_kubeconfig, "svc/web:0:80", namespace=namespace),
    ):
        pass


def test_the_rules_of_the_kubeconfig_hold(pods: World, namespace: str, tmp_path: Path) -> None:
    """Another name of the server, and a proxy, which a server on loopback is never asked through."""
    pods.service(namespace)
    pods.publish(namespace, pods.pod(namespace, "a"))
    config = yaml.safe_load(pods.plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["tls-server-name"] = "localhost"
    config["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:1"
    path = tmp_path / "config"
    kubeconfig.write(path, kubeconfig.render(config))
    with forward.forwarding(path, "svc/web:0:80", namespace=namespace) as local:
        assert get(local["svc/web"]) == "a"
    config["clusters"][0]["cluster"]["tls-server-name"] = "another.name"
    kubeconfig.write(path, kubeconfig.render(config))
    with pytest.raises(Exception, match="not trusted"), forward.forwarding(path, "svc/web:0:80"):
        pass
