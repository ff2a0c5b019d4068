"""Who we are to an API server, by the rules of kubeconfig files.

The ``kubernetes`` package reads the file and runs its exec plugins and token refreshes;
nothing else of that package is used. Its import takes longer than most requests, so a
kubeconfig that needs none of this is read without it: :mod:`capi_llm.kube.plain`. Keys that
the file holds stay in memory: the package would put them into temporary files, which stay
for ever where the process is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

from capi_llm.errors import BadInput, NotFound
from capi_llm.kube import plain

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
"""After a 401 the kubeconfig is read again, but not more often than this."""


@dataclass(frozen=True)
class Login:
    """What a connection of one's own needs: see :meth:`Credentials.login`. ``proxy`` is a URL or ""."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext
    server_name: str
    proxy: str


class Credentials:
    """A kubeconfig's context: the server, how to trust it, and how to log in.

    ``agent`` is what we call ourselves there, as the server's audit log has it. Raises
    :class:`NotFound` where the file is missing and :class:`BadInput` where it, or the context,
    can not be used.
    """

    def __init__(self, path: Path, context: str | None = None, *, agent: str = "capi-llm") -> None:
        self.path = path
        self.agent = agent
        self.context = context
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._plain = plain.read(path, context)
        self._configuration: Any = None
        self._tls: ssl.SSLContext | None = None
        if self._plain is None:
            self._configuration, self._tls = _load(path, context)
        host: str = self._plain.server if self._plain else self._configuration.host
        self.server = host.rstrip("/")

    def headers(self) -> dict[str, str]:
        """Headers that log in; a token that has expired is refreshed first."""
        with self._lock:
            known = self._plain
        if known is not None:
            return {"authorization": f"Bearer {known.token}"} if known.token else {}
        with self._lock, _complaints() as complaints:
            entries = list(self._configuration.auth_settings().values())
        if complaints:
            _log.warning("a login could not be refreshed: %s", complaints[0])
        return {item["key"]: item["value"] for item in entries if item["in"] == "header" and item["value"]}

    def login(self) -> Login:
        """How to connect without :meth:`pool`. May run the kubeconfig's login program and take a while."""
        headers = self.headers()
        with self._lock:
            known, conf, tls = self._plain, self._configuration, self._tls
        if known is not None:
            return Login(self.server, headers, known.tls, "", "")
        assert tls is not None
        return Login(self.server, headers, tls, conf.tls_server_name or "", self._proxy(conf))

    def reload(self) -> bool:
        """Read the file again (rotated token files and certificates); False if just done."""
        with self._lock:
            if time.monotonic() - self._read_at < RELOAD_SECONDS:
                return False
            found = plain.read(self.path, self.context)
            # Only then: what can not be read must leave what we had.
            self._configuration, self._tls = (None, None) if found else _load(self.path, self.context)
            self._plain = found
            self._read_at = time.monotonic()
            return True

    def pool(self, size: int) -> urllib3.PoolManager:
        """A connection pool that trusts the server and shows our client certificate."""
        with self._lock:
            known, conf, tls = self._plain, self._configuration, self._tls
        if known is not None:
            return urllib3.PoolManager(maxsize=size, ssl_context=known.tls)
        arguments: dict[str, Any] = {"maxsize": size, "ssl_context": tls}
        if conf.tls_server_name:
            arguments["server_hostname"] = conf.tls_server_name
        if proxy := self._proxy(conf):
            return urllib3.ProxyManager(proxy, **arguments)
        return urllib3.PoolManager(**arguments)

    def _proxy(self, conf: Any) -> str:
        """The proxy between us and the server, "" where there is none."""
        return conf.proxy if conf.proxy and not plain.loopback(self.server) and not _bypass(conf) else ""


def _load(path: Path, context: str | None) -> tuple[Any, ssl.SSLContext]:
    from kubernetes.client.configuration import Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import load_kube_config

    if not path.is_file():
        raise NotFound("there is no kubeconfig", on=str(path))
    configuration = Configuration()
    try:
        with _nothing_on_disk(), _complaints() as complaints:
            load_kube_config(  # type: ignore[no-untyped-call]
                str(path), context=context, client_configuration=configuration
            )
            if complaints:
                raise ConfigException(complaints[0])
            return configuration, _tls(configuration)
    except (ConfigException, yaml.YAMLError, ValueError, TypeError, AttributeError, OSError) as error:
        # The YAML parser's own text quotes lines of the file, keys among them.
        why = "it is not YAML" if isinstance(error, yaml.YAMLError) else str(error).splitlines()[0]
        where = f"{path}, context {context}" if context else str(path)
        raise BadInput("the kubeconfig can not be used", on=where, why=why) from None


def _tls(conf: Any) -> ssl.SSLContext:
    """Whom to trust, and our certificate. Raises ValueError where one of them can not be used."""
    tls = urllib3.util.create_urllib3_context(
        cert_reqs=ssl.CERT_REQUIRED if conf.verify_ssl else ssl.CERT_NONE
    )
    if not conf.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    try:
        if conf.ssl_ca_cert:
            tls.load_verify_locations(conf.ssl_ca_cert)
        else:
            tls.load_default_certs()
    except ssl.SSLError as error:
        raise ValueError(f"its certificate-authority is no certificate: {error.reason}") from error
    try:
        if conf.cert_file:
            tls.load_cert_chain(conf.cert_file, conf.key_file)
    except ssl.SSLError as error:
        raise ValueError(f"its client certificate and key can not be used: {error.reason}") from error
    return tls


_LOADING = threading.Lock()


@contextlib.contextmanager
def _nothing_on_disk() -> Iterator[None]:
    """Have the library keep in memory what it would put into temporary files (Linux only)."""
    from kubernetes.config import kube_config

    handles: list[int] = []

    def keep(content: str | bytes, *_: object, **__: object) -> str:
        handles.append(os.memfd_create("kubeconfig"))
        with open(handles[-1], "wb", closefd=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return f"/proc/self/fd/{handles[-1]}"

    with _LOADING:
        name = "_create_temp_file_with_content"
        before = getattr(kube_config, name)
        if hasattr(os, "memfd_create"):
            setattr(kube_config, name, keep)
        try:
            yield
        finally:
            setattr(kube_config, name, before)
            for handle in handles:
                os.close(handle)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the library only logs: an exec plugin that fails would leave us to log in as nobody."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "root" and record.module == "kube_config":
                found.append(record.getMessage().splitlines()[0])

    collector = Collector(logging.ERROR)
    logging.getLogger().addHandler(collector)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(collector)


def _bypass(configuration: Any) -> bool:
    from kubernetes.client.rest import should_bypass_proxies

    return bool(should_bypass_proxies(configuration.host, no_proxy=configuration.no_proxy or ""))
