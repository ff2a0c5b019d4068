"""Providers of Cluster API where Turtles runs: CAPIProvider objects, each with a pinned version.

Names and namespaces are those of Turtles' own providers
(https://github.com/rancher/turtles/tree/v0.25.6/charts/rancher-turtles-providers). The core provider is
Rancher's: a second one would stop both, so it is waited for and never made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from capi_llm import versions
from capi_llm.compatibility import Row
from capi_llm.contract import turtles, workloads
from capi_llm.contract.conditions import finalizers
from capi_llm.errors import NotFound, Refused
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CAPI_PROVIDERS, DEPLOYMENTS, Object, Ref, Resource
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.imports import ADDON_CONFIG, ADDON_MANIFESTS
from capi_llm.steps.objects import namespace
from capi_llm.waiting import Status, pending, ready, until

CORE_PROVIDERS = Resource("operator.cluster.x-k8s.io", "v1alpha2", "coreproviders", "CoreProvider")
CORE = Ref(CAPI_PROVIDERS, "cluster-api", "cattle-capi-system")


@dataclass(frozen=True)
class Provider:
    """One CAPIProvider. ``deployment`` is the manager's, where it is known; ``manifests`` go with the
    provider's own."""

    step: str
    name: str
    namespace: str
    provider: str
    kind: str
    version: str
    deployment: str = ""
    manifests: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    """A Secret in ``namespace`` with the provider's credentials and variables."""

    fetch: str = ""
    """Where its manifests are, where clusterctl does not know it."""

    pinned_by: str = "this capi-llm's is"
    """Who wants ``version``, for messages."""

    @property
    def ref(self) -> Ref:
        return Ref(CAPI_PROVIDERS, self.name, self.namespace)

    def objects(self) -> list[Object]:
        """The namespace, the manifests' ConfigMap where there are any, and the CAPIProvider."""
        spec: dict[str, Any] = {"name": self.provider, "type": self.kind, "version": self.version}
        found = [namespace(self.namespace)]
        if self.manifests:
            found.append(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": ADDON_CONFIG, "namespace": self.namespace},
                    "data": {"manifests": self.manifests},
                }
            )
            spec["additionalManifests"] = {"name": ADDON_CONFIG, "namespace": self.namespace}
        if self.variables:
            spec["variables"] = dict(self.variables)
        if self.secret:
            spec["configSecret"] = {"name": self.secret}
        if self.fetch:
            spec["fetchConfig"] = {"url": self.fetch}
        found.append(
            {
                "apiVersion": CAPI_PROVIDERS.api_version,
                "kind": CAPI_PROVIDERS.kind,
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": spec,
            }
        )
        return found


def providers(row: Row, *, docker: bool = True) -> tuple[Provider, ...]:
    """Those that ``row`` needs beside the core provider."""
    found = [
        Provider(
            "capi-bootstrap", "kubeadm-bootstrap", "capi-kubeadm-bootstrap-system", "kubeadm", "bootstrap",
            row.kubeadm, "capi-kubeadm-bootstrap-controller-manager",
        ),
        Provider(
            "capi-control-plane", "kubeadm-control-plane", "capi-kubeadm-control-plane-system", "kubeadm",
            "controlPlane", row.kubeadm, "capi-kubeadm-control-plane-controller-manager",
        ),
    ]  # fmt: skip
    if docker:
        found.append(
            Provider(
                "capi-docker", "docker", "capd-system", "docker", "infrastructure",
                row.docker, "capd-controller-manager",
            )
        )  # fmt: skip
    found.append(
        Provider(
            "capi-fleet-addon", "fleet", "fleet-addon-system", "rancher-fleet", "addon",
            row.addon, "caapf-controller-manager", manifests=ADDON_MANIFESTS,
        )
    )  # fmt: skip
    return tuple(found)


