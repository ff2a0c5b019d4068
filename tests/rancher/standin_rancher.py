"""Plays what a real Rancher, its Turtles and ngrok do next, through the real API server.

Rancher's images are never run here. What follows an installation is simulated from what their sources
say (docs/rancher.md names them): Rancher makes its kinds and Settings, installs Fleet and Turtles once
``server-url`` is set, Turtles makes the core provider and works on every CAPIProvider, the ngrok
operator registers itself and makes a Domain of the Ingress.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from standin_charts import crd, deployment

from capi_llm.errors import ApiError, Conflict, NotFound
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import DEPLOYMENTS, Object, Ref
from capi_llm.steps.ngrok import DOMAINS, OPERATORS
from capi_llm.steps.rancher import SETTINGS
from capi_llm.steps.turtles import CAPI_PROVIDERS, CORE
from upstream import BESIDE

NOW = "2026-01-01T00:00:00Z"
DEFAULTS = {
    "server-url": "",
    "agent-tls-mode": "strict",
    "first-login": "true",
    "eula-agreed": "",
    "cacerts": "",
}
MANAGERS = {
    "cluster-api": "capi-controller-manager",
    "kubeadm-bootstrap": "capi-kubeadm-bootstrap-controller-manager",
    "kubeadm-control-plane": "capi-kubeadm-control-plane-controller-manager",
    "docker": "capd-controller-manager",
    "fleet": "caapf-controller-manager",
}


def upstream_kinds(*names: str) -> list[Object]:
    """Definitions of shared/crds; the test is skipped where they are not there."""
    found: list[Object] = []
    for name in names:
        path = BESIDE / "crds" / f"{name}.yaml"
        if not path.is_file():
            pytest.skip(f"{path} is not there; SHARED=FOLDER names another folder")
        found += _read(path)
    return found


@functools.cache
def _read(path: Path) -> list[Object]:
    with path.open() as file:
        return [obj for obj in yaml.load_all(file, yaml.CSafeLoader) if obj]


def objects(text: str) -> list[Object]:
    return [obj for obj in yaml.safe_load_all(text) if obj]


def rancher_kinds() -> list[Object]:
    group = "management.cattle.io"
    text = "".join(
        crd(group, plural, kind, version="v3", scope="Cluster")
        for plural, kind in (("settings", "Setting"), ("features", "Feature"), ("clusters", "Cluster"))
    )
    return objects(text)


class Rancher:
    """Looks every blink, and does what is to be done. ``acts`` are the parts that it plays."""

    def __init__(self, api: Api, *, turtles_version: str = "v1.10.6", ngrok_host: str = "") -> None:
        self.api = api
        self.version = turtles_version
        self.ngrok_host = ngrok_host
        self.acts: dict[str, Callable[[], None]] = {
            "kinds": self.kinds,
            "fleet": self.fleet,
            "turtles": self.turtles,
            "providers": self.providers,
            "ngrok": self.ngrok,
        }
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._done: set[str] = set()
        self._kinds = {name: upstream_kinds(name) for name in ("turtles", "fleet", "ngrok")}

    @contextlib.contextmanager
    def playing(self, *without: str) -> Iterator[Rancher]:
        """Plays all acts but those named, until the end of the block."""
        acts = [act for name, act in self.acts.items() if name not in without]
        self._stop.clear()
        thread = threading.Thread(target=self._play, args=(acts,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(30)
        assert not self.failures, self.failures

    def _play(self, acts: list[Callable[[], None]]) -> None:
        while not self._stop.wait(0.2):
            for act in acts:
                try:
                    act()
                except (NotFound, Conflict):
                    continue  # not there yet, or just changed
                except ApiError as error:
                    self.failures.append(str(error))
                    return

    def kinds(self) -> None:
        if self.api.find(Ref(DEPLOYMENTS, "rancher", "cattle-system")) is None:
            return
        self._once("kinds", lambda: self._apply(rancher_kinds()))
        self._once(
            "settings",
            lambda: self._apply([setting(name, "") | {"default": value} for name, value in DEFAULTS.items()]),
        )
        self._once("webhook", lambda: self._deploy("cattle-system", "rancher-webhook"))

    def fleet(self) -> None:
        if not self._url():
            return
        self._once("fleet kinds", lambda: self._apply(self._kinds["fleet"]))
        for name in ("fleet-controller", "gitjob", "helmops"):
            self._once(name, lambda name=name: self._deploy("cattle-fleet-system", name))  # type: ignore[misc]

    def turtles(self) -> None:
        if not self._url():
            return
        self._once("turtles kinds", lambda: self._apply(self._kinds["turtles"]))
        self._once(
            "turtles",
            lambda: self._deploy("cattle-turtles-system", "rancher-turtles-controller-manager"),
        )
        self._once(
            "core",
            lambda: self._apply(
                [
                    namespace("cattle-capi-system"),
                    {
                        "apiVersion": CAPI_PROVIDERS.api_version,
                        "kind": "CAPIProvider",
                        "metadata": {"name": CORE.name, "namespace": CORE.namespace},
                        "spec": {"name": "cluster-api", "type": "core"},
                    },
                ]
            ),
        )

    def providers(self) -> None:
        for obj in self.api.list(CAPI_PROVIDERS):
            name, where = obj["metadata"]["name"], obj["metadata"]["namespace"]
            self._once(f"manager {name}", lambda: self._deploy(where, MANAGERS[name]))  # noqa: B023
            version = obj["spec"].get("version") or self.version
            if (obj.get("status") or {}).get("installedVersion") != version:
                self.api.merge_patch(
                    CAPI_PROVIDERS.ref(obj), {"status": installed(obj, version)}, subresource="status"
                )

    def ngrok(self) -> None:
        if not self.ngrok_host:
            return
        if self.api.find(Ref(DEPLOYMENTS, "ngrok-operator-manager", "ngrok-operator")) is None:
            return
        self._once("ngrok kinds", lambda: self._apply(self._kinds["ngrok"]))
        self._once("ngrok objects", self._ngrok_objects)

    def _ngrok_objects(self) -> None:
        operator = {"metadata": {"name": "ngrok-operator", "namespace": "ngrok-operator"}, "spec": {}}
        domain = {
            "metadata": {"name": self.ngrok_host.replace(".", "-"), "namespace": "cattle-system"},
            "spec": {"domain": self.ngrok_host},
        }
        with contextlib.suppress(Conflict):
            self.api.create(OPERATORS, operator)
        with contextlib.suppress(Conflict):
            self.api.create(DOMAINS, domain)
        self.api.merge_patch(
            OPERATORS.ref(operator),
            {"status": {"registrationStatus": "registered", "conditions": [condition("Registered")]}},
            subresource="status",
        )
        self.api.merge_patch(
            DOMAINS.ref(domain), {"status": {"conditions": [condition("Ready")]}}, subresource="status"
        )

    def _url(self) -> str:
        return str((self.api.find(Ref(SETTINGS, "server-url")) or {}).get("value") or "")

    def _once(self, what: str, act: Callable[[], Any]) -> None:
        if what not in self._done:
            act()
            self._done.add(what)

    def _apply(self, wanted: list[Object]) -> None:
        apply(self.api, wanted, manager="rancher")

    def _deploy(self, where: str, name: str) -> None:
        self._apply([namespace(where), *objects(deployment(name, f"rancher/{name}:v1", namespace=where))])


def installed(obj: Object, version: str) -> Object:
    """The status of a CAPIProvider that is installed."""
    return {
        "phase": "Ready",
        "installedVersion": version,
        "observedGeneration": obj["metadata"].get("generation", 1),
        "conditions": [
            condition("PreflightCheckPassed"),
            condition("ProviderInstalled"),
            condition("Ready"),
        ],
    }


def condition(name: str, status: str = "True", reason: str = "", message: str = "") -> Object:
    return {
        "type": name,
        "status": status,
        "reason": reason or name,
        "message": message or name,
        "lastTransitionTime": NOW,
    }


def setting(name: str, value: str) -> Object:
    """One of Rancher's Settings."""
    return {
        "apiVersion": "management.cattle.io/v3",
        "kind": "Setting",
        "metadata": {"name": name},
        "value": value,
    }


def now() -> str:
    """This second, as Fleet's agents write it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def wait_for(look: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)
