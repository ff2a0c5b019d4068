"""From a Service to the pods that answer for it now. Pure: it looks at objects and asks nobody.

EndpointSlices say which pods are ready and what a named target port is on each of them. They are
written a moment after the pods change, so a pod that is gone or ending is left out all the same.

A Knative Service has no pods behind its name: its Service is of type ExternalName and leads to the
router (Kourier's internal Service), which knows by the Host header whom a request is for, and wakes
what has been scaled to zero (https://knative.dev/docs/serving/architecture/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from capi_llm.errors import BadInput
from capi_llm.forward.targets import Place
from capi_llm.kube.resources import Object

SERVICE_LABEL = "kubernetes.io/service-name"
"""Label of an EndpointSlice: its Service (k8s.io/api/discovery/v1, LabelServiceName)."""

_KNATIVE = ("serving.knative.dev/route", "serving.knative.dev/service")
_ROUTER_PORT = "80"
_INSIDE = re.compile(r"(?P<name>[^.]+)\.(?P<namespace>[^.]+)\.svc(?:\.(?P<domain>.+?))?\.?")


class Look(Protocol):
    """What is known of a cluster just now."""

    def service(self, namespace: str, name: str) -> Object | None: ...

    def slices(self, namespace: str, service: str) -> Iterable[Object]: ...

    def pod(self, namespace: str, name: str) -> Object | None: ...


@dataclass(frozen=True)
class Endpoint:
    """A port of one pod; ``uid`` tells it from a later pod of the same name."""

    namespace: str
    pod: str
    uid: str
    port: int

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}, port {self.port}"


@dataclass(frozen=True)
class Route:
    """The ready endpoints; ``why`` there are none. ``host``: requests are to carry this Host header."""

    endpoints: tuple[Endpoint, ...] = ()
    host: str = ""
    why: str = ""


def namespaces(place: Place, look: Look) -> set[str]:
    """The namespaces in which :func:`route` has to look for ``place``."""
    found = {place.namespace}
    service = look.service(place.namespace, place.service)
    if service is not None and (inside := _leads_to(service)):
        found.add(inside["namespace"])
    return found


def route(place: Place, look: Look) -> Route:
    """Where a connection to ``place`` goes now."""
    service = look.service(place.namespace, place.service)
    if service is None:
        return Route(why=f"there is no Service {place.namespace}/{place.service}")
    if service["spec"].get("type") != "ExternalName":
        return _endpoints(service, place.port, look)
    inside = _leads_to(service)
    name = f"{place.service}.{place.namespace}"
    if inside is None:
        where = service["spec"].get("externalName")
        return Route(why=f"Service {place.namespace}/{place.service} leads out of the cluster, to {where}")
    if f"{inside['name']}.{inside['namespace']}" == name:
        return Route(why=f"Knative has not given {name} a router yet")
    router = look.service(inside["namespace"], inside["name"])
    if router is None:
        return Route(
            why=f"{name} leads to Service {inside['namespace']}/{inside['name']}, which is not there"
        )
    if not is_knative(service):
        return _endpoints(router, place.port, look)
    found = _endpoints(router, _ROUTER_PORT, look)
    domain = f".{inside['domain']}" if inside["domain"] else ""
    return Route(found.endpoints, f"{name}.svc{domain}", found.why)


def is_knative(service: Object) -> bool:
    """Whether Knative made ``service`` for one of its own."""
    labels = service["metadata"].get("labels") or {}
    return service["spec"].get("type") == "ExternalName" and any(label in labels for label in _KNATIVE)


def port_of(service: Object, wanted: str) -> Object:
    """The port ``wanted``, by number or name, of ``service``. Raises BadInput, naming those there are."""
    ports = [port for port in service["spec"].get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    for port in ports:
        if wanted in (str(port["port"]), port.get("name")):
            return dict(port)
    metadata = service["metadata"]
    there = ", ".join(f"{port['port']} ({port['name']})" if port.get("name") else str(port["port"])
                      for port in ports)  # fmt: skip
    raise BadInput(
        f"Service {metadata['namespace']}/{metadata['name']} has no TCP port {wanted}",
        why=f"it has {there}" if there else "it has none",
    )


def gone(endpoint: Endpoint, look: Look) -> str:
    """Why nothing can come from ``endpoint`` any more; "" while its pod is there."""
    pod = look.pod(endpoint.namespace, endpoint.pod)
    if pod is None or pod["metadata"]["uid"] != endpoint.uid:
        return f"pod {endpoint.namespace}/{endpoint.pod} was deleted"
    if (phase := (pod.get("status") or {}).get("phase")) in ("Succeeded", "Failed"):
        return f"pod {endpoint.namespace}/{endpoint.pod} has ended ({phase})"
    return ""


def ending(endpoint: Endpoint, look: Look) -> str:
    """Why little can come from ``endpoint`` any more: its pod is gone or about to end."""
    pod = look.pod(endpoint.namespace, endpoint.pod)
    if pod is not None and pod["metadata"].get("deletionTimestamp"):
        return f"pod {endpoint.namespace}/{endpoint.pod} is being deleted"
    return gone(endpoint, look)


def ready(endpoint: Endpoint, look: Look) -> bool:
    """Whether the pod says that it is ready; a node that is lost makes its pods say no."""
    pod = look.pod(endpoint.namespace, endpoint.pod)
    conditions = (pod or {}).get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _leads_to(service: Object) -> re.Match[str] | None:
    if service["spec"].get("type") != "ExternalName":
        return None
    return _INSIDE.fullmatch(service["spec"].get("externalName") or "")


def _endpoints(service: Object, wanted: str, look: Look) -> Route:
    metadata = service["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        port = port_of(service, wanted)
    except BadInput as error:
        return Route(why=error.brief)
    found: list[Endpoint] = []
    others: list[str] = []
    for number, endpoint in _listed(look.slices(namespace, name), port.get("name") or ""):
        target = endpoint.get("targetRef") or {}
        if target.get("kind") != "Pod":
            others.append("an address without a pod")
            continue
        pod = look.pod(namespace, target["name"])
        why = _unfit(pod, target, endpoint)
        if why:
            others.append(f"{target['name']} {why}")
        elif pod is not None:
            found.append(Endpoint(namespace, target["name"], pod["metadata"]["uid"], number))
    if found:
        return Route(tuple(dict.fromkeys(found)))
    what = f"no pod of Service {namespace}/{name} is ready"
    return Route(why=f"{what}: {', '.join(others[:3])}" if others else f"{what}: it has none")


def _listed(slices: Iterable[Object], port: str) -> Iterator[tuple[int, Object]]:
    """Each endpoint of each slice that has the port called ``port``, with its number there."""
    for piece in slices:
        numbers = {item.get("name") or "": item.get("port") for item in piece.get("ports") or ()}
        if number := numbers.get(port):
            yield from ((int(number), endpoint) for endpoint in piece.get("endpoints") or ())


def _unfit(pod: Object | None, target: Object, endpoint: Object) -> str:
    """Why the endpoint is not one to connect to now; "" if it is."""
    if pod is None or pod["metadata"]["uid"] != target.get("uid", pod["metadata"]["uid"]):
        return "is gone"
    if pod["metadata"].get("deletionTimestamp"):
        return "is ending"
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            return f"is waiting ({waiting['reason']})"
    if status.get("phase") != "Running":
        return f"is {status.get('phase', 'Unknown')}"
    # An absent condition means ready (k8s.io/api/discovery/v1, EndpointConditions).
    return "is not ready" if (endpoint.get("conditions") or {}).get("ready") is False else ""
