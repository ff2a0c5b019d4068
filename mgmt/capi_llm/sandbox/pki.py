"""The sandbox's certificate authorities and certificates.

Two authorities: one for the Kubernetes API, one for etcd, so that no Kubernetes
certificate opens etcd. Each Cluster API manager gets a client certificate of its own,
bound to the roles of its own RBAC manifests (``components``), so that it runs with the
permissions that it would have in a cluster, not as an administrator.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from capi_llm.certificates import (
    alternative_names,
    load_key,
    new_key,
    pem,
    pem_of,
    signed,
    valid,
)
from capi_llm.certificates import authority as new_authority
from capi_llm.certificates import name as subject
from capi_llm.files import write_private
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import MANAGERS, PROVIDER, SERVICE_RANGE

CA = "ca"
ETCD_CA = "etcd-ca"
SERVICE_ACCOUNT_KEY = "service-account"


@dataclass(frozen=True)
class Certificate:
    """One certificate to be made. ``server`` and ``client`` say what it may be used for."""

    name: str
    common_name: str
    groups: tuple[str, ...] = ()
    authority: str = CA
    server: bool = False
    client: bool = True
    addresses: tuple[str, ...] = ("127.0.0.1",)
    hosts: tuple[str, ...] = ("localhost",)


def manager_user(manager: str) -> str:
    """User name of a manager of the sandbox. A ServiceAccount's is longer than a certificate may hold."""
    return f"capi-llm:{manager}"


