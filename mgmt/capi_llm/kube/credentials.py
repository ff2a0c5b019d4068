"""Who we are to an API server, by the rules of kubeconfig files.

The ``kubernetes`` package reads the file and runs its exec plugins and token refreshes;
nothing else of that package is used. It takes 0.3 s to import, so that only happens
when a kubeconfig is opened.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml

from capi_llm.errors import BadInput, NotFound

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 5.0
"""After a 401 the kubeconfig is read again, but not more often than this."""


class Credentials:
    """A kubeconfig's context: the server, how to trust it, and how to log in.

    Raises :class:`NotFound` where the file is missing and :class:`BadInput` where it, or
    the context, can not be used.
    """

    def __init__(self, path: Path, context: str | None = None) -> None:
        self.path = path
        self.context = context
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._configuration = _load(path, context)
        self.server: str = self._configuration.host.rstrip("/")

    def headers(self) -> dict[str, str]:
        """Headers that log in; a token that has expired is refreshed first."""
        with self._lock, _complaints() as complaints:
            entries = list(self._configuration.auth_settings().values())
        if complaints:
            _log.warning("a login could not be refreshed: %s", complaints[0])
        return {item["key"]: item["value"] for item in entries if item["in"] == "header" and item["value"]}

    def reload(self) -> bool:
        """Read the file again (rotated token files and certificates); False if just done."""
        with self._lock:
            if time.monotonic() - self._read_at < RELOAD_SECONDS:
                return False
            self._configuration = _load(self.path, self.context)
            self._read_at = time.monotonic()
            return True

    def pool(self, size: int) -> urllib3.PoolManager:
        """A connection pool that trusts the server and shows our client certificate."""
        with self._lock:
            conf = self._configuration
        arguments: dict[str, Any] = {
            "maxsize": size,
            "cert_reqs": "CERT_REQUIRED" if conf.verify_ssl else "CERT_NONE",
            "ca_certs": conf.ssl_ca_cert,
            "cert_file": conf.cert_file,
            "key_file": conf.key_file,
        }
        if conf.tls_server_name:
            arguments["server_hostname"] = conf.tls_server_name
        if conf.proxy and not _loopback(self.server) and not _bypass(conf):
            return urllib3.ProxyManager(conf.proxy, **arguments)
        return urllib3.PoolManager(**arguments)


def _load(path: Path, context: str | None) -> Any:
    from kubernetes.client.configuration import Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import load_kube_config

    if not path.is_file():
        raise NotFound("there is no kubeconfig", on=str(path))
    configuration = Configuration()
    try:
        with _complaints() as complaints:
            load_kube_config(  # type: ignore[no-untyped-call]
                str(path), context=context, client_configuration=configuration
            )
        if complaints:
            raise ConfigException(complaints[0])
    except (ConfigException, yaml.YAMLError, ValueError, TypeError, AttributeError, OSError) as error:
        # The YAML parser's own text quotes lines of the file, keys among them.
        why = "it is not YAML" if isinstance(error, yaml.YAMLError) else str(error).splitlines()[0]
        where = f"{path}, context {context}" if context else str(path)
        raise BadInput("the kubeconfig can not be used", on=where, why=why) from None
    return configuration


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


def _loopback(server: str) -> bool:
    """Proxies from the environment are never meant for this machine itself."""
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bypass(configuration: Any) -> bool:
    from kubernetes.client.rest import should_bypass_proxies

    return bool(should_bypass_proxies(configuration.host, no_proxy=configuration.no_proxy or ""))
