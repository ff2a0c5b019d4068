"""Rancher beside its chart: Secrets before it, settings after it, and what it then installs by itself."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from capi_llm import certificates, versions
from capi_llm.contract import rancher as contract
from capi_llm.contract import workloads
from capi_llm.errors import Conflict, Refused
from capi_llm.kube.apply import MANAGER, apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import DEPLOYMENTS, NAMESPACES, SECRETS, Object, Ref, Resource
from capi_llm.kube.resources import RANCHER_SETTINGS as SETTINGS
from capi_llm.settings.secret import Secret
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.exposure import AUTHORITY, CA_FILE, NAMESPACE, Exposure
from capi_llm.steps.objects import namespace
from capi_llm.waiting import Status, pending, ready, until

FEATURES = Resource("management.cattle.io", "v3", "features", "Feature", namespaced=False)
PASSWORD = Ref(SECRETS, "bootstrap-secret", NAMESPACE)
PASSWORD_KEY = "bootstrapPassword"  # noqa: S105  the name of a key
FLEET_CONTROLLER = Ref(DEPLOYMENTS, "fleet-controller", "cattle-fleet-system")
RESTARTED_FOR = f"{versions.GROUP}/restarted-for"
"""Annotation on the pods of Fleet's controller: the server-url that they have been started for."""

_EMBEDDED = "cattle-provisioning-capi-system"


