"""Whether Rancher's host name leads somewhere, where its DNS entry is the user's."""

from __future__ import annotations

import socket

from capi_llm.kube.resources import SERVICES, Object, Ref, Resource
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.exposure import NAMESPACE, Exposure, LoadBalancer
from capi_llm.waiting import Status, pending, ready

INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")


class RancherAddress(Step):
    """The Service or Ingress has an address, and the host name resolves: agents and Turtles both call it."""

    name = "rancher-address"
    interval = 2.0
    timeout = budgets.EXPOSED

    def __init__(self, exposure: Exposure, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._host = exposure.hostname
        self._balanced = isinstance(exposure, LoadBalancer)

    def probe(self, ctx: Context) -> Status:
        ref = (
            Ref(SERVICES, "rancher-balanced", NAMESPACE)
            if self._balanced
            else Ref(INGRESSES, "rancher", NAMESPACE)
        )
        addresses = addresses_of(ctx.api().find(ref))
        if self._balanced and not addresses:
            return pending(
                f"{ref} has no address yet",
                cause="nothing on this cluster gives addresses to Services of type LoadBalancer",
                fix="install a load balancer such as MetalLB, or use --expose ingress",
            )
        if not resolves(self._host):
            to = f" to {addresses[0]}" if addresses else ""
            return pending(
                f"{self._host} does not resolve on this machine",
                cause="there is no DNS entry of it",
                fix=f"make a DNS entry {self._host}{to}, which workload clusters resolve too",
            )
        return ready(f"https://{self._host}")

    def apply(self, ctx: Context) -> None:
        """The cluster and its DNS do it."""


def addresses_of(obj: Object | None) -> list[str]:
    """The addresses in ``status.loadBalancer``."""
    entries = (((obj or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(entry.get("ip") or entry.get("hostname")) for entry in entries]


def resolves(host: str) -> bool:
    """Whether this machine knows an address of ``host``."""
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False
