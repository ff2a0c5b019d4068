"""The sandbox's certificates: who accepts whom, when they are renewed, and what a kill leaves behind."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import stat
import threading
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from capi_llm.sandbox import pki
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import MANAGERS

NAMES = [item.name for item in pki.CERTIFICATES]
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def made(here: Layout) -> Layout:
    pki.ensure(here)
    return here


def certificate(layout: Layout, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(layout.certificate(name).read_bytes())


def snapshot(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.pki.iterdir()}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name, content in after.items() if before.get(name) != content}


def pair(*names: str) -> set[str]:
    return {f"{name}.{kind}" for name in names for kind in ("crt", "key")}


# Making and renewing


def test_everything_is_made_once_and_then_left_alone(here: Layout) -> None:
    everything = ["ca", "etcd-ca", *NAMES, "service-account"]
    assert pki.missing(here) == everything
    assert pki.ensure(here) == everything
    before = snapshot(here)
    assert set(before) == pair("ca", "etcd-ca", *NAMES) | {"service-account.key"}
    assert pki.missing(here) == []
    assert pki.ensure(here) == []
    assert snapshot(here) == before


def test_nothing_may_be_read_by_others(made: Layout) -> None:
    assert stat.S_IMODE(made.pki.stat().st_mode) == 0o700
    for path in made.pki.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_renewal_is_30_days_before_the_year_ends(made: Layout) -> None:
    day = datetime.timedelta(days=1)
    assert pki.missing(made, now=NOW + 334 * day) == []
    assert pki.missing(made, now=NOW + 336 * day) == NAMES
    # The authorities outlive them by far.
    assert pki.missing(made, now=NOW + 3619 * day) == NAMES
    assert pki.missing(made, now=NOW + 3621 * day) == ["ca", "etcd-ca", *NAMES]


def test_a_clock_set_back_by_hours_does_not_make_them_invalid(made: Layout) -> None:
    for name in ("ca", "etcd-ca", *NAMES):
        assert certificate(made, name).not_valid_before_utc < NOW - datetime.timedelta(hours=23)


def test_what_is_over_or_has_not_begun_is_named(made: Layout) -> None:
    day = datetime.timedelta(days=1)
    assert pki.expired(made, now=NOW + 364 * day) == []
    assert pki.expired(made, now=NOW + 366 * day) == NAMES
    early = NOW - 2 * day
    assert pki.expired(made, now=early) == ["ca", "etcd-ca", *NAMES]
    assert pki.missing(made, now=early) == ["ca", "etcd-ca", *NAMES]


def test_a_fingerprint_changes_with_every_certificate(made: Layout) -> None:
    before = pki.fingerprint(made)
    assert before == pki.fingerprint(made)
    made.certificate("kwok").unlink()
    assert pki.fingerprint(made) != before
    pki.ensure(made)
    assert pki.fingerprint(made) != before


@pytest.mark.parametrize("kind", ["crt", "key"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "gone", "garbage"])
def test_a_damaged_file_is_made_again_and_nothing_else(made: Layout, kind: str, damage: str) -> None:
    before = snapshot(made)
    path = made.pki / f"admin.{kind}"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"\xff\x00" * 50}[damage]
        )
    assert pki.missing(made) == ["admin"]
    assert pki.ensure(made) == ["admin"]
    assert pki.missing(made) == []
    assert changed(before, snapshot(made)) == pair("admin")


def test_a_key_that_does_not_belong_to_its_certificate_is_made_again(made: Layout) -> None:
    """What a kill between the two writes of a renewal leaves."""
    made.key("admin").write_bytes(made.key("kwok").read_bytes())
    assert pki.ensure(made) == ["admin"]
    assert pki.missing(made) == []


def test_one_part_never_gets_the_certificate_of_another(made: Layout) -> None:
    for kind in ("crt", "key"):
        (made.pki / f"capi-core.{kind}").write_bytes((made.pki / f"admin.{kind}").read_bytes())
    assert pki.ensure(made) == ["capi-core"]
    assert common_name(certificate(made, "capi-core")) == "capi-llm:capi-core"


def test_a_certificate_that_a_newer_version_wants_otherwise_is_made_again(
    made: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(made)
    wanted = tuple(
        pki.Certificate(item.name, item.common_name, server=True, addresses=("127.0.0.1", "127.0.0.9"))
        if item.name == "serving"
        else item
        for item in pki.CERTIFICATES
    )
    monkeypatch.setattr(pki, "CERTIFICATES", wanted)
    assert pki.missing(made) == ["serving"]
    pki.ensure(made)
    assert pki.missing(made) == []
    assert changed(before, snapshot(made)) == pair("serving")


def test_a_lost_authority_is_made_again_with_all_that_it_signed(made: Layout) -> None:
    before = snapshot(made)
    made.key("etcd-ca").unlink()
    assert pki.missing(made) == ["etcd-ca"]
    assert pki.ensure(made) == ["etcd-ca", "etcd-server", "etcd-client"]
    assert pki.missing(made) == []
    assert changed(before, snapshot(made)) == pair("etcd-ca", "etcd-server", "etcd-client")


@pytest.mark.parametrize("content", [b"", b"-----BEGIN EC PRIVATE KEY-----\nMHcC", None])
def test_a_damaged_service_account_key_is_made_again(made: Layout, content: bytes | None) -> None:
    path = made.key("service-account")
    path.unlink() if content is None else path.write_bytes(content)
    before = snapshot(made)
    assert pki.ensure(made) == ["service-account"]
    assert changed(before, snapshot(made)) == {"service-account.key"}
    assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")


def test_authorities_of_two_sandboxes_have_nothing_in_common(made: Layout) -> None:
    other = Layout(made.root.parent / "other")
    pki.ensure(other)
    for name in ("ca", "etcd-ca"):
        assert made.certificate(name).read_bytes() != other.certificate(name).read_bytes()
    for kind in ("crt", "key"):
        (made.pki / f"admin.{kind}").write_bytes((other.pki / f"admin.{kind}").read_bytes())
    assert pki.missing(made) == ["admin"]


# What they say


def common_name(found: x509.Certificate) -> str:
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def groups(found: x509.Certificate) -> list[str]:
    return [str(item.value) for item in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def test_every_server_may_be_called_by_loopback_address_and_name(made: Layout) -> None:
    for name in ("etcd-server", "kube-apiserver", "serving"):
        names = certificate(made, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)
        assert "localhost" in names.get_values_for_type(x509.DNSName)
    names = (
        certificate(made, "kube-apiserver")
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert ipaddress.ip_address("10.96.0.1") in names.get_values_for_type(x509.IPAddress)
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_a_manager_is_a_user_of_its_own_and_no_administrator(made: Layout) -> None:
    users = {common_name(certificate(made, name)) for name in MANAGERS}
    assert users == {pki.manager_user(name) for name in MANAGERS}
    assert len(users) == 4
    for name in MANAGERS:
        assert groups(certificate(made, name)) == []
    assert groups(certificate(made, "admin")) == ["system:masters"]


# Real handshakes


class Server:
    """A TLS server that wants a client certificate; accepts one connection after another."""

    def __init__(self, layout: Layout, name: str, authority: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(layout.certificate(name), layout.key(name))
        self._context.load_verify_locations(layout.certificate(authority))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(b"welcome")
            except OSError:
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def call(layout: Layout, port: int, authority: str, client: str | None, host: str = "127.0.0.1") -> bytes:
    context = ssl.create_default_context(cafile=str(layout.certificate(authority)))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if client:
        context.load_cert_chain(layout.certificate(client), layout.key(client))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.recv(100)


@pytest.fixture
def etcd(made: Layout) -> Iterator[int]:
    server = Server(made, "etcd-server", "etcd-ca")
    yield server.port
    server.close()


@pytest.fixture
def apiserver(made: Layout) -> Iterator[int]:
    server = Server(made, "kube-apiserver", "ca")
    yield server.port
    server.close()


def test_etcd_welcomes_its_client_and_no_certificate_of_kubernetes(made: Layout, etcd: int) -> None:
    assert call(made, etcd, "etcd-ca", "etcd-client") == b"welcome"
    assert call(made, etcd, "etcd-ca", "etcd-server") == b"welcome"  # to itself, as a peer
    for client in ("admin", *MANAGERS, None):
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
            call(made, etcd, "etcd-ca", client)


def test_kubernetes_welcomes_its_clients_and_not_that_of_etcd(made: Layout, apiserver: int) -> None:
    for client in ("admin", "kube-scheduler", "capi-core"):
        assert call(made, apiserver, "ca", client, "kubernetes.default.svc") == b"welcome"
    for stranger in ("etcd-client", None):
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
            call(made, apiserver, "ca", stranger)


def test_a_certificate_for_serving_opens_nothing(made: Layout, apiserver: int) -> None:
    for server in ("serving", "kube-apiserver"):
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
            call(made, apiserver, "ca", server)


def test_a_client_trusts_no_other_authority_and_no_other_name(made: Layout, apiserver: int) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        call(made, apiserver, "etcd-ca", "etcd-client")
    with pytest.raises(ssl.SSLCertVerificationError):
        call(made, apiserver, "ca", "admin", "elsewhere.example")


def test_a_clients_certificate_does_not_make_a_server(made: Layout) -> None:
    server = Server(made, "admin", "ca")
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            call(made, server.port, "ca", "admin")
    finally:
        server.close()