class CoreProvider(Step):
    """The core provider that Rancher installs is there once, ready, and of the version in the table."""

    name = "cluster-api"
    interval = 1.0
    timeout = budgets.RANCHER_PARTS

    def __init__(self, row: Row, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self.version = row.core

    def probe(self, ctx: Context) -> Status:
        api = ctx.api()
        _only_one(api)
        obj = api.find(CORE)
        if obj is None:
            return pending(
                f"{CORE} is not there yet",
                cause="Turtles' chart makes it, as its last act",
                fix="see App rancher-turtles in cattle-turtles-system",
            )
        status = turtles.provider(obj, _deployment(api, "capi-controller-manager", CORE.namespace))
        have = str((obj.get("status") or {}).get("installedVersion") or "")
        if status.ready and have and have != self.version:
            return pending(
                f"{CORE} is of version {have}, and {self.version} is what this Rancher ships",
                fix="docs/compatibility.md says what goes together",
            )
        return status

    def apply(self, ctx: Context) -> None:
        """Rancher makes it."""


class CapiProvider(Step):
    """One provider, pinned. A newer one that is there is left; an older one is only changed by an upgrade."""

    interval = 1.0
    timeout = budgets.PROVIDER

    def __init__(self, provider: Provider, needs: tuple[str, ...] = (), *, upgrade: bool = False) -> None:
        self.name = provider.step
        self.needs = needs
        self.version = provider.version
        self.provider = provider
        self._upgrade = upgrade

    def probe(self, ctx: Context) -> Status:
        try:
            here = ctx.api().find(self.provider.ref)
        except NotFound:
            here = None
        if here is None:
            self._check_others(ctx.api())
            return pending(f"{self.provider.ref} {self.provider.version} is to be made")
        have = str((here.get("spec") or {}).get("version") or "")
        if self._kept(have):
            status = self._status(ctx, here)
            note = f"{have}; {self.provider.pinned_by} {self.provider.version}"
            return ready(note) if status.ready else status
        if have and have != self.provider.version:
            return pending(f"{have} is to become {self.provider.version}")
        open_ = unapplied(apply(ctx.api(), self.provider.objects(), dry_run=True))
        return self._status(ctx, here) if open_.ready else open_

    def apply(self, ctx: Context) -> None:
        here = ctx.api().find(self.provider.ref)
        if here is None or not self._kept(str((here.get("spec") or {}).get("version") or "")):
            apply(ctx.api(), self.provider.objects(), cancel=ctx.cancel)

    def remove(self, ctx: Context) -> None:
        if ctx.api().find(self.provider.ref) is None:
            return
        ctx.api().delete(self.provider.ref)

        def gone() -> Status:
            left = ctx.api().find(self.provider.ref)
            return ready() if left is None else pending(_leaving(left), fix="Turtles has to run for that")

        what = f"the end of {self.provider.ref}"
        until(gone, what=what, timeout=self.timeout, waiter=replace(ctx.waiter, interval=self.interval))

    def _kept(self, have: str) -> bool:
        """Whether the version that is there is left as it is."""
        if not have or have == self.provider.version:
            return False
        return not self._upgrade or versions.newer(have, self.provider.version)

    def _status(self, ctx: Context, obj: Object) -> Status:
        name, where = self.provider.deployment, self.provider.namespace
        return turtles.provider(obj, _deployment(ctx.api(), name, where) if name else None)

    def _check_others(self, api: Api) -> None:
        """Raise Refused where the same provider is there under another name."""
        for obj in _listed(api, CAPI_PROVIDERS):
            spec = obj.get("spec") or {}
            name = spec.get("name") or obj["metadata"]["name"]
            if spec.get("type") == self.provider.kind and name == self.provider.provider:
                raise Refused(
                    f"the provider {name} ({self.provider.kind}) is there under another name",
                    on=str(CAPI_PROVIDERS.ref(obj)),
                    why="a second one of the same kind would stop both",
                    fix=f"delete it and let capi-llm make {self.provider.ref}, or use another cluster",
                )


def _leaving(obj: Object) -> str:
    held = ", ".join(finalizers(obj))
    return f"is being deleted, held by {held}" if held else "is being deleted"


def _only_one(api: Api) -> None:
    """Raise Refused where a second core provider is there."""
    cores = [
        CAPI_PROVIDERS.ref(obj)
        for obj in _listed(api, CAPI_PROVIDERS)
        if (obj.get("spec") or {}).get("type") == "core"
    ]
    others = [str(ref) for ref in cores if ref != CORE]
    others += [
        str(CORE_PROVIDERS.ref(obj))
        for obj in _listed(api, CORE_PROVIDERS)
        if not (obj["metadata"].get("ownerReferences") or [])
    ]
    if others:
        raise Refused(
            "there is a second core provider of Cluster API",
            on=", ".join(others),
            why=f"Rancher's is {CORE}; with two of them the operator runs neither",
            fix="delete the other one",
        )


def _deployment(api: Api, name: str, where: str | None) -> Status:
    ref = Ref(DEPLOYMENTS, name, where)
    obj = api.find(ref)
    if obj is None:
        return pending(f"{ref} is not there yet")
    status = workloads.of(obj)
    return status if status.ready else pending(f"{ref}: {status.message}", fix=status.fix)


def _listed(api: Api, resource: Resource) -> list[Object]:
    try:
        return api.list(resource, slim=True)
    except NotFound:
        return []
