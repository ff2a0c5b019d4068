"""The ngrok operator beside its chart: its credentials, and whether ngrok really serves Rancher's name."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace

from capi_llm.contract import ngrok as contract
from capi_llm.errors import NotFound
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SECRETS, Object, Ref, Resource
from capi_llm.settings.secret import Secret
from capi_llm.steps import budgets
from capi_llm.steps.charts import NGROK_CREDENTIALS, NGROK_NAMESPACE
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.steps.exposure import NAMESPACE, Exposure
from capi_llm.steps.objects import namespace, recorded
from capi_llm.waiting import Status, pending, ready, until

OPERATORS = Resource("ngrok.k8s.ngrok.com", "v1alpha1", "kubernetesoperators", "KubernetesOperator")
DOMAINS = Resource("ingress.k8s.ngrok.com", "v1alpha1", "domains", "Domain")
AGENT_ENDPOINTS = Resource("ngrok.k8s.ngrok.com", "v1alpha1", "agentendpoints", "AgentEndpoint")
CLOUD_ENDPOINTS = Resource("ngrok.k8s.ngrok.com", "v1alpha1", "cloudendpoints", "CloudEndpoint")
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")

_SECRET = Ref(SECRETS, NGROK_CREDENTIALS, NGROK_NAMESPACE)
_NAMES = ("API_KEY", "AUTHTOKEN")


class NgrokCredentials(Step):
    """Both credentials in the Secret that the chart is pointed to, so that they are no values of a chart."""

    name = "ngrok-credentials"
    timeout = budgets.SETTINGS

    def __init__(self, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        """Those that the plane has are enough; half of them is never enough."""
        given = {
            "NGROK_API_KEY": ctx.settings.ngrok_api_key,
            "NGROK_AUTHTOKEN": ctx.settings.ngrok_authtoken,
        }
        absent = [name for name, value in given.items() if not value]
        if absent and (len(absent) == 1 or not recorded(ctx, _SECRET, _NAMES)):
            yield Problem(
                f"ngrok needs {' and '.join(absent)}: without both, its operator becomes ready "
                "and does nothing",
                "put them into .env, from https://dashboard.ngrok.com/api-keys and "
                "https://dashboard.ngrok.com/get-started/your-authtoken; or --expose docker, "
                "which needs no account",
            )

    def probe(self, ctx: Context) -> Status:
        have = (ctx.api().find(_SECRET) or {}).get("data") or {}
        wrong = [name for name, value in self._data(ctx).items() if have.get(name) != _encoded(value)]
        absent = [name for name in _NAMES if name not in have]
        wrong = wrong or absent
        return pending(f"{', '.join(wrong)} to be written") if wrong else ready(f"in {_SECRET}")

    def apply(self, ctx: Context) -> None:
        obj: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _SECRET.name, "namespace": _SECRET.namespace},
            "type": "Opaque",
            "data": {name: _encoded(value) for name, value in self._data(ctx).items()},
        }
        apply(ctx.api(), [namespace(NGROK_NAMESPACE), obj])

    def remove(self, ctx: Context) -> None:
        ctx.api().delete(_SECRET)

    def _data(self, ctx: Context) -> dict[str, Secret]:
        """What is given now: both, or nothing where the plane has them already."""
        key, token = ctx.settings.ngrok_api_key, ctx.settings.ngrok_authtoken
        return {"API_KEY": key, "AUTHTOKEN": token} if key and token else {}


class NgrokServes(Step):
    """ngrok has registered the operator, and Rancher's Domain and endpoint are ready."""

    name = "ngrok-domain"
    interval = 1.0
    timeout = budgets.EXPOSED

    def __init__(self, exposure: Exposure, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._host = exposure.hostname

    def probe(self, ctx: Context) -> Status:
        api = ctx.api()
        status = contract.exposed(self._host, _listed(api, OPERATORS), _listed(api, DOMAINS))
        if not status.ready:
            return status
        for kind in (AGENT_ENDPOINTS, CLOUD_ENDPOINTS):
            for obj in _listed(api, kind, NAMESPACE):
                if self._host in str((obj.get("spec") or {}).get("url") or ""):
                    served = contract.endpoint(obj)
                    if not served.ready:
                        return replace(served, message=f"{kind.ref(obj)}: {served.message}")
        return ready(f"https://{self._host}")

    def apply(self, ctx: Context) -> None:
        """The operator does it."""

    def remove(self, ctx: Context) -> None:
        """Endpoints have to go while the operator runs, which holds them by a finalizer."""
        api = ctx.api()
        api.delete(Ref(INGRESSES, "rancher", NAMESPACE))

        def gone() -> Status:
            for kind in (AGENT_ENDPOINTS, CLOUD_ENDPOINTS):
                for obj in _listed(api, kind, NAMESPACE):
                    if self._host in str((obj.get("spec") or {}).get("url") or ""):
                        return pending(f"{kind.ref(obj)} is still there", fix="the operator takes it away")
            return ready()

        until(gone, what="the end of the ngrok endpoints", timeout=self.timeout, waiter=ctx.waiter)


def _listed(api: Api, resource: Resource, where: str | None = None) -> list[Object]:
    try:
        return api.list(resource, where, slim=True)
    except NotFound:
        return []


def _encoded(value: Secret) -> str:
    return base64.b64encode(value.reveal().encode()).decode()
