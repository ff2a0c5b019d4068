"""The apps of one cluster: which there are, as they are to be, and the engine that delivers them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from capi_llm.apps import delivery, secrets, selection, volumes
from capi_llm.apps.direct import Before, Direct
from capi_llm.apps.engine import Difference, Engine, Engines, Release
from capi_llm.apps.fleet import engine as fleet
from capi_llm.apps.fleet.registration import require_fleet
from capi_llm.apps.helm import Helm
from capi_llm.apps.places import ByPlace
from capi_llm.apps.selection import Selection
from capi_llm.clusters import workload
from capi_llm.contract import rollout
from capi_llm.errors import Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref
from capi_llm.models.apps import GATEWAY, require_keys
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.waiting import Cancel, Waiter

SIMULATED = "its API server is simulated, and knows Deployments and little else"
"""Why a cluster of the in-memory class has no apps."""

_NEEDED = "apiextensions.k8s.io"
"""API group that every real API server has."""


class CanNotHaveApps(Refused):
    """The cluster's API server is a stand-in that apps can not be put on."""


@dataclass(frozen=True)
class Stack(Selection):
    """What is known of the apps of a cluster that is there."""

    management: Api
    workload: Api
    cluster: Object
    engine: Engine
    by_place: ByPlace
    """Both engines, whichever is used."""

    helm: Helm
    providers: frozenset[str]
    """Variables of providers whose key is there."""

    def differences(self, releases: Sequence[Release], *, force: bool = False) -> list[Difference]:
        """What bringing ``releases`` would change, by the server's dry run. Writes nothing."""
        missing = [Difference("", ref, "create") for ref in secrets.missing(self.workload, releases)]
        return [*missing, *self.engine.diff(releases, force=force)]

    def prepare(self, releases: Sequence[Release]) -> list[Ref]:
        """Have the namespaces and Secrets of ``releases``; returns the Secrets that were written."""
        from capi_llm.apps import namespaces

        if any(release.app == GATEWAY for release in releases):
            require_keys(self.models.models, self.providers)
        own = [release for release in releases if release.bundle.place == "workload"]
        namespaces.ensure(self.workload, namespaces.objects(own, ()))
        written = secrets.ensure(self.workload, own, self.settings.provider_keys)
        delivery.record(self.management, self.cluster, self.engine.name)
        return written

    def forget(self) -> None:
        """Nothing is delivered any more: any engine may come next."""
        delivery.record(self.management, self.cluster, None)


@contextlib.contextmanager
def opened(
    settings: Settings,
    kind: str,
    management: Api,
    name: str,
    namespace: str = "default",
    *,
    bundle_dir: Path | None = None,
    files: Sequence[Path] = (),
    sets: Sequence[str] = (),
    to: Engines | None = None,
    engine: str = "",
    cancel: Cancel | None = None,
) -> Iterator[Stack]:
    """The apps of cluster ``name`` of a plane of ``kind``, whose API server is ``management``.

    ``files`` and ``sets`` are helm's ``-f`` and ``--set``, by app; ``to`` is the engine to change to,
    whatever is recorded; ``engine`` that of the plane, where nobody says one.

    Raises NotFound without such a cluster, BadInput for values that can not be,
    Refused where apps can not be on the cluster and where another engine is recorded than the settings
    say, PrerequisiteMissing where Fleet is to deliver and is not there.
    """
    bundles = selection.bundles_of(settings, bundle_dir)
    cluster = delivery.find(management, name, namespace)
    target = delivery.target(cluster)
    helm = Helm(
        executables.one(settings, "helm", cancel=cancel),
        settings.cache,
        offline=settings.offline,
        cancel=cancel,
    )
    select = partial(
        selection.of, settings, kind, target, bundles, files=files, sets=sets, set_values=helm.set
    )
    fitting = [release.bundle for release in select(settings.provider_keys).releases]
    if kind == "sandbox" and rollout.in_memory(cluster):
        raise _no_apps(cluster)
    # What is wrong was refused before a cluster is asked.
    said_engine = delivery.said(settings.delivery)
    chosen = delivery.chosen(cluster, settings.delivery, engine) if to is None else to
    if to is not None and said_engine not in (None, to):
        raise Refused(f"apps.delivery says {said_engine}", fix=f"change it to {to} first, or take it out")
    if "fleet" in (chosen, delivery.recorded(cluster)):
        require_fleet(management)
    with workload.connected(management, name, namespace, cancel=cancel) as api:
        check_fit(api, cluster)
        found = secrets.of_cluster(api, fitting, settings.provider_keys)
        providers = secrets.provider_names(api, fitting, settings.provider_keys)
        own = select(providers, found=found)
        direct = Direct(api, management, target, helm, before=_beforehand(kind), cancel=cancel)
        waiter = Waiter(cancel=cancel or Cancel())
        by_fleet = ByPlace(
            fleet.for_cluster(management, cluster, workload=api, waiter=waiter),
            direct,
            before=partial(_beforehand(kind), api) if kind == "sandbox" else None,
        )
        yield Stack(
            settings,
            kind,
            target,
            bundles,
            own.releases,
            own.models,
            management,
            api,
            cluster,
            by_fleet if chosen == "fleet" else direct,
            by_fleet,
            helm,
            providers,
        )


def _beforehand(kind: str) -> Before:
    return volumes.simulate if kind == "sandbox" else lambda api, objects: None


def check_fit(api: Api, cluster: Object) -> None:
    """Raise :class:`CanNotHaveApps` where that is so."""
    groups = api.request("GET", "/apis", what="can not discover", on=api.server).get("groups") or []
    if not any(group.get("name") == _NEEDED for group in groups):
        raise _no_apps(cluster)


def _no_apps(cluster: Object) -> CanNotHaveApps:
    return CanNotHaveApps(
        f"cluster {cluster['metadata']['name']!r} can not have apps",
        why=SIMULATED,
        fix="make a cluster of a class with a real API server: capi-llm new-cluster NAME",
    )