def control_plane(services: str) -> tuple[Certificate, ...]:
    """The certificates of a control plane whose Services have addresses of ``services``."""
    kubernetes = [str(ipaddress.ip_network(cidr)[1]) for cidr in services.split(",")]
    return (
        Certificate("etcd-server", "etcd", authority=ETCD_CA, server=True),
        Certificate("etcd-client", "kube-apiserver-etcd-client", authority=ETCD_CA),
        Certificate(
            "kube-apiserver",
            "kube-apiserver",
            server=True,
            client=False,
            addresses=("127.0.0.1", *kubernetes),
            hosts=("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
        ),
        Certificate("kubelet-client", "kube-apiserver-kubelet-client", groups=("system:masters",)),
        Certificate("admin", "capi-llm-admin", groups=("system:masters",)),
        Certificate("kube-controller-manager", "system:kube-controller-manager"),
        Certificate("kube-scheduler", "system:kube-scheduler"),
        Certificate("kwok", "system:kwok-controller", groups=("system:masters",)),
        Certificate("serving", "capi-llm-sandbox", server=True, client=False),
    )


CERTIFICATES: tuple[Certificate, ...] = (
    *control_plane(SERVICE_RANGE),
    *(Certificate(name, manager_user(name)) for name in (*MANAGERS, PROVIDER)),
)
"""Every certificate of a sandbox. ``serving`` is shared by all webhook servers."""


def missing(
    layout: Layout,
    now: datetime.datetime | None = None,
    *,
    certificates: Iterable[Certificate] | None = None,
) -> list[str]:
    """Names of the authorities, keys and certificates that are to be made.

    They are absent, unreadable, about to expire, or not (any more) what ``certificates`` says,
    which are :data:`CERTIFICATES` where nothing else is given.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    bad = [name for name in (CA, ETCD_CA) if _good(layout, name, name, now) is None]
    for wanted in CERTIFICATES if certificates is None else certificates:
        certificate = _good(layout, wanted.name, wanted.authority, now)
        if certificate is None or not _says(certificate, wanted):
            bad.append(wanted.name)
    try:
        load_key(layout.key(SERVICE_ACCOUNT_KEY).read_bytes())
    except (OSError, ValueError, TypeError):
        bad.append(SERVICE_ACCOUNT_KEY)
    return bad


def expired(layout: Layout, now: datetime.datetime | None = None) -> list[str]:
    """Names of the authorities and certificates whose time is over, or has not begun."""
    now = now or datetime.datetime.now(datetime.UTC)
    over = []
    for name in (CA, ETCD_CA, *(item.name for item in CERTIFICATES)):
        with contextlib.suppress(OSError, ValueError):
            certificate = x509.load_pem_x509_certificate(layout.certificate(name).read_bytes())
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                over.append(name)
    return over


def fingerprint(layout: Layout) -> str:
    """A digest of all certificates. Parts read theirs at their start, so that another means a restart."""
    digest = hashlib.sha256()
    for name in (CA, ETCD_CA, *(item.name for item in CERTIFICATES)):
        with contextlib.suppress(OSError):
            digest.update(layout.certificate(name).read_bytes())
    return digest.hexdigest()[:16]


def ensure(layout: Layout, certificates: Sequence[Certificate] | None = None) -> list[str]:
    """Make what :func:`missing` names and return those names. Authorities that are good are kept."""
    certificates = CERTIFICATES if certificates is None else certificates
    authorities = [name for name in missing(layout, certificates=certificates) if name in (CA, ETCD_CA)]
    for name in authorities:
        _write_authority(layout, name)
    # Looked at again: what a new authority did not sign is to be made too.
    bad = missing(layout, certificates=certificates)
    for certificate in certificates:
        if certificate.name in bad:
            _write_certificate(layout, certificate)
    if SERVICE_ACCOUNT_KEY in bad:
        write_private(layout.key(SERVICE_ACCOUNT_KEY), pem(new_key()))
    return authorities + bad


def validity(layout: Layout) -> dict[str, tuple[datetime.datetime, datetime.datetime]]:
    """Name → from when and until when, of every certificate that can be read. Times are UTC."""
    found = {}
    for name in (CA, ETCD_CA, *(wanted.name for wanted in CERTIFICATES)):
        with contextlib.suppress(OSError, ValueError):
            certificate = x509.load_pem_x509_certificate(layout.certificate(name).read_bytes())
            found[name] = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return found


def authority_pem(layout: Layout) -> str:
    """The Kubernetes authority's certificate, PEM."""
    return layout.certificate(CA).read_text()


def _good(layout: Layout, name: str, authority: str, now: datetime.datetime) -> x509.Certificate | None:
    """The certificate, if it has its key, its authority's signature and time enough left."""
    try:
        certificate = x509.load_pem_x509_certificate(layout.certificate(name).read_bytes())
        issuer = x509.load_pem_x509_certificate(layout.certificate(authority).read_bytes())
        key = load_key(layout.key(name).read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return certificate if valid(certificate, issuer, key, now) else None


def _says(certificate: x509.Certificate, wanted: Certificate) -> bool:
    there = [extension.value for extension in certificate.extensions]
    return certificate.subject == subject(wanted.common_name, wanted.groups) and all(
        extension in there for extension in _extensions(wanted)
    )


def _write_authority(layout: Layout, name: str) -> None:
    certificate, key = new_authority(f"capi-llm-sandbox-{name}")
    _store(layout, name, key, certificate)


def _write_certificate(layout: Layout, wanted: Certificate) -> None:
    issuer = x509.load_pem_x509_certificate(layout.certificate(wanted.authority).read_bytes())
    signer = load_key(layout.key(wanted.authority).read_bytes())
    key = new_key()
    made = signed(subject(wanted.common_name, wanted.groups), _extensions(wanted), key, issuer, signer)
    _store(layout, wanted.name, pem(key), pem_of(made))


def _extensions(wanted: Certificate) -> list[x509.ExtensionType]:
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * wanted.server + [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ] * wanted.client
    names = [alternative_names(wanted.hosts, wanted.addresses)] if wanted.server else []
    return [x509.ExtendedKeyUsage(purposes), *names]


def _store(layout: Layout, name: str, key: str, certificate: str) -> None:
    # The key first: a certificate without its key is seen as missing, so a kill in between heals.
    write_private(layout.key(name), key)
    write_private(layout.certificate(name), certificate)
