"""Which clusters a set of releases goes to, and what is different on one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capi_llm import fields
from capi_llm.apps import values as merging
from capi_llm.apps.bundle import Customization
from capi_llm.apps.engine import Target
from capi_llm.contract.rollout import KUBERNETES
from capi_llm.errors import BadInput
from capi_llm.kube.resources import Object


@dataclass(frozen=True)
class Targets:
    """Fleet Clusters of ``namespace``: those named, those with all of ``labels``, those of ``group``.

    Whoever is one of them is meant; ``labels`` together with ``group`` mean both at once. ``name``
    is what the Bundles are called after (``NAME-ollama``), and who owns what: two sets of the same
    name are one. ``overrides`` are values for single clusters, over those of the release.
    """

    name: str
    namespace: str = "default"
    clusters: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    overrides: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Cluster → app → values."""

    def __post_init__(self) -> None:
        fields.dns_label(self.name, "the name of the targets")
        if not (self.clusters or self.labels or self.group):
            raise BadInput(
                "no cluster is said to deliver to",
                why="Fleet takes a Bundle without targets as ready, on no cluster",
                fix="name clusters, labels of clusters or a cluster group",
            )
        for cluster in self.clusters:
            fields.dns_label(cluster, "cluster")
        if self.group:
            fields.dns_label(self.group, "cluster group")
        for cluster in self.overrides:
            if cluster not in self.clusters and not self.labels and not self.group:
                raise fields.unknown("values for cluster", cluster, self.clusters)

    @classmethod
    def of(cls, target: Target) -> Targets:
        """One cluster alone."""
        return cls(target.name, target.namespace, (target.name,))

    def bundle(self, app: str) -> str:
        """The name of the Bundle of ``app``: ``demo-ollama``. Raises BadInput where it gets too long."""
        return fields.dns_label(f"{self.name}-{app}", "the Bundle's name")

    def entries(self, app: str, customizations: Sequence[Customization] = ()) -> list[dict[str, Any]]:
        """``spec.targets`` of ``app``. The first that matches counts, so single clusters come first.

        Before each stands what clusters of one Kubernetes have instead, by ``customizations``.
        """
        return [
            item
            for entry in self._entries(app)
            for item in (*(_customized(entry, each) for each in customizations), entry)
        ]

    def _entries(self, app: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        selector = self._selector()
        for cluster, values in sorted(self.overrides.items()):
            if values.get(app):
                # What stands in one entry has to be met together.
                also = {} if cluster in self.clusters else selector
                found.append({"clusterName": cluster, **also, "helm": {"values": dict(values[app])}})
        own = {entry["clusterName"] for entry in found}
        found += [{"clusterName": cluster} for cluster in self.clusters if cluster not in own]
        return [*found, selector] if selector else found

    def matching(self, clusters: Iterable[Object]) -> list[str]:
        """The names of those Fleet Clusters that are meant; members of a group are not known here."""
        found = []
        for cluster in clusters:
            metadata = cluster["metadata"]
            has = metadata.get("labels") or {}
            labelled = bool(self.labels) and all(has.get(key) == value for key, value in self.labels.items())
            if metadata["name"] in self.clusters or (labelled and not self.group):
                found.append(str(metadata["name"]))
        return sorted(found)

    def _selector(self) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if self.labels:
            entry["clusterSelector"] = {"matchLabels": dict(sorted(self.labels.items()))}
        if self.group:
            entry["clusterGroup"] = self.group
        return entry


def _customized(entry: Mapping[str, Any], own: Customization) -> dict[str, Any]:
    """``entry`` for those of its clusters that are of one Kubernetes; its own values lie over."""
    labels = (entry.get("clusterSelector") or {}).get("matchLabels") or {}
    helm: dict[str, Any] = {"version": own.version} if own.version else {}
    values = merging.merge(own.values, (entry.get("helm") or {}).get("values") or {})
    if values:
        helm["values"] = values
    return {
        **entry,
        "clusterSelector": {"matchLabels": {**labels, KUBERNETES: own.kubernetes}},
        "helm": helm,
    }