class RancherSecrets(Step):
    """The bootstrap password, and an authority for Rancher's certificates where the exposure wants one.

    What is there is kept: Rancher takes the password only when it starts for the first time.
    """

    name = "rancher-secrets"
    timeout = budgets.SETTINGS

    def __init__(self, exposure: Exposure, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._exposure = exposure

    def probe(self, ctx: Context) -> Status:
        missing = self._missing(ctx.api())
        if missing:
            return pending(f"to be made: {', '.join(missing)}")
        return ready(f"the password is in Secret {NAMESPACE}/{PASSWORD.name}")

    def apply(self, ctx: Context) -> None:
        api = ctx.api()
        apply(api, [namespace(NAMESPACE)])
        for name in self._missing(api):
            if name == PASSWORD.name:
                given = ctx.settings.rancher_password
                password = given.reveal() if given else secrets.token_urlsafe(18)
                data = {PASSWORD_KEY: password}
                _create(api, name, data, annotations={"helm.sh/resource-policy": "keep"})
            elif name == AUTHORITY:
                certificate, key = certificates.authority("capi-llm-rancher")
                _create(api, name, {"tls.crt": certificate, "tls.key": key}, kind="kubernetes.io/tls")
            elif name == CA_FILE:
                found = api.get(Ref(SECRETS, AUTHORITY, NAMESPACE))
                text = base64.b64decode(found["data"]["tls.crt"]).decode()
                _create(api, name, {"cacerts.pem": text})

    def _missing(self, api: Api) -> list[str]:
        wanted = [PASSWORD.name]
        if self._exposure.own_authority:
            wanted += [AUTHORITY, CA_FILE]
        return [name for name in wanted if api.find(Ref(SECRETS, name, NAMESPACE)) is None]


class RancherSettings(Step):
    """Rancher's Settings have the values of the exposure. Rancher makes them when it first starts."""

    name = "rancher-settings"
    interval = 1.0
    timeout = budgets.RANCHER_PARTS

    def __init__(self, exposure: Exposure, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._wanted: Mapping[str, str] = {**exposure.settings(), "first-login": "false"}

    def probe(self, ctx: Context) -> Status:
        for name, value in self._wanted.items():
            status = contract.setting(ctx.api().find(Ref(SETTINGS, name)), value)
            if not status.ready:
                return pending(f"Setting {name}: {status.message}", cause=_STARTS, fix=_LOG)
        if not (ctx.api().find(Ref(SETTINGS, "eula-agreed")) or {}).get("value"):
            return pending("Setting eula-agreed: is empty")
        return ready(f"server-url is {self._wanted['server-url']}")

    def apply(self, ctx: Context) -> None:
        api = ctx.api()
        names = [*self._wanted, "eula-agreed"]

        def made() -> Status:
            absent = [name for name in names if api.find(Ref(SETTINGS, name)) is None]
            if not absent:
                return ready()
            return pending(
                f"Setting {absent[0]}: Rancher has not made it yet",
                cause=_STARTS,
                fix=_LOG,
            )

        waiter = replace(ctx.waiter, interval=self.interval)
        until(made, what=self.name, timeout=self.timeout, waiter=waiter)
        agreed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for name, value in {**self._wanted, "eula-agreed": agreed}.items():
            ref = Ref(SETTINGS, name)
            have = str(api.get(ref).get("value") or "")
            if have != value and not (name == "eula-agreed" and have):
                api.merge_patch(ref, {"value": value})


_STARTS = "Rancher is starting, or does not run"
_LOG = "see the log of Deployment rancher in cattle-system"


class Deployments(Step):
    """Deployments that somebody else installs are there and ready: what Rancher brings by itself."""

    interval = 1.0

    def __init__(
        self,
        name: str,
        refs: tuple[tuple[str, str], ...],
        needs: tuple[str, ...] = (),
        *,
        cause: str,
        fix: str,
        version: str = "",
        timeout: float = budgets.RANCHER_PARTS,
    ) -> None:
        """``refs`` are (namespace, name); ``cause`` and ``fix`` are for one that is not there."""
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.version = version
        self._refs = tuple(Ref(DEPLOYMENTS, name, where) for where, name in refs)
        self._cause, self._fix = cause, fix

    def probe(self, ctx: Context) -> Status:
        for ref in self._refs:
            obj = ctx.api().find(ref)
            if obj is None:
                return pending(f"{ref} is not there yet", cause=self._cause, fix=self._fix)
            status = workloads.of(obj)
            if not status.ready:
                return pending(f"{ref}: {status.message}", cause=status.cause, fix=status.fix)
        return ready(f"{len(self._refs)} Deployments ready")

    def apply(self, ctx: Context) -> None:
        """They come by themselves."""


class TurtlesRuns(Deployments):
    """Turtles, which Rancher 2.13 installs by itself unless it is told not to."""

    def __init__(self, version: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(
            "turtles",
            (("cattle-turtles-system", "rancher-turtles-controller-manager"),),
            needs,
            cause="Rancher installs it from its own catalogue, which has to be reached",
            fix="see App rancher-turtles in cattle-turtles-system and ClusterRepo rancher-charts",
            version=version,
        )

    def probe(self, ctx: Context) -> Status:
        api = ctx.api()
        switches = {
            name: ((api.find(Ref(FEATURES, name)) or {}).get("spec") or {}).get("value")
            for name in ("turtles", "embedded-cluster-api")
        }
        if switches["turtles"] is False:
            raise Refused(
                "Turtles is switched off in Rancher",
                on="Feature turtles",
                why="its spec.value is false",
                fix="kubectl patch features.management.cattle.io turtles --type=merge "
                '-p \'{"spec":{"value":true}}\'; Rancher starts anew then',
            )
        if switches["embedded-cluster-api"] is True:
            raise Refused(
                "Rancher's embedded Cluster API is switched on, which excludes Turtles",
                on="Feature embedded-cluster-api",
                why="its spec.value is true",
                fix="switch it off in Rancher's features, and wait for its namespace to go",
            )
        status = super().probe(ctx)
        if not status.ready and api.find(Ref(NAMESPACES, _EMBEDDED)) is not None:
            return pending(
                f"{status.message}: Rancher waits for namespace {_EMBEDDED} to go",
                cause="that is of the embedded Cluster API of a Rancher before 2.13",
                fix=f"see what holds it: kubectl get namespace {_EMBEDDED} -o yaml",
            )
        return status


class FleetRestarted(Step):
    """Fleet's controller was started after ``server-url`` was set: it does not notice a change by itself
    (test/testenv/rancher.go of https://github.com/rancher/turtles/tree/v0.25.6).

    Where somebody else has set the URL, nothing is restarted.
    """

    name = "fleet-restart"
    interval = 1.0
    timeout = budgets.RANCHER_PARTS

    def __init__(self, exposure: Exposure, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._url = exposure.url

    def probe(self, ctx: Context) -> Status:
        api = ctx.api()
        setting = api.find(Ref(SETTINGS, "server-url"))
        if setting is None or not _ours(setting):
            return ready("server-url was not set by capi-llm")
        deployment = api.find(FLEET_CONTROLLER)
        if deployment is None:
            return pending(f"{FLEET_CONTROLLER} is not there yet", cause=_STARTS)
        if _restarted_for(deployment) != self._url:
            return pending("Fleet's controller is to be restarted for the new server-url")
        status = workloads.of(deployment)
        return ready("started for this server-url") if status.ready else status

    def apply(self, ctx: Context) -> None:
        deployment = ctx.api().find(FLEET_CONTROLLER)
        if deployment is not None and _restarted_for(deployment) != self._url:
            template = {"metadata": {"annotations": {RESTARTED_FOR: self._url}}}
            ctx.api().merge_patch(FLEET_CONTROLLER, {"spec": {"template": template}})


def password(api: Api) -> Secret | None:
    """The bootstrap password; None where there is no Secret of it."""
    found = api.find(PASSWORD)
    text = ((found or {}).get("data") or {}).get(PASSWORD_KEY)
    return Secret(base64.b64decode(text).decode()) if text else None


def _ours(obj: Object) -> bool:
    return any(
        str(entry.get("manager", "")).startswith(MANAGER)
        for entry in obj["metadata"].get("managedFields") or []
    )


def _restarted_for(deployment: Object) -> str:
    template = deployment["spec"]["template"].get("metadata") or {}
    return str((template.get("annotations") or {}).get(RESTARTED_FOR) or "")


def _create(
    api: Api,
    name: str,
    data: Mapping[str, str],
    *,
    kind: str = "Opaque",
    annotations: Mapping[str, str] | None = None,
) -> None:
    """A Secret that is only made, never changed: somebody may depend on what is in it."""
    obj: Object = {
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": dict(annotations or {})},
        "type": kind,
        "stringData": dict(data),
    }
    try:
        api.create(SECRETS, obj)
    except Conflict:
        return  # somebody made it meanwhile
