"""A real etcd and kube-apiserver on loopback, which a test can kill and start again."""

from __future__ import annotations

import base64
import contextlib
import datetime
import gc
import http.client
import ipaddress
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from capi_llm import waiting
from capi_llm.kube import kubeconfig
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object

NOBODY_TOKEN = "token-of-nobody"
"""Logs in as a user without any permission."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _hold() -> socket.socket:
    """A port that nobody else gets; who is told its number listens on it all the same."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Pki:
    """One CA and what it signs, as PEM text and files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.ca = self._sign(self._ca_name, self._ca_key, ca=True)
        (folder / "ca.crt").write_text(self.ca)

    def issue(self, name: str, *, group: str = "", server: bool = False) -> tuple[str, str]:
        """Certificate and key, also written to ``name``.crt and ``name``.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        cert = self._sign(x509.Name(parts), key, server=server)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()
        (self.folder / f"{name}.crt").write_text(cert)
        (self.folder / f"{name}.key").write_text(pem)
        return cert, pem

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool = False, server: bool = False
    ) -> str:
        now = datetime.datetime.now(datetime.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class ControlPlane:
    """etcd and kube-apiserver on free loopback ports; the API server can be killed and started again."""

    def __init__(self, executables: Mapping[str, Path], folder: Path) -> None:
        self._executables = executables
        self._folder = folder
        self._held = [_hold() for _ in range(3)]
        self._etcd_port, self._etcd_peer_port, self.port = (held.getsockname()[1] for held in self._held)
        self.etcd = f"http://127.0.0.1:{self._etcd_port}"
        self.server = f"https://127.0.0.1:{self.port}"
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self.pki = Pki(folder)
        self.pki.issue("server", server=True)
        self.pki.issue("service-accounts")
        cert, key = self.pki.issue("admin", group="system:masters")
        self.kubeconfig = folder / "admin.yaml"
        self._write(self.kubeconfig, client_cert=cert, client_key=key)
        self.nobody_kubeconfig = folder / "nobody.yaml"
        self._write(self.nobody_kubeconfig, token=NOBODY_TOKEN)
        (folder / "tokens.csv").write_text(f"{NOBODY_TOKEN},nobody,nobody-id\n")
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["ResponseStarted", "ResponseComplete"],
            "rules": [{"level": "Metadata"}],
        }
        (folder / "audit-policy.yaml").write_text(json.dumps(policy))

    def _write(self, path: Path, **login: str) -> None:
        config = kubeconfig.build(self.server, name="test", ca=self.pki.ca, **login)
        kubeconfig.write(path, kubeconfig.render(config))

    def start(self) -> None:
        """Start what is not running and wait until the API server is ready."""
        if self._etcd is None:
            self._etcd = self._spawn(
                "etcd",
                "--name=test",
                f"--data-dir={self._folder / 'etcd'}",
                f"--listen-client-urls={self.etcd}",
                f"--advertise-client-urls={self.etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{self._etcd_peer_port}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{self._etcd_peer_port}",
                f"--initial-cluster=test=http://127.0.0.1:{self._etcd_peer_port}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            )
        if self._apiserver is None:
            self.start_apiserver()
        with Api.from_kubeconfig(self.kubeconfig) as api:
            waiting.until(api.ready, what="the API server", timeout=180, waiter=waiting.Waiter(interval=0.2))
        gc.collect()  # see pytest_collection_modifyitems in conftest.py

    def start_apiserver(self) -> None:
        """Start the API server without waiting for it."""
        assert self._apiserver is None
        file = self._folder.joinpath
        self._apiserver = self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self.etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={file('server.crt')}",
            f"--tls-private-key-file={file('server.key')}",
            f"--client-ca-file={file('ca.crt')}",
            f"--token-auth-file={file('tokens.csv')}",
            f"--service-account-key-file={file('service-accounts.key')}",
            f"--service-account-signing-key-file={file('service-accounts.key')}",
            "--service-account-issuer=https://test",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={file('audit-policy.yaml')}",
            f"--audit-log-path={file('audit.log')}",
            "--shutdown-delay-duration=0s",
        )

    def kill_apiserver(self) -> None:
        """SIGKILL, as after running out of memory."""
        assert self._apiserver is not None
        self._apiserver.kill()
        self._apiserver.wait()
        self._apiserver = None

    def pause_apiserver(self) -> contextlib.AbstractContextManager[None]:
        """SIGSTOP while the block runs: connections stay open and nothing answers."""

        @contextlib.contextmanager
        def paused() -> Iterator[None]:
            assert self._apiserver is not None
            self._apiserver.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                self._apiserver.send_signal(signal.SIGCONT)

        return paused()

    def compact(self, revision: int) -> None:
        """Forget everything in etcd before ``revision``, so that older resourceVersions are gone."""
        self._ask_etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})

    def rewrite(self, key: str, change: Callable[[Object], None]) -> None:
        """Have ``change`` edit what etcd has under ``key``, as JSON, behind the API server's back."""
        encoded = base64.b64encode(key.encode()).decode()
        (found,) = self._ask_etcd("/v3/kv/range", {"key": encoded})["kvs"]
        obj = json.loads(base64.b64decode(found["value"]))
        change(obj)
        value = base64.b64encode(json.dumps(obj).encode()).decode()
        self._ask_etcd("/v3/kv/put", {"key": encoded, "value": value})

    def _ask_etcd(self, path: str, body: Object) -> Object:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status == 200, text
        found: Object = json.loads(text)
        return found

    def audit(self) -> list[Object]:
        """Every request of capi-llm so far, as audit events. One is logged before it is worked on."""
        lines = (self._folder / "audit.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if event.get("userAgent", "").startswith("capi-llm/")]

    def writes(self) -> list[str]:
        """Mutating requests of capi-llm without dry run, leases excluded, in order."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self.audit()
            if event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
            and "dryRun=" not in event["requestURI"]
            and event.get("objectRef", {}).get("resource") != "leases"
        ]

    def stop(self) -> None:
        for process in (self._apiserver, self._etcd):
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._apiserver = self._etcd = None
        for held in self._held:
            held.close()

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(self._executables[name]), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
