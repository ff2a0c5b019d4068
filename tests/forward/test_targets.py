"""What a person wants forwarded, as written; and where a Service leads. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from capi_llm.errors import BadInput
from capi_llm.forward import origins, routes, targets
from capi_llm.forward.routes import Endpoint
from capi_llm.forward.targets import SAME, Place, Target
from capi_llm.kube.resources import Object


@pytest.mark.parametrize(
    ("word", "local", "port"),
    [
        ("svc/web:80", SAME, "80"),
        ("svc/web:8081:80", 8081, "80"),
        ("service/web:0:http", 0, "http"),
        ("svc/web:http", SAME, "http"),
    ],
)
def test_a_service_as_written(word: str, local: int, port: str) -> None:
    assert targets.service(word, "shop") == Target("svc/web", local, Place("shop", "web", port))


@pytest.mark.parametrize(
    "word", ["svc/web", "svc/:80", "svc/web:", "svc/web:0", "svc/web:70000", "svc/Web:80", "svc/web:1:2:3",
             "svc/web:x:80", "svc/web:a--", "svc/web:²"],
)  # fmt: skip
def test_what_is_no_service_is_refused(word: str) -> None:
    with pytest.raises(BadInput):
        targets.service(word, "shop")


@pytest.mark.parametrize("word", ["litelm", "litellm:x", "litellm:", "litellm:99999", "ollama:1:2"])
def test_what_is_no_app_is_refused(word: str) -> None:
    if word == "litellm:":
        assert targets.app(word)[1] == 4000
        return
    with pytest.raises(BadInput) as caught:
        targets.app(word)
    if word == "litelm":
        assert "litellm" in caught.value.fix


def test_apps_have_the_local_ports_that_are_promised() -> None:
    ports = {app.name: app.local for app in targets.APPS}
    assert ports["openwebui"] == ports["ingress"] == 8080
    assert (ports["litellm"], ports["ollama"], ports["rancher"]) == (4000, 11434, 8443)
    assert targets.app("litellm:4001")[1] == 4001


def test_local_ports_below_1024_are_moved_unless_they_were_named() -> None:
    target = targets.service("svc/web:443", "shop")
    assert targets.local_port(target, 443).local == 8443
    assert targets.local_port(targets.service("svc/web:443:443", "shop"), 443).local == 443
    assert targets.local_port(targets.service("svc/web:http", "shop"), 3000).local == 3000


def test_the_first_word_is_a_cluster_unless_it_is_a_target() -> None:
    assert origins.parse(["demo", "litellm", "svc/web:80"]).cluster == "demo"
    assert origins.parse(["litellm"]) == origins.Wanted("", ("litellm",))
    assert origins.parse(["svc/web:80"], "shop", management=True).words == ("svc/web:80",)
    with pytest.raises(BadInput, match="no known app 'web'"):
        origins.parse(["demo", "web"])
    assert origins.label_of("team-a/demo") == "team-a.demo"
    assert origins.words_of(origins.label_of("team-a/demo")) == ["team-a/demo"]


class Fake:
    """A cluster of recorded objects."""

    def __init__(self) -> None:
        self.services: dict[tuple[str, str], Object] = {}
        self.endpoint_slices: list[Object] = []
        self.pods: dict[str, Object] = {}

    def service(self, namespace: str, name: str) -> Object | None:
        return self.services.get((namespace, name))

    def slices(self, namespace: str, service: str) -> Iterable[Object]:
        return self.endpoint_slices

    def pod(self, namespace: str, name: str) -> Object | None:
        return self.pods.get(name)

    def add_service(self, name: str, namespace: str = "n", *, labels: Any = None, **spec: Any) -> None:
        ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 9000}]
        metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
        self.services[namespace, name] = {"metadata": metadata, "spec": {"ports": ports, **spec}}

    def add_pod(self, name: str, *, ports: Any = None, ready: bool | None = True, **status: Any) -> None:
        self.pods[name] = {
            "metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}"},
            "status": {"phase": "Running", **status},
        }
        conditions = {} if ready is None else {"ready": ready}
        target = {"kind": "Pod", "name": name, "uid": f"uid-{name}"}
        listed = ports or [{"name": "http", "port": 8000}, {"name": "admin", "port": 9001}]
        self.endpoint_slices.append(
            {"ports": listed, "endpoints": [{"conditions": conditions, "targetRef": target}]}
        )


PLACE = Place("n", "web", "80")


def pods_of(found: routes.Route) -> list[tuple[str, int]]:
    return [(endpoint.pod, endpoint.port) for endpoint in found.endpoints]


def test_ready_pods_with_the_port_that_each_has() -> None:
    look = Fake()
    look.add_service("web")
    look.add_pod("one")
    look.add_pod("two", ports=[{"name": "http", "port": 8123}], ready=None)
    assert pods_of(routes.route(PLACE, look)) == [("one", 8000), ("two", 8123)]
    assert pods_of(routes.route(Place("n", "web", "admin"), look)) == [("one", 9001)]


def test_a_headless_service_is_like_others() -> None:
    look = Fake()
    look.add_service("web", clusterIP="None")
    look.add_pod("one")
    assert pods_of(routes.route(PLACE, look)) == [("one", 8000)]


def test_pods_that_are_not_ready_are_left_out_and_named() -> None:
    look = Fake()
    look.add_service("web")
    look.add_pod("unready", ready=False)
    look.add_pod("ending")
    look.pods["ending"]["metadata"]["deletionTimestamp"] = "now"
    look.add_pod("crashing", containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}])
    look.add_pod("new")
    look.pods["new"]["metadata"]["uid"] = "another"
    look.add_pod("gone")
    del look.pods["gone"]
    look.add_pod("done", phase="Succeeded")
    found = routes.route(PLACE, look)
    assert found.endpoints == ()
    assert "unready is not ready, ending is ending, crashing is waiting (CrashLoopBackOff)" in found.why
    look.add_pod("good")
    assert pods_of(routes.route(PLACE, look)) == [("good", 8000)]


def test_what_is_missing_is_said() -> None:
    look = Fake()
    assert "no Service n/web" in routes.route(PLACE, look).why
    look.add_service("web")
    assert "it has none" in routes.route(PLACE, look).why
    assert "no TCP port 81: it has 80 (http), 9000 (admin)" in routes.route(Place("n", "web", "81"), look).why
    look.add_service("out", type="ExternalName", externalName="example.com")
    assert "out of the cluster, to example.com" in routes.route(Place("n", "out", "80"), look).why


KNATIVE = {"serving.knative.dev/route": "ollama"}
ROUTER = "kourier-internal.kourier-system.svc.cluster.local"


def test_a_knative_service_leads_to_the_router_with_its_own_name() -> None:
    look = Fake()
    place = Place("llm", "ollama", "11434")
    look.add_service("ollama", "llm", labels=KNATIVE, type="ExternalName", externalName=ROUTER)
    assert routes.namespaces(place, look) == {"llm", "kourier-system"}
    assert "which is not there" in routes.route(place, look).why
    look.add_service("kourier-internal", "kourier-system")
    look.add_pod("gateway")
    found = routes.route(place, look)
    assert found.host == "ollama.llm.svc.cluster.local"
    assert found.endpoints == (Endpoint("kourier-system", "gateway", "uid-gateway", 8000),)


def test_a_knative_service_without_a_router_yet() -> None:
    look = Fake()
    own = "ollama.llm.svc.cluster.local"
    look.add_service("ollama", "llm", labels=KNATIVE, type="ExternalName", externalName=own)
    assert "not given ollama.llm a router" in routes.route(Place("llm", "ollama", "11434"), look).why


def test_another_external_name_keeps_the_port_and_the_host() -> None:
    look = Fake()
    look.add_service("alias", "llm", type="ExternalName", externalName="web.n.svc")
    look.add_service("web")
    look.add_pod("one")
    found = routes.route(Place("llm", "alias", "9000"), look)
    assert (pods_of(found), found.host) == ([("one", 9001)], "")


def test_when_nothing_can_come_from_a_pod_any_more() -> None:
    look = Fake()
    look.add_pod("one", conditions=[{"type": "Ready", "status": "True"}])
    endpoint = Endpoint("n", "one", "uid-one", 80)
    assert routes.gone(endpoint, look) == routes.ending(endpoint, look) == ""
    assert routes.ready(endpoint, look)
    look.pods["one"]["metadata"]["deletionTimestamp"] = "now"
    assert routes.gone(endpoint, look) == ""
    assert "is being deleted" in routes.ending(endpoint, look)
    look.pods["one"]["status"]["phase"] = "Failed"
    assert "has ended" in routes.gone(endpoint, look)
    look.pods["one"]["metadata"]["uid"] = "another"
    assert "was deleted" in routes.gone(endpoint, look)
    assert routes.ready(Endpoint("n", "none", "", 80), look) is False
