"""The delivery engine that leaves the work to Fleet: writes its objects, and reads what it says of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from capi_llm.apps.engine import (
    AppStatus,
    Delivered,
    Difference,
    Engines,
    Release,
    Removed,
    Rendered,
    Target,
)
from capi_llm.apps.fleet import objects, reading
from capi_llm.apps.fleet.kinds import (
    BUNDLE_DEPLOYMENTS,
    BUNDLES,
    CLUSTER_NAME,
    CONFIG,
    FLEET_CLUSTERS,
    HELM_OPS,
)
from capi_llm.apps.fleet.registration import register, require_fleet
from capi_llm.apps.fleet.targets import Targets
from capi_llm.contract import fleet
from capi_llm.contract.conditions import deleting
from capi_llm.errors import CapiLlmError, Conflict, NotFound, Refused
from capi_llm.kube.apply import MANAGER, apply
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import SECRETS, Object, Ref, Resource
from capi_llm.waiting import Status, Waiter, Wakeup, pending, ready, until

_KINDS = (BUNDLES, HELM_OPS, BUNDLE_DEPLOYMENTS, FLEET_CLUSTERS)


def for_cluster(
    api: Api, cluster: Object, *, workload: Api | None = None, waiter: Waiter | None = None
) -> FleetEngine:
    """The engine for ``cluster``, an object of Cluster API on ``api``; ``workload`` is its own API server."""
    metadata = cluster["metadata"]
    targets = Targets.of(Target(metadata["name"], metadata["namespace"]))
    workloads = {} if workload is None else {targets.name: workload}
    return FleetEngine(api, targets, owner=cluster, workloads=workloads, waiter=waiter)


class FleetEngine:
    """Delivers to ``targets`` through the Fleet of the management plane ``api``.

    ``owner`` is the Cluster with which all of it goes, for targets that are one cluster; it is registered
    with Fleet when something is applied, unless somebody else does that. ``workloads``
    are the API servers of the workload clusters by name, as far as they can be reached: with them
    a removal waits until helm's record is gone there too, which Fleet does not (see :meth:`remove`).
    """

    def __init__(
        self,
        api: Api,
        targets: Targets,
        *,
        owner: Object | None = None,
        workloads: Mapping[str, Api] | None = None,
        waiter: Waiter | None = None,
    ) -> None:
        self._api = api
        self._targets = targets
        self._owner = owner
        self._workloads = workloads or {}
        self._waiter = waiter or Waiter()
        self._informers: Informers | None = None
        self._config: Object | None = None
        self._discoveries = {name: Discovery(api) for name, api in self._workloads.items()}

    @property
    def name(self) -> Engines:
        return "fleet"

    def render(self, releases: Sequence[Release]) -> Sequence[Rendered]:
        """The Bundle or HelmOp of each release."""
        for release in releases:
            if release.bundle.place != "workload":
                raise Refused(
                    f"{release.app} runs on the management cluster, and Fleet delivers to workload clusters",
                    fix="deliver it with the direct engine",
                )
        among = {*(release.app for release in releases), *self.delivered()}
        return [
            Rendered(release.app, (objects.make(release, self._targets, among=among, owner=self._owner),))
            for release in releases
        ]

    def diff(self, releases: Sequence[Release], *, force: bool = False) -> Sequence[Difference]:
        require_fleet(self._api)
        found = []
        every = self.render(releases)
        if not force:
            self._check_owner(every)
        for rendered in every:
            obj = rendered.objects[0]
            resource = objects.kind_of(obj)
            ref = resource.ref(obj)
            live = self._api.find(ref)
            trial = self._api.server_side_apply(ref, obj, manager=MANAGER, dry_run=True)
            found.append(reading.difference(rendered.app, ref, live, trial))
            found += [Difference(rendered.app, other, "delete") for other in self._other_kind(obj)]
        return found

    def apply(self, releases: Sequence[Release], *, force: bool = False) -> Sequence[Delivered]:
        """As the Protocol says; an object of that name that is not ours is the conflict here."""
        require_fleet(self._api)
        rendered = self.render(releases)
        if not force:
            self._check_owner(rendered)
        if self._owner is not None:
            register(self._api, self._targets.name, self._targets.namespace)
        pruned = {each.app: self._make_way(each.objects[0]) for each in rendered}
        wanted = [each.objects[0] for each in rendered]
        applied = apply(self._api, wanted, cancel=self._waiter.cancel)
        return [
            Delivered(each.app, (item,), pruned[each.app])
            for each, item in zip(rendered, applied, strict=True)
        ]

    def keep(self, releases: Sequence[Release], *, timeout: float) -> None:
        """Have what was delivered of ``releases`` stay when :meth:`remove` takes them away.

        Waits until each agent has it from its BundleDeployment: it notes it in helm's record, and
        goes by that note (``Helm.Delete`` in
        https://github.com/rancher/fleet/blob/v0.14.0/internal/helmdeployer/delete.go).
        """
        among = {*(release.app for release in releases), *self.delivered()}
        made = [
            objects.make(release, self._targets, among=among, owner=self._owner, keep=True)
            for release in releases
        ]
        apply(self._api, made, cancel=self._waiter.cancel)
        names = [str(obj["metadata"]["name"]) for obj in made]
        waiter = replace(self._waiter, interval=0.3)
        until(
            lambda: reading.kept(self._list(BUNDLE_DEPLOYMENTS, None), names, self._targets.namespace),
            what="Fleet to let go of its apps",
            timeout=timeout,
            waiter=waiter,
        )

    def let_go(self, releases: Sequence[Release], *, timeout: float) -> None:
        """Give up ``releases``, that :meth:`keep` was called for: their objects stay.

        helm's records of them are deleted here. Fleet 0.14 means to, and looks for releases that are
        called like the Bundle (``deleteHistory`` in the file named there), which ours are not.
        """
        names = [self._targets.bundle(release.app) for release in releases]
        for name, obj in self._ours().items():
            if name in names and not deleting(obj):
                self._api.delete(objects.kind_of(obj).ref(obj), uid=obj["metadata"]["uid"])

        def probe() -> Status:
            for bd in self._list(BUNDLE_DEPLOYMENTS, None):
                if any(reading.is_of(bd, name, self._targets.namespace) for name in names):
                    return pending(f"{BUNDLE_DEPLOYMENTS.ref(bd)} is still there")
            return ready() if not self._ours().keys() & set(names) else pending("a Bundle is still there")

        waiter = replace(self._waiter, interval=0.3)
        until(probe, what="the end of Fleet's delivery", timeout=timeout, waiter=waiter)
        for api in self._workloads.values():
            for release in releases:
                for record in api.list(SECRETS, release.namespace, f"owner=helm,name={release.name}"):
                    api.delete(SECRETS.ref(record))

    def delivered(self) -> Sequence[str]:
        return sorted({str(obj["metadata"]["labels"][objects.APP]) for obj in self._ours().values()})

    @contextlib.contextmanager
    def watching(self, bell: Wakeup | None = None) -> Iterator[Wakeup]:
        with contextlib.closing(Informers(self._api, cancel=self._waiter.cancel, wakeup=bell)) as informers:
            self._informers, self._config = informers, self._api.find(CONFIG)
            try:
                yield informers.wakeup
            finally:
                self._informers = None

    def status(self, apps: Iterable[str]) -> Sequence[AppStatus]:
        """How ``apps`` are; their parts are BundleDeployments, one for each cluster."""
        ours = self._ours()
        bundles = {str(obj["metadata"]["name"]): obj for obj in self._list(BUNDLES, self._targets.namespace)}
        deployments = self._list(BUNDLE_DEPLOYMENTS, None)
        clusters = self._list(FLEET_CLUSTERS, self._targets.namespace)
        every = fleet.check_in(self._api.find(CONFIG) if self._informers is None else self._config)
        agents = {str(obj["metadata"]["name"]): fleet.agent(obj, every=every) for obj in clusters}
        wanted = max(1, len(self._targets.clusters), len(self._targets.matching(clusters)))
        found = []
        for app in apps:
            name = self._targets.bundle(app)
            obj = ours.get(name)
            if obj is None:
                found.append(AppStatus(app, pending("is not delivered"), delivered=False))
                continue
            own = [bd for bd in deployments if reading.is_of(bd, name, self._targets.namespace)]
            status = reading.app(app, obj, bundles.get(name), own, agents, wanted)
            found.append(replace(status, objects=self._objects(own)))
        return found

    def remove(self, apps: Iterable[str], *, timeout: float = 120.0) -> Sequence[Removed]:
        """As the Protocol says. What others depend on goes after them.

        Fleet 0.14 lets a Bundle go as soon as its BundleDeployments are marked, whether an agent has
        uninstalled anything or not; an agent that was away does so when it is back. So
        helm's records on the workload clusters are waited for too, where they can be reached.
        """
        ours, wanted = self._ours(), set(apps)
        there = [obj for obj in ours.values() if obj["metadata"]["labels"][objects.APP] in wanted]
        removed = []
        for obj in objects.dependants_first(there):
            app = str(obj["metadata"]["labels"][objects.APP])
            ref = objects.kind_of(obj).ref(obj)
            if not deleting(obj):
                self._api.delete(ref, uid=obj["metadata"]["uid"])
            self._wait_gone(obj, f"the removal of {app}", timeout)
            removed.append(Removed(app, (ref,)))
        return removed

    # ------------------------------------------------------------------ what there is

    def _objects(self, deployments: Sequence[Object]) -> tuple[Ref, ...]:
        """What Fleet says that it has applied, on those clusters that can be reached."""
        found = []
        for bd in deployments:
            cluster = (bd["metadata"].get("labels") or {}).get(CLUSTER_NAME, "")
            if cluster not in self._discoveries:
                continue
            for item in (bd.get("status") or {}).get("resources") or []:
                # How an app is can be told without the cluster itself.
                with contextlib.suppress(CapiLlmError):
                    resource = self._discoveries[cluster].resource_for(item)
                    space = item.get("namespace") if resource.namespaced else None
                    found.append(Ref(resource, item["name"], space))
        return tuple(found)

    def _list(self, resource: Resource, namespace: str | None) -> list[Object]:
        try:
            if self._informers is not None:
                return self._informers.of(resource, namespace).items()
            return self._api.list(resource, namespace)
        except NotFound:
            return []  # no Fleet here, or not yet

    def _ours(self) -> dict[str, Object]:
        """Bundle's name → the HelmOp or Bundle that we have written."""
        found = {}
        for resource in (BUNDLES, HELM_OPS):
            for obj in self._list(resource, self._targets.namespace):
                labels = obj["metadata"].get("labels") or {}
                if labels.get(objects.TARGETS) != self._targets.name or objects.APP not in labels:
                    continue
                if resource == BUNDLES and (obj.get("spec") or {}).get("helmOpOptions"):
                    continue  # Fleet made it of a HelmOp
                found[str(obj["metadata"]["name"])] = obj
        return found

    def _other_kind(self, obj: Object) -> tuple[Ref, ...]:
        """The object of ours of the same name and the other kind: a chart became ours, or somebody else's."""
        live = self._ours().get(obj["metadata"]["name"])
        return (objects.kind_of(live).ref(live),) if live is not None and live["kind"] != obj["kind"] else ()

    def _make_way(self, obj: Object) -> tuple[Ref, ...]:
        """Delete it and wait: Fleet makes a Bundle of a HelmOp's name, and deletes it with the HelmOp."""
        found = self._other_kind(obj)
        for ref in found:
            live = self._api.find(ref)
            self._api.delete(ref)
            if live is not None:
                self._wait_gone(live, f"the removal of {ref}", 120.0)
        return found

    def _check_owner(self, rendered: Sequence[Rendered]) -> None:
        ours = self._ours()
        for each in rendered:
            obj = each.objects[0]
            for resource in (BUNDLES, HELM_OPS):
                ref = Ref(resource, obj["metadata"]["name"], self._targets.namespace)
                live = self._api.find(ref)
                if live is None or ref.name in ours or (live.get("spec") or {}).get("helmOpOptions"):
                    continue
                labels = live["metadata"].get("labels") or {}
                owner = labels.get("fleet.cattle.io/repo-name")
                raise Conflict(
                    f"{ref} is not ours",
                    status=409,
                    on=str(ref),
                    why=f"GitRepo {owner} has made it" if owner else "somebody else has made it",
                    fix="delete it, or take it over with --force",
                )

    def _wait_gone(self, obj: Object, what: str, timeout: float) -> None:
        waiter = replace(self._waiter, interval=0.3)
        until(lambda: self._gone(obj), what=what, timeout=timeout, waiter=waiter)

    def _gone(self, obj: Object) -> Status:
        name, namespace = str(obj["metadata"]["name"]), self._targets.namespace
        for resource in (HELM_OPS, BUNDLES):
            live = self._api.find(Ref(resource, name, namespace))
            if live is not None and deleting(live):
                return fleet.bundle(live) if resource == BUNDLES else fleet.helm_op(live, None)
            if live is not None:
                return pending(f"{resource.kind} {namespace}/{name} is not being deleted yet")
        release = str(obj["spec"]["helm"]["releaseName"])
        where = str(obj["spec"]["defaultNamespace"])
        for cluster, api in self._workloads.items():
            if api.list(SECRETS, where, f"owner=helm,name={release}"):
                return pending(
                    f"cluster {cluster}: helm release {where}/{release} is not uninstalled yet",
                    cause="Fleet's agent there has not done it: it does not run, or not reach this plane",
                    fix="see Deployment fleet-agent in cattle-fleet-system on that cluster",
                )
        return ready()
