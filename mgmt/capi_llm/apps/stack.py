"""The apps of one cluster: which there are, as they are to be, and the engine that delivers them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from capi_llm import fields
from capi_llm.apps import catalogue, delivery, secrets, volumes
from capi_llm.apps import releases as making
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.direct import Before, Direct
from capi_llm.apps.engine import Engine, Engines, Release, Target
from capi_llm.apps.fleet import engine as fleet
from capi_llm.apps.fleet.registration import require_fleet
from capi_llm.apps.helm import Helm
from capi_llm.apps.places import ByPlace
from capi_llm.apps.releases import Said
from capi_llm.clusters import workload
from capi_llm.errors import Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref
from capi_llm.models.apps import GATEWAY, Plan, plan, require_keys
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from capi_llm.waiting import Cancel, Waiter

_NEEDED = "apiextensions.k8s.io"
"""API group that every real API server has."""


class CanNotHaveApps(Refused):
    """The cluster's API server is a stand-in that apps can not be put on."""


@dataclass(frozen=True)
class Stack:
    """What is known of one cluster's apps. ``releases`` are all that fit its plane, in their order."""

    settings: Settings
    kind: str
    management: Api
    workload: Api
    cluster: Object
    target: Target
    bundles: tuple[Bundle, ...]
    releases: tuple[Release, ...]
    engine: Engine
    by_place: ByPlace
    """Both engines, whichever is used."""

    helm: Helm
    models: Plan
    """What the models mean for the apps."""

    providers: frozenset[str]
    """Variables of providers whose key is there."""

    @property
    def cni(self) -> str:
        """The cluster's network: its label ``cni``."""
        return str(self.target.labels.get("cni") or "")

    def network(self) -> tuple[Release, ...]:
        """What is the cluster's network; nothing where no bundle is."""
        return tuple(release for release in self.releases if release.bundle.cni)

    def choose(self, names: Iterable[str], *, with_needs: bool = False) -> tuple[Release, ...]:
        """The releases of ``names``, of all that are wanted without any; ``with_needs``: and what they need.

        Raises BadInput for a name that there is not, Refused for one that does not fit the plane.
        """
        said = list(names)
        where = "APP" if said else "apps.wanted"
        here = {bundle.name for bundle in self.bundles if bundle.fits(self.kind, self.cni)}
        brings = [app for app in self.models.brings if app in here]
        own = said or self.settings.apps
        wanted = making.wanted(
            self.bundles,
            own if said or own is None else [*own, *brings],
            self.kind,
            where,
            self.cni,
            brings=brings,
            spares=self.models.spares,
        )
        chosen = {bundle.name for bundle in wanted}
        if not said and self.settings.apps is None:
            chosen -= making.idle(self.releases)
        for release in reversed(self.releases if with_needs else ()):
            if release.app in chosen:
                chosen |= making.needs(release, self.bundles)
        return tuple(release for release in self.releases if release.app in chosen)

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
    folder = bundle_dir or settings.bundle_dir
    bundles = catalogue.load_dir(folder) if folder else catalogue.shipped()
    for app in settings.app_values:
        if app not in {bundle.name for bundle in bundles}:
            raise fields.unknown(f"{settings.app_values_at}: app", app, [bundle.name for bundle in bundles])
    cluster = delivery.find(management, name, namespace)
    target = delivery.target(cluster)
    cni = str(target.labels.get("cni") or "")
    fitting = tuple(bundle for bundle in bundles if bundle.fits(kind, cni))
    helm = Helm(
        executables.one(settings, "helm", cancel=cancel),
        settings.cache,
        offline=settings.offline,
        cancel=cancel,
    )
    models = plan(settings, settings.provider_keys)
    said = Said(
        settings.app_values,
        models=models.values,
        models_at=settings.models_at,
        where=settings.app_values_at,
        files=tuple(files),
        sets=tuple(sets),
    )
    making.of(fitting, kind, target, said, helm.set)  # refuses what is wrong before a cluster is asked
    said_engine = delivery.said(settings.delivery)
    usual = delivery.said(engine) if delivery.recorded(cluster) is None else None
    chosen = delivery.choose(cluster, said_engine or usual) if to is None else to
    if to is not None and said_engine not in (None, to):
        raise Refused(f"apps.delivery says {said_engine}", fix=f"change it to {to} first, or take it out")
    if "fleet" in (chosen, delivery.recorded(cluster)):
        require_fleet(management)
    with workload.connected(management, name, namespace, cancel=cancel) as api:
        check_fit(api, cluster)
        found = secrets.of_cluster(api, fitting, settings.provider_keys)
        providers = secrets.provider_names(api, fitting, settings.provider_keys)
        models = plan(settings, providers)
        said = replace(said, found=found, models=models.values)
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
            management,
            api,
            cluster,
            target,
            bundles,
            making.of(fitting, kind, target, said, helm.set),
            by_fleet if chosen == "fleet" else direct,
            by_fleet,
            helm,
            models,
            providers,
        )


def _beforehand(kind: str) -> Before:
    return volumes.simulate if kind == "sandbox" else lambda api, objects: None


def check_fit(api: Api, cluster: Object) -> None:
    """Raise :class:`CanNotHaveApps` where that is so."""
    groups = api.request("GET", "/apis", what="can not discover", on=api.server).get("groups") or []
    if not any(group.get("name") == _NEEDED for group in groups):
        raise CanNotHaveApps(
            f"cluster {cluster['metadata']['name']!r} can not have apps",
            why="its API server is simulated, and knows Deployments and little else",
            fix="make a cluster of a class with a real API server: capi-llm new-cluster NAME",
        )
