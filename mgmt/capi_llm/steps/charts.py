"""The charts of a management plane, each with its repository, release, namespace and values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm import compatibility, versions
from capi_llm.compatibility import Row
from capi_llm.steps import found
from capi_llm.steps.chart import Wanted
from capi_llm.steps.exposure import NAMESPACE, Exposure, Values
from capi_llm.tools.helm import Chart

NGROK_NAMESPACE = "ngrok-operator"
NGROK_CREDENTIALS = "ngrok-operator-credentials"
FLEET_NAMESPACE = "cattle-fleet-system"

_STARTUP_FAILURES = 60
"""Times ten seconds that Rancher may take to start; the chart's own two minutes end on slow laptops."""


@dataclass(frozen=True)
class Repositories:
    """Where charts come from: their publishers, or one mirror that has all of them."""

    rancher: str = "https://releases.rancher.com/server-charts/latest"
    cert_manager: str = "https://charts.jetstack.io"
    ngrok: str = "https://charts.ngrok.com"
    fleet: str = "https://rancher.github.io/fleet-helm-charts"

    @classmethod
    def mirror(cls, url: str) -> Repositories:
        """``url`` for everything; the publishers where it is empty."""
        return cls(url, url, url, url) if url else cls()


def cert_manager(repositories: Repositories) -> Wanted:
    return Wanted(
        "cert-manager",
        "cert-manager",
        Chart("cert-manager", repositories.cert_manager, versions.CERT_MANAGER),
        {"crds": {"enabled": True, "keep": True}},
        found.CERT_MANAGER,
        compatibility.refuse_cert_manager,
    )


def rancher(repositories: Repositories, row: Row, exposure: Exposure) -> Wanted:
    """The bootstrap password is no value: the chart takes the Secret that is there."""
    values: Values = {
        "replicas": 1,
        "startupProbe": {"failureThreshold": _STARTUP_FAILURES},
        **exposure.values(),
    }
    return Wanted(
        "rancher",
        NAMESPACE,
        Chart("rancher", repositories.rancher, row.rancher.removeprefix("v")),
        values,
        found.RANCHER,
        compatibility.refuse_rancher,
    )


def ngrok_operator(repositories: Repositories) -> Wanted:
    """``Retain``: deleting the Ingress does not give the reserved domain back to ngrok.

    The hook of an uninstallation runs an image that is not published any more under its tag.
    """
    return Wanted(
        "ngrok-operator",
        NGROK_NAMESPACE,
        Chart("ngrok-operator", repositories.ngrok, versions.NGROK_OPERATOR),
        {
            "credentials": {"secret": {"name": NGROK_CREDENTIALS}},
            "defaultDomainReclaimPolicy": "Retain",
            "drainPolicy": "Retain",
            "cleanupHook": {"enabled": False},
            "gateway": {"enabled": False},
        },
        found.NGROK,
    )


def fleet_crds(repositories: Repositories, row: Row) -> Wanted:
    return Wanted(
        "fleet-crd",
        FLEET_NAMESPACE,
        Chart("fleet-crd", repositories.fleet, row.fleet.removeprefix("v")),
    )


def fleet(repositories: Repositories, row: Row, *, server: str, authority: str) -> Wanted:
    """Fleet without Rancher: its agents call ``server``, whose certificate ``authority`` (PEM) signs."""
    return Wanted(
        "fleet",
        FLEET_NAMESPACE,
        Chart("fleet", repositories.fleet, row.fleet.removeprefix("v")),
        {
            "apiServerURL": server,
            "apiServerCA": authority,
            "bootstrap": {"enabled": False},
            "gitops": {"enabled": False},
        },
        found.FLEET,
        compatibility.refuse_fleet,
    )
