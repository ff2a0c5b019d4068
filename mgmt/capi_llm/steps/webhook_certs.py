"""Certificates of Cluster API's webhooks, made here instead of by cert-manager.

One authority for the plane, in a Secret of kube-system; a serving certificate of each manager in the
Secret that its Deployment mounts, with the names of its Certificate for cert-manager. Renewed by
``bootstrap`` in their last 30 days; the managers read a new one from the mounted Secret by themselves.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from pathlib import Path

from capi_llm import certificates
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SECRETS, Object, Ref
from capi_llm.sandbox import executables
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.steps import budgets, components
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.management_cluster import NAME as CLUSTER
from capi_llm.waiting import Status, pending, ready

AUTHORITY = Ref(SECRETS, "capi-llm-webhook-authority", "kube-system")
_CERTIFICATE, _KEY, _AUTHORITY = "tls.crt", "tls.key", "ca.crt"


class WebhookCertificates(Step):
    name = "webhook-certs"
    timeout = budgets.CERTIFICATES
    needs = ("executables", CLUSTER)

    def probe(self, ctx: Context) -> Status:
        bad = missing(ctx.api(), folder(ctx))
        return pending(f"missing or about to expire: {', '.join(bad)}") if bad else ready("valid")

    def apply(self, ctx: Context) -> None:
        ensure(ctx.api(), folder(ctx))


def folder(ctx: Context) -> Path:
    """The part ``capi-components``."""
    return ctx.once("capi-components", lambda: executables.one(ctx.settings, "capi-components"))


def authority(api: Api) -> str:
    """The authority's certificate, PEM; "" where there is none yet."""
    return _texts(api.find(AUTHORITY)).get(_CERTIFICATE, "")


def missing(api: Api, folder: Path, now: datetime.datetime | None = None) -> list[str]:
    """What is absent, not signed by the authority, of other names, or about to expire."""
    ca = _texts(api.find(AUTHORITY))
    certificate = ca.get(_CERTIFICATE, "")
    if not certificates.good(certificate, ca.get(_KEY, ""), certificate, now=now):
        return ["authority"]
    return [manager for manager in MANAGERS if not _good(api, folder, manager, certificate, now)]


def serves(api: Api, ref: Ref, hosts: tuple[str, ...], now: datetime.datetime | None = None) -> bool:
    """Whether the Secret ``ref`` has a good certificate for ``hosts``, signed by the authority."""
    found = _texts(api.find(ref))
    certificate = authority(api)
    return bool(certificate) and certificates.good(
        found.get(_CERTIFICATE, ""), found.get(_KEY, ""), certificate, hosts, now=now
    )


def serving(api: Api, ref: Ref, hosts: tuple[str, ...]) -> Object:
    """That Secret, to be applied. An authority is made where there is none."""
    ca = _texts(api.find(AUTHORITY))
    if not certificates.good(ca.get(_CERTIFICATE, ""), ca.get(_KEY, ""), ca.get(_CERTIFICATE, "")):
        certificate, key = certificates.authority("capi-llm-webhooks")
        apply(api, [_secret(AUTHORITY, certificate, key, certificate)])
        ca = _texts(api.find(AUTHORITY))
    certificate, key = certificates.serving(hosts, ca[_CERTIFICATE], ca[_KEY])
    return _secret(ref, certificate, key, ca[_CERTIFICATE])


def ensure(api: Api, folder: Path) -> list[str]:
    """Make what :func:`missing` names, and return it. What is good is kept."""
    bad = missing(api, folder)
    if "authority" in bad:
        certificate, key = certificates.authority("capi-llm-webhooks")
        apply(api, [_secret(AUTHORITY, certificate, key, certificate)])
    ca = _texts(api.find(AUTHORITY))
    # Looked at again: what a new authority did not sign is to be made too.
    for manager in missing(api, folder):
        namespace, name, hosts = components.serving_hosts(folder, manager)
        certificate, key = certificates.serving(hosts, ca[_CERTIFICATE], ca[_KEY])
        secret = _secret(Ref(SECRETS, name, namespace), certificate, key, ca[_CERTIFICATE])
        apply(api, [components.namespace(folder, manager), secret])
    return bad


def _good(api: Api, folder: Path, manager: str, ca: str, now: datetime.datetime | None) -> bool:
    namespace, name, hosts = components.serving_hosts(folder, manager)
    found = _texts(api.find(Ref(SECRETS, name, namespace)))
    return certificates.good(found.get(_CERTIFICATE, ""), found.get(_KEY, ""), ca, hosts, now=now)


def _secret(ref: Ref, certificate: str, key: str, ca: str) -> Object:
    texts = {_CERTIFICATE: certificate, _KEY: key, _AUTHORITY: ca}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()},
    }


def _texts(secret: Object | None) -> dict[str, str]:
    found = {}
    for name, value in ((secret or {}).get("data") or {}).items():
        try:
            found[name] = base64.b64decode(value).decode()
        except (binascii.Error, ValueError):
            continue
    return found
