"""Certificates of Cluster API's webhooks, made here instead of by cert-manager.

One authority for the plane, in a Secret of kube-system; a serving certificate of each manager in the
Secret that its Deployment mounts, with the names of its Certificate for cert-manager. Renewed by
``bootstrap`` in their last 30 days; the managers read a new one from the mounted Secret by themselves.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Mapping
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
    if not _good_authority(ca, now):
        return ["authority"]
    return [name for name in MANAGERS if not _good(api, *_of(folder, name), ca[_CERTIFICATE], now)]


def serves(api: Api, ref: Ref, hosts: tuple[str, ...], now: datetime.datetime | None = None) -> bool:
    """Whether the Secret ``ref`` has a good certificate for ``hosts``, signed by the authority."""
    ca = authority(api)
    return bool(ca) and _good(api, ref, hosts, ca, now)


def serving(api: Api, ref: Ref, hosts: tuple[str, ...]) -> Object:
    """That Secret, to be applied. An authority is made where there is none."""
    ca = _texts(api.find(AUTHORITY))
    if not _good_authority(ca):
        certificate, key = certificates.authority("capi-llm-webhooks")
        apply(api, [_secret(AUTHORITY, certificate, key, certificate)])
        ca = _texts(api.find(AUTHORITY))
    certificate, key = certificates.serving(hosts, ca[_CERTIFICATE], ca[_KEY])
    return _secret(ref, certificate, key, ca[_CERTIFICATE])


def ensure(api: Api, folder: Path) -> list[str]:
    """Make what :func:`missing` names, and return it. What is good is kept."""
    bad = missing(api, folder)
    # What a new authority did not sign is to be made too.
    for manager in MANAGERS if "authority" in bad else bad:
        secret = serving(api, *_of(folder, manager))
        apply(api, [components.namespace(folder, manager), secret])
    return bad


def _of(folder: Path, manager: str) -> tuple[Ref, tuple[str, ...]]:
    """The Secret of a manager's certificate, and its hosts."""
    namespace, name, hosts = components.serving_hosts(folder, manager)
    return Ref(SECRETS, name, namespace), hosts


def _good(api: Api, ref: Ref, hosts: tuple[str, ...], ca: str, now: datetime.datetime | None) -> bool:
    found = _texts(api.find(ref))
    return certificates.good(found.get(_CERTIFICATE, ""), found.get(_KEY, ""), ca, hosts, now=now)


def _good_authority(ca: Mapping[str, str], now: datetime.datetime | None = None) -> bool:
    certificate = ca.get(_CERTIFICATE, "")
    return certificates.good(certificate, ca.get(_KEY, ""), certificate, now=now)


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
