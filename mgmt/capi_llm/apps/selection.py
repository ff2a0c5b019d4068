"""Which apps a cluster is to have: of the bundles that fit it those that are wanted, with their values.

Nothing of the cluster is needed for that but its Cluster object, be it there or still to come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import fields
from capi_llm.apps import catalogue
from capi_llm.apps import releases as making
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import Release, Target
from capi_llm.apps.releases import Said, Set
from capi_llm.errors import Refused
from capi_llm.models.apps import Plan, plan
from capi_llm.settings import Settings


@dataclass(frozen=True)
class Selection:
    """The apps of one cluster. ``releases`` are all that fit it, in their order."""

    settings: Settings
    kind: str
    """Of its plane."""

    target: Target
    bundles: tuple[Bundle, ...]
    releases: tuple[Release, ...]
    models: Plan
    """What the models mean for the apps."""

    @property
    def cni(self) -> str:
        """The cluster's network: its label ``cni``."""
        return str(self.target.labels.get("cni") or "")

    def network(self) -> tuple[Release, ...]:
        """What is the cluster's network; nothing where no bundle is. Raises Refused as :meth:`choose`."""
        return self._supported([release for release in self.releases if release.bundle.cni])

    def choose(self, names: Iterable[str], *, with_needs: bool = False) -> tuple[Release, ...]:
        """The releases of ``names``, of all that are wanted without any; ``with_needs``: and what they need.

        Raises BadInput for a name that there is not, Refused for one that does not fit the plane, and
        where one of them has nothing for so old a Kubernetes.
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
        return self._supported([release for release in self.releases if release.app in chosen])

    def brought(self, names: Sequence[str] | None) -> tuple[Release, ...]:
        """What ``new-cluster`` brings: the network, and the apps of ``names``, with None those wanted.

        Raises as :meth:`choose`.
        """
        wanted = self.settings.apps if names is None else names
        apps = self.choose(names or (), with_needs=True) if making.any_of(wanted) else ()
        network = self.network()
        return tuple(release for release in self.releases if release in network or release in apps)

    def _supported(self, chosen: Sequence[Release]) -> tuple[Release, ...]:
        """``chosen``, where the cluster's Kubernetes is not too old for any of them."""
        minor, names = self.target.kubernetes, {release.app for release in chosen}
        for bundle in self.bundles:
            if bundle.name in names and bundle.too_new(minor):
                oldest = bundle.customizations[0].kubernetes
                raise Refused(
                    f"app {bundle.name!r} is not for Kubernetes {minor}",
                    on=f"cluster {self.target}",
                    why=f"{bundle.document.at('targetCustomizations')} begins with {oldest}",
                    fix=f"take a cluster of Kubernetes {oldest} or newer, or name the apps without it",
                )
        return tuple(chosen)


def bundles_of(settings: Settings, bundle_dir: Path | None = None) -> tuple[Bundle, ...]:
    """All bundles that there are: those of a folder, or those that ship.

    Raises BadInput where the settings have values of another.
    """
    folder = bundle_dir or settings.bundle_dir
    bundles = catalogue.load_dir(folder) if folder else catalogue.shipped(settings.charts)
    for app in settings.app_values:
        if app not in {bundle.name for bundle in bundles}:
            raise fields.unknown(f"{settings.app_values_at}: app", app, [bundle.name for bundle in bundles])
    return bundles


def of(
    settings: Settings,
    kind: str,
    target: Target,
    bundles: tuple[Bundle, ...],
    keys: Collection[str],
    *,
    found: Mapping[str, Mapping[str, Any]] | None = None,
    files: Sequence[Path] = (),
    sets: Sequence[str] = (),
    set_values: Set = lambda values, sets: dict(values),
) -> Selection:
    """The apps of ``target`` on a plane of ``kind``, where ``keys`` of providers are there, by variable.

    ``found`` is what the cluster itself says of values; ``files`` and ``sets`` are helm's ``-f`` and
    ``--set``, by app; ``set_values`` puts the latter over values. Raises BadInput, NotFound.
    """
    models = plan(settings, keys)
    said = Said(
        settings.app_values,
        found=found or {},
        models=models.values,
        models_at=settings.models_at,
        where=settings.app_values_at,
        files=tuple(files),
        sets=tuple(sets),
    )
    cni = str(target.labels.get("cni") or "")
    fitting = tuple(bundle for bundle in bundles if bundle.fits(kind, cni))
    releases = making.of(fitting, kind, target, said, set_values)
    return Selection(settings, kind, target, bundles, releases, models)
