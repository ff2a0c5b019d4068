"""X.509 certificates made here: authorities, and the serving and client certificates that they sign."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
DAYS = 365
RENEW_DAYS = 30
"""``bootstrap`` renews what is valid for less than this."""

_BACKDATE = datetime.timedelta(hours=24)
"""Certificates begin a day ago, so that a clock set back does not make them invalid."""


def authority(common_name: str) -> tuple[str, str]:
    """A new certificate authority: its certificate and its key, PEM."""
    key = new_key()
    subject = name(common_name, ())
    certificate = (
        builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return pem_of(certificate), pem(key)


def serving(hosts: tuple[str, ...], authority_pem: str, authority_key: str) -> tuple[str, str]:
    """A certificate, and its key, for a server that is called by any of ``hosts``; PEM."""
    extensions = [
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        alternative_names(hosts, ()),
    ]
    key = new_key()
    issuer = x509.load_pem_x509_certificate(authority_pem.encode())
    made = signed(name(hosts[0][:64], ()), extensions, key, issuer, load_key(authority_key.encode()))
    return pem_of(made), pem(key)


def good(
    certificate: str, key: str, authority_pem: str, hosts: tuple[str, ...] = (), *,
    now: datetime.datetime | None = None,
) -> bool:  # fmt: skip
    """Whether ``certificate`` has its key, authority, all of ``hosts``, and is not to be renewed yet."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        issuer = x509.load_pem_x509_certificate(authority_pem.encode())
        if not valid(found, issuer, load_key(key.encode()), now):
            return False
        if not hosts:
            return True
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(hosts) <= set(names.get_values_for_type(x509.DNSName))
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False


def valid(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime | None = None,
) -> bool:
    """Whether ``issuer`` signed it, ``key`` is its own, and it is not to be renewed yet."""
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    left = certificate.not_valid_after_utc - now
    return (
        key.public_key() == certificate.public_key()
        and certificate.not_valid_before_utc <= now
        and left > datetime.timedelta(days=RENEW_DAYS)
    )


def signed(
    subject: x509.Name,
    extensions: Iterable[x509.ExtensionType],
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate of ``key`` with ``extensions``, signed by an authority."""
    made = (
        builder(subject, issuer.subject, key.public_key(), DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(authority=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(signer, hashes.SHA256())


def builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def name(common_name: str, groups: Iterable[str]) -> x509.Name:
    """Kubernetes reads the user from the common name and groups from organisations."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def alternative_names(hosts: Iterable[str], addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return x509.SubjectAlternativeName(names)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    # Not PKCS 8: kube-apiserver reads a service account key only in the older form.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def load_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError where it is no elliptic curve key."""
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an elliptic curve key")
    return key
