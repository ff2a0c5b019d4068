"""The recipe of a plane with Rancher, above the cluster itself; and that of Fleet without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from capi_llm import compatibility, versions
from capi_llm.compatibility import Row
from capi_llm.kube import kubeconfig
from capi_llm.settings import Provider
from capi_llm.steps import budgets, charts, exposure, management_cluster, there
from capi_llm.steps.address import RancherAddress
from capi_llm.steps.chart import HelmRelease, Wanted
from capi_llm.steps.charts import Repositories
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Recipe, Step
from capi_llm.steps.exposure import Exposure
from capi_llm.steps.imports import ImportNamespaces
from capi_llm.steps.ngrok import NgrokCredentials, NgrokServes
from capi_llm.steps.objects import Objects
from capi_llm.steps.providers import with_rancher
from capi_llm.steps.rancher import Deployments, FleetRestarted, RancherSecrets, RancherSettings, TurtlesRuns
from capi_llm.steps.there import WhatIsThere
from capi_llm.steps.turtles import CapiProvider, CoreProvider, providers

LOOK = there.NAME
CLUSTER_API = "cluster-api"
"""The step after which Cluster API's objects can be read."""

_FLEET = ("fleet-controller", "gitjob", "helmops")


def exposed(choices: Choices) -> Exposure:
    """How Rancher of a plane is reached. Raises BadInput where the choices do not say enough."""
    node = f"{choices.cluster}-control-plane" if choices.cluster else ""
    return exposure.of(
        choices.expose,
        choices.hostname,
        node=node,
        ingress_class=choices.ingress_class,
        certificate=choices.certificate,
    )


def recipe(choices: Choices, *, upgrade: bool = False, more: Sequence[Provider] = ()) -> Recipe:
    """The steps from a cluster that answers to one that makes clusters and imports them.

    ``more`` are providers that the settings add.
    """
    row, way = compatibility.row(choices.rancher), exposed(choices)
    found: list[Step] = [WhatIsThere(row, needs=(management_cluster.NAME,))]
    before_rancher = ["rancher-secrets"]
    if way.cert_manager:
        found.append(cert_manager(needs=(LOOK,), upgrade=upgrade))
        before_rancher.append("cert-manager")
    if way.kind == "ngrok":
        found.append(NgrokCredentials(needs=(LOOK,)))
        found.append(
            _chart(
                "ngrok-operator",
                charts.ngrok_operator,
                ("ngrok-credentials",),
                versions.NGROK_OPERATOR,
                upgrade,
            )
        )
    found.append(RancherSecrets(way, needs=(LOOK,)))
    found.append(
        HelmRelease(
            "rancher",
            lambda ctx: charts.rancher(_repositories(ctx), row, way),
            tuple(before_rancher),
            version=row.rancher,
            upgrade=upgrade,
            timeout=budgets.RANCHER,
        )
    )
    found += _exposing(way)
    found.append(RancherSettings(way, needs=("rancher",)))
    found += _by_rancher(row, way)
    found += _providers(row, docker=True, upgrade=upgrade)
    found += with_rancher(more, needs=(CLUSTER_API,), upgrade=upgrade)
    found.append(ImportNamespaces(("default",), needs=("turtles",)))
    return tuple(found)


def cert_manager(*, needs: tuple[str, ...], upgrade: bool = False) -> HelmRelease:
    """cert-manager, unless it is there."""
    return _chart("cert-manager", charts.cert_manager, needs, versions.CERT_MANAGER, upgrade)


def fleet(choices: Choices, *, needs: tuple[str, ...], upgrade: bool = False) -> Recipe:
    """Fleet by its own charts; its agents call the management cluster's API server themselves."""
    row = compatibility.WITHOUT_RANCHER
    return (
        HelmRelease(
            "fleet-crds",
            lambda ctx: charts.fleet_crds(_repositories(ctx), row),
            needs,
            version=row.fleet,
            upgrade=upgrade,
        ),
        HelmRelease(
            "fleet",
            lambda ctx: charts.fleet(
                _repositories(ctx), row, server=_server(ctx, choices), authority=_authority(ctx)
            ),
            ("fleet-crds",),
            version=row.fleet,
            upgrade=upgrade,
        ),
    )


def _exposing(way: Exposure) -> list[Step]:
    found: list[Step] = []
    needs = ("rancher",) if way.kind != "ngrok" else ("rancher", "ngrok-operator")
    if way.objects():
        found.append(Objects("rancher-exposed", way.objects(), needs))
    if way.kind == "ngrok":
        found.append(NgrokServes(way, needs=("rancher-exposed",)))
    if way.kind in ("loadbalancer", "ingress"):
        after = "rancher-exposed" if way.objects() else "rancher"
        found.append(RancherAddress(way, needs=(after,)))
    return found


def _by_rancher(row: Row, way: Exposure) -> list[Step]:
    """What Rancher installs by itself once it knows its URL, and is waited for."""
    log = "see the log of Deployment rancher in cattle-system"
    return [
        Deployments(
            "rancher-webhook",
            (("cattle-system", "rancher-webhook"),),
            ("rancher",),
            cause="Rancher installs it from its own catalogue",
            fix=log,
        ),
        Deployments(
            "fleet",
            tuple(("cattle-fleet-system", name) for name in _FLEET),
            ("rancher-settings",),
            cause="Rancher installs Fleet once server-url is set",
            fix=log,
            version=row.fleet,
        ),
        FleetRestarted(way, needs=("fleet",)),
        TurtlesRuns(row.turtles, needs=("rancher-settings",)),
        CoreProvider(row, needs=("turtles",)),
    ]


def _providers(row: Row, *, docker: bool, upgrade: bool) -> list[Step]:
    """Side by side: each waits for the core provider by itself."""
    return [
        CapiProvider(provider, needs=(CLUSTER_API,), upgrade=upgrade)
        for provider in providers(row, docker=docker)
    ]


def _chart(
    name: str,
    wanted: Callable[[Repositories], Wanted],
    needs: tuple[str, ...],
    version: str,
    upgrade: bool,
) -> HelmRelease:
    return HelmRelease(name, lambda ctx: wanted(_repositories(ctx)), needs, version=version, upgrade=upgrade)


def _repositories(ctx: Context) -> Repositories:
    return Repositories.mirror(ctx.settings.charts)


def _server(ctx: Context, choices: Choices) -> str:
    """The API server as workload clusters reach it: of a kind plane by its node's name in Docker."""
    return f"https://{choices.cluster}-control-plane:6443" if choices.cluster else ctx.api().server


def _authority(ctx: Context) -> str:
    """Who signs the API server's certificate: the kubeconfig that we use trusts it."""
    return kubeconfig.authority_of(Path(ctx.identity.kubeconfig), ctx.identity.context)
