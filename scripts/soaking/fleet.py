"""A real Fleet delivers our bundles to two KWOK clusters, and each of its failure states is provoked.

Each round makes one state come about, waits until Fleet says it, and keeps what capi-llm says of
it: message, cause and what to do. Nodes and pods are simulated; the API servers, Fleet's
controllers, its agents and helm in them are real.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from capi_llm.apps.engine import AppStatus, Release
from capi_llm.apps.fleet.engine import FleetEngine
from capi_llm.apps.fleet.kinds import BUNDLE_DEPLOYMENTS, BUNDLES, HELM_OPS
from capi_llm.apps.fleet.targets import Targets
from capi_llm.apps.fleetfile import read
from capi_llm.contract.fleet_troubles import BundleState
from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref
from capi_llm.waiting import Status, Waiter, pending, ready, until
from soaking.life import Life
from soaking.real_fleet import CRDS, EXECUTABLES, RealFleet

CLUSTERS = ("w1", "w2")
LABEL = ("env", "llm")
NAMESPACE = "default"
"""Of the clusters, and so of the bundles."""

APPS = "soak"
"""The namespace in the workload clusters, of what is made for the rounds."""

CONFIGMAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: '{{ .Values.a }}'}\n"


@dataclass
class Stage:
    """The plane, its workload clusters and the real Fleet; ``rounds`` are the results so far."""

    life: Life
    api: Api
    workloads: dict[str, Api]
    kubeconfigs: dict[str, Path]
    fleet: RealFleet
    tell: Callable[[str], None]
    record: Path | None
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def engine(self, name: str = "all", **targets: Any) -> FleetEngine:
        """The engine for both clusters, by their label, or for ``targets``."""
        chosen = targets or {"labels": dict([LABEL])}
        return FleetEngine(self.api, Targets(name, NAMESPACE, **chosen), workloads=self.workloads)

    def release(
        self, name: str, *, fleet: str = "", files: dict[str, str] | None = None, **values: Any
    ) -> Release:
        """A release of a small chart, written for the round; of a ConfigMap where no files are given."""
        folder = self.life.folder / "bundles" / name
        wanted = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n"}
        for path, text in (wanted | (files or {"templates/a.yaml": CONFIGMAP % name})).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "fleet.yaml").write_text(f"name: {name}\ndefaultNamespace: {APPS}\n{fleet}")
        bundle = read(folder)
        return Release(bundle, bundle.release, bundle.namespace, {"a": "1"} | values)

    def until(self, what: str, probe: Callable[[], Status], timeout: float = 150) -> float:
        """Wait; the seconds that it took."""
        since = time.monotonic()
        until(probe, what=what, timeout=timeout, waiter=Waiter(interval=0.3))
        return round(time.monotonic() - since, 1)

    def shows(
        self, engine: FleetEngine, app: str, state: BundleState | str, words: str = ""
    ) -> tuple[AppStatus, float]:
        """Wait until ``app`` is in ``state``, with ``words`` in what is said of it."""
        seen: list[AppStatus] = []

        def probe() -> Status:
            seen[:] = engine.status([app])
            status = seen[0].status
            text = f"{status.message}; {status.cause}"
            good = status.ready if state == BundleState.READY else status.message.startswith(state)
            return ready() if good and words in text else pending(text)

        seconds = self.until(f"{app} to be {state}", probe)
        return seen[0], seconds

    def note(self, title: str, provoked: str, status: Status, seconds: float, **more: Any) -> None:
        """Keep a result, and tell it."""
        entry = {
            "state": title, "provoked by": provoked, "seconds": seconds, "message": status.message,
            "cause": status.cause, "fix": status.fix, "waiting helps": not status.failed, "wrong": [],
        }  # fmt: skip
        self.rounds.append(entry | more)
        self.tell(f"{title}, {seconds} s: {provoked}\n    {status.message}")
        self.tell(
            f"    cause: {status.cause}\n    fix: {status.fix}" if status.cause else f"    {more or ''}"
        )

    def provoke(
        self, title: str, release: Release, words: str, provoked: str, engine: FleetEngine | None = None
    ) -> None:
        """Deliver ``release`` and keep what is said when it is in the state that ``title`` begins with."""
        engine = engine or self.engine()
        engine.apply([release])
        found, seconds = self.shows(engine, release.app, title.split(",")[0], words)
        self.note(title, provoked, found.status, seconds)
        self.keep(release.app, f"all-{release.app}")

    def keep(self, state: str, name: str) -> None:
        """Write down what Fleet wrote, for tests."""
        if self.record is None:
            return
        self.record.mkdir(parents=True, exist_ok=True)
        for kind, resource in (("bundle", BUNDLES), ("helmop", HELM_OPS)):
            obj = self.api.find(Ref(resource, name, NAMESPACE))
            if obj is not None:
                _write(self.record / f"{kind}-{state}.yaml", obj)
        for bd in self.api.list(BUNDLE_DEPLOYMENTS, None, f"fleet.cattle.io/bundle-name={name}"):
            cluster = bd["metadata"]["labels"]["fleet.cattle.io/cluster"]
            _write(self.record / f"bundledeployment-{state}-{cluster}.yaml", bd)


def series(
    binaries: Path, record: Path | None, only: str, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One round for each state. ``binaries`` is the folder of Fleet's executables."""
    from soaking import fleet_states

    missing = [name for name in (*EXECUTABLES, CRDS) if not (binaries / name).is_file()]
    if missing:
        return [{"state": "none", "wrong": [f"{binaries} has no {', '.join(missing)}: see docs/fleet.md"]}]
    with _stage(binaries, record, say) as stage:
        for state in fleet_states.ALL:
            if only and state.__name__ not in (*fleet_states.ALWAYS, *only.split(",")):
                continue
            try:
                state(stage)
            except CapiLlmError as error:
                wrong = f"{state.__name__}: {error}"
                stage.rounds.append({"state": state.__name__, "wrong": [wrong, *stage.fleet.dead()]})
                say(f"WRONG: {wrong}")
        return stage.rounds


@contextlib.contextmanager
def _stage(binaries: Path, record: Path | None, say: Callable[[str], None]) -> Iterator[Stage]:
    life = Life.begin(0)
    with contextlib.ExitStack() as stack:
        stack.callback(life.clear)
        stack.callback(life.run, "destroy", "--yes")
        _must(life, "bootstrap", "--plane", "sandbox")
        for cluster in CLUSTERS:
            _must(life, "new-cluster", cluster, "--workers", "1", "--label", "=".join(LABEL))
            say(f"cluster {cluster} is ready")
        plane = life.root / "config/admin.kubeconfig"
        paths = {cluster: life.folder / f"kubeconfigs/kubeconfig-{cluster}.yaml" for cluster in CLUSTERS}
        api = stack.enter_context(Api.from_kubeconfig(plane))
        workloads = {
            cluster: stack.enter_context(Api.from_kubeconfig(path)) for cluster, path in paths.items()
        }
        logs = record or life.folder
        logs.mkdir(parents=True, exist_ok=True)
        fleet = RealFleet(binaries, logs, plane)
        stack.callback(fleet.stop)
        fleet.install(api)
        fleet.start()
        yield Stage(life, api, workloads, paths, fleet, say, record)


def _must(life: Life, *argv: str) -> None:
    ended = life.run(*argv)
    if ended.code:
        raise CapiLlmError(f"{' '.join(argv)} ended with {ended.code}", why=ended.last)


def _write(path: Path, obj: Object) -> None:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    path.write_text(yaml.safe_dump(obj | {"metadata": metadata}, sort_keys=True))
