"""Direct delivery: the objects of an app applied to its cluster by us, by server-side apply.

What was applied is an ApplySet (:mod:`capi_llm.apps.applyset`). An app whose inventory says that it was
made from the same chart and values, and whose objects are as we left them, is not rendered again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from capi_llm import versions
from capi_llm.apps import applyset, difference, namespaces, pruning, rendering
from capi_llm.apps.applyset import Member, Parent
from capi_llm.apps.bundle import Bundle, Place
from capi_llm.apps.engine import AppStatus, Delivered, Difference, Engines, Release, Removed, Rendered, Target
from capi_llm.apps.helm import Facts, Helm
from capi_llm.apps.state import status_of
from capi_llm.errors import Conflict, NotFound, Refused
from capi_llm.kube import record
from capi_llm.kube.apply import Applied, apply
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import CONFIGMAPS, Object, Ref
from capi_llm.waiting import Cancel, Wakeup

_RENDERERS = 4

Before = Callable[[Api, Sequence[Object]], None]


@dataclass(frozen=True)
class Site:
    """Where apps of one place are: an API server, and what is remembered about it."""

    place: Place
    api: Api
    discovery: Discovery


class Direct:
    """Delivers to the cluster ``target``, whose API server is ``workload``."""

    name: Engines = "direct"

    def __init__(
        self,
        workload: Api,
        management: Api,
        target: Target,
        helm: Helm,
        *,
        before: Before = lambda api, objects: None,
        cancel: Cancel | None = None,
    ) -> None:
        """``before`` hears the objects of an app right before they are applied to an API server."""
        self._sites = {
            "workload": Site("workload", workload, Discovery(workload)),
            "management": Site("management", management, Discovery(management)),
        }
        self._target = target
        self._helm = helm
        self._before = before
        self._cancel = cancel or Cancel()
        self._facts: dict[Place, Facts] = {}
        self._versions: dict[Place, str] = {}
        self._informers: dict[Place, Informers] = {}

    def render(self, releases: Sequence[Release]) -> list[Rendered]:
        """See :class:`~capi_llm.apps.engine.Engine`; labels of the ApplySet are not in it."""
        texts = self._texts(releases)
        found = []
        for release, text in zip(releases, texts, strict=True):
            scope = rendering.scope(self._site(release.bundle).discovery, texts)
            found.append(Rendered(release.app, rendering.objects(text, release, scope)))
        return found

    def diff(self, releases: Sequence[Release], *, force: bool = False) -> list[Difference]:
        found: list[Difference] = []
        spaces: dict[Ref, Difference] = {}
        for release, rendered in zip(releases, self.render(releases), strict=True):
            site, parent = self._site(release.bundle), self._parent(release)
            objects = [applyset.labelled(obj, parent) for obj in rendered.objects]
            missing = namespaces.objects([release], objects)
            for item in difference.of_objects(
                site.api, site.discovery, release.app, missing, only_missing=True
            ):
                spaces.setdefault(item.ref, item)
            found += difference.of_objects(site.api, site.discovery, release.app, objects, force=force)
            found += [
                Difference(release.app, ref, "delete")
                for ref, _ in self._leavers(site, parent, release.bundle, objects)[0]
            ]
        return [*spaces.values(), *found]

    def apply(self, releases: Sequence[Release], *, force: bool = False) -> list[Delivered]:
        done: dict[str, Delivered] = {}
        for release in releases:
            if (unchanged := self._in_place(release)) is not None:
                done[release.app] = unchanged
        left = [release for release in releases if release.app not in done]
        # All of them before the first is applied: a mistake in one leaves everything as it is.
        for release, rendered in zip(left, self.render(left), strict=True):
            done[release.app] = self._apply(release, rendered.objects, force)
        return [done[release.app] for release in releases]

    def delivered(self) -> list[str]:
        return sorted({parent.app for site in self._sites.values() for parent in self._parents(site)})

    @contextlib.contextmanager
    def watching(self, bell: Wakeup | None = None) -> Iterator[Wakeup]:
        with contextlib.ExitStack() as stack:
            bell = bell or Wakeup()
            for place, site in self._sites.items():
                informers = Informers(site.api, cancel=self._cancel, wakeup=bell)
                stack.callback(informers.close)
                self._informers[place] = informers  # type: ignore[index]
            stack.callback(self._informers.clear)
            yield bell

    def status(self, apps: Iterable[str]) -> list[AppStatus]:
        parents = {
            parent.app: (site, parent) for site in self._sites.values() for parent in self._parents(site)
        }
        return [self._status(app, parents.get(app)) for app in apps]

    def remove(self, apps: Iterable[str], *, timeout: float = 120.0) -> list[Removed]:
        removed = []
        for app in apps:
            for site in self._sites.values():
                for parent in self._parents(site):
                    if parent.app == app:
                        removed.append(self._remove(site, parent, timeout))
        return removed

    def let_go(self, apps: Iterable[str]) -> None:
        """Give up ``apps`` of the workload cluster: their objects stay, and are not known to be ours."""
        site, wanted = self._sites["workload"], set(apps)
        for parent in self._parents(site):
            if parent.app in wanted:
                for ref, _ in pruning.members(site.api, site.discovery, parent):
                    site.api.merge_patch(ref, {"metadata": {"labels": {applyset.PART_OF: None}}})
                site.api.delete(parent.ref)

    # ------------------------------------------------------------------ one app

    def _apply(self, release: Release, objects: Sequence[Object], force: bool) -> Delivered:
        site, parent = self._site(release.bundle), self._parent(release)
        api = site.api
        namespaces.ensure(api, namespaces.objects([release], objects))
        wanted = [applyset.labelled(obj, parent) for obj in objects]
        try:
            # What is refused, or owned by others, is found before anything is written.
            self._server_side(site, parent, wanted, force, dry_run=True)
            wide = parent.widened(wanted)
            apply(api, [wide.manifest()], cancel=self._cancel)
            self._before(api, objects)
            applied = self._server_side(site, parent, wanted, force)
        except Conflict as error:
            if not force and not error.fix:
                error.fix = f"leave those fields to their owner, or take them over: {self._command(release)}"
            raise
        leaving, kept = self._leavers(site, wide, release.bundle, wanted)
        pruned = pruning.delete(api, leaving)
        narrow = wide.narrowed(_members(api, applied), self._key(release), release.bundle.version)
        apply(api, [narrow.manifest()], cancel=self._cancel)
        return Delivered(release.app, tuple(applied), pruned, tuple(kept))

    def _server_side(
        self, site: Site, parent: Parent, wanted: Sequence[Object], force: bool, *, dry_run: bool = False
    ) -> list[Applied]:
        def admit(live: Object) -> None:
            other = applyset.belongs_to(live)
            if other and other != parent.id:
                raise self._of_another(site, live, other)

        return apply(site.api, wanted, force=force, admit=admit, dry_run=dry_run, cancel=self._cancel)

    def _in_place(self, release: Release) -> Delivered | None:
        """What a look at the inventory tells, if that is that nothing is to do."""
        site, parent = self._site(release.bundle), self._parent(release)
        if not parent.whole or parent.key != self._key(release):
            return None
        wanted: dict[str, set[str]] = {}
        for item in parent.members:
            wanted.setdefault(item.ref.resource.path(), set()).add(record.name_of(item.ref))
        try:
            notes = record.notes_of(site.api, wanted)
        except NotFound:  # a kind is gone
            return None
        for item in parent.members:
            if not item.note or notes[item.ref.resource.path()].get(record.name_of(item.ref)) != item.note:
                return None
        return Delivered(release.app, tuple(Applied(item.ref, "unchanged") for item in parent.members))

    def _leavers(
        self, site: Site, parent: Parent, bundle: Bundle, wanted: Sequence[Object]
    ) -> tuple[list[tuple[Ref, Object]], list[Ref]]:
        found = pruning.members(site.api, site.discovery, parent)
        definitions = bundle.document.data.get("deleteCRDResources") is True
        return pruning.leavers(found, {pruning.identity(obj) for obj in wanted}, definitions=definitions)

    def _remove(self, site: Site, parent: Parent, timeout: float) -> Removed:
        found = pruning.members(site.api, site.discovery, parent)
        gone, kept = pruning.leavers(found, (), definitions=False)
        deleted = pruning.delete(site.api, gone)
        leaving = [item for item in found if item[0] not in kept]
        pruning.wait_gone(site.api, leaving, timeout, self._cancel)
        site.api.delete(parent.ref)
        return Removed(parent.app, deleted, tuple(kept))

    def _status(self, app: str, found: tuple[Site, Parent] | None) -> AppStatus:
        if found is None:
            return status_of(app, None, lambda ref: None)
        site, parent = found
        informers = self._informers.get(site.place)

        def find(ref: Ref) -> Object | None:
            if informers is None:
                return site.api.find(ref)
            try:
                return informers.of(ref.resource, ref.namespace).find(ref.name)
            except NotFound:
                return None

        return status_of(app, parent, find)

    # ------------------------------------------------------------------ what is there

    def _parent(self, release: Release) -> Parent:
        """The app's parent as it is, or one with nothing in it."""
        if release.bundle.place == "management":
            new = applyset.of_management(release.app, self._target.name, self._target.namespace)
        else:
            new = applyset.of_workload(release.app)
        found = self._site(release.bundle).api.find(new.ref)
        return applyset.read(found) if found else new

    def _parents(self, site: Site) -> list[Parent]:
        """The parents of this cluster's apps."""
        informers = self._informers.get(site.place)
        if informers is not None:
            found = informers.of(CONFIGMAPS, applyset.HOME).items()
        else:
            found = site.api.list(CONFIGMAPS, applyset.HOME, applyset.APP)
        parents = []
        for obj in found:
            labels = obj["metadata"].get("labels") or {}
            if applyset.APP not in labels:
                continue
            own = labels.get(applyset.CLUSTER), labels.get(applyset.CLUSTER_NAMESPACE)
            target = self._target.name, self._target.namespace
            if own == (target if site.place == "management" else (None, None)):
                parents.append(applyset.read(obj))
        return parents

    def _of_another(self, site: Site, live: Object, other: str) -> Refused:
        names = {parent.id: parent.app for parent in self._parents(site)}
        ref = f"{live['kind']} {live['metadata'].get('namespace', '')}/{live['metadata']['name']}"
        owner = f"app {names[other]}" if other in names else f"ApplySet {other}"
        return Refused(
            "an object belongs to something else",
            on=ref,
            why=f"it is part of {owner}",
            fix=f"capi-llm apps remove {self._target.name} {names[other]}"
            if other in names
            else f"take the label {applyset.PART_OF} off it, if that is not used any more",
        )

    # ------------------------------------------------------------------ rendering

    def _texts(self, releases: Sequence[Release]) -> list[str]:
        facts = {place: self._facts_of(place) for place in {item.bundle.place for item in releases}}
        with ThreadPoolExecutor(_RENDERERS, thread_name_prefix="helm") as pool:
            return list(
                pool.map(lambda release: self._helm.template(release, facts[release.bundle.place]), releases)
            )

    def _facts_of(self, place: Place) -> Facts:
        if place not in self._facts:
            api = self._sites[place].api
            self._facts[place] = Facts(self._version(place), rendering.served(api))
        return self._facts[place]

    def _key(self, release: Release) -> str:
        """What the objects of a release are made from: the chart, the values, the cluster's version."""
        bundle = release.bundle
        parts = [
            applyset.TOOL,
            versions.HELM,
            bundle.digest,
            release.name,
            release.namespace,
            json.dumps(release.values, sort_keys=True),
            self._version(bundle.place),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _version(self, place: Place) -> str:
        if place not in self._versions:
            self._versions[place] = self._sites[place].api.server_version()
        return self._versions[place]

    def _site(self, bundle: Bundle) -> Site:
        return self._sites[bundle.place]

    def _command(self, release: Release) -> str:
        where = "" if self._target.namespace == "default" else f" -n {self._target.namespace}"
        return f"capi-llm apps apply {self._target.name} {release.app}{where} --force-conflicts"


def _members(api: Api, applied: Sequence[Applied]) -> list[Member]:
    wanted: dict[str, set[str]] = {}
    for item in applied:
        wanted.setdefault(item.ref.resource.path(), set()).add(record.name_of(item.ref))
    notes = record.notes_of(api, wanted)
    return [
        Member(item.ref, notes[item.ref.resource.path()].get(record.name_of(item.ref), ""))
        for item in applied
    ]
