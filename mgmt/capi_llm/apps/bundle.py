"""What a bundle is: a folder with ``fleet.yaml`` and a chart of ours, or a reference to another's.

Our own keys in fleet.yaml are labels of the group ``capi-llm.dev``::

    labels:
      capi-llm.dev/planes: kind.existing.sandbox   the kinds of planes that the bundle fits; all without it
      capi-llm.dev/on-demand: "true"               only where something needs it, or it is named
      capi-llm.dev/place: workload                 or management: it runs there, once for each cluster
      capi-llm.dev/cni: calico                     it is the network of clusters whose label ``cni`` says so
      capi-llm.dev/serving: knative                it is for apps whose value ``serving`` says so, no others

What is different on clusters of an older Kubernetes stands in ``targetCustomizations``, which Fleet chooses
by the label ``capi-llm.dev/kubernetes`` of a cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from capi_llm import versions
from capi_llm.documents import Document, Trail
from capi_llm.tools.helm import Chart

FILE = "fleet.yaml"
CHART_FILE = "Chart.yaml"
SCHEMA_FILE = "values.schema.json"

PLANES = f"{versions.GROUP}/planes"
PLACE = f"{versions.GROUP}/place"
CNI = f"{versions.GROUP}/cni"
SERVING = f"{versions.GROUP}/serving"
ON_DEMAND = f"{versions.GROUP}/on-demand"
KINDS = ("kind", "existing", "sandbox")
"""Kinds of planes that a bundle may name."""

Place = Literal["workload", "management"]
PLACES: tuple[Place, ...] = ("workload", "management")


@dataclass(frozen=True)
class Customization:
    """What is different on clusters of one Kubernetes minor: an entry of ``targetCustomizations``."""

    kubernetes: str
    """The minor: ``1.32``."""

    version: str = ""
    """Of the chart; "" for that of the bundle."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Over those of the bundle."""

    below: Trail = ()
    """Where the values are in fleet.yaml."""


@dataclass(frozen=True)
class Bundle:
    """One bundle as its folder says it. ``chart`` is None where the folder is the chart."""

    name: str
    folder: Path
    namespace: str
    release: str
    version: str
    """Of the chart."""

    chart: Chart | None
    depends_on: tuple[str, ...]
    planes: tuple[str, ...]
    place: Place
    values: Mapping[str, Any]
    """``helm.values`` of fleet.yaml; those of a chart's own values.yaml are below them."""

    schema: Mapping[str, Any] | None
    """``values.schema.json``: what of the values may be said."""

    compare_patches: tuple[Mapping[str, Any], ...]
    """``diff.comparePatches``, for Fleet."""

    document: Document
    """The whole of fleet.yaml, with the line of every value."""

    description: str = ""
    cni: str = ""
    """The network that it is; "" where it is none."""

    serving: str = ""
    """The value ``serving`` of the apps that it is for; "" for all."""

    customizations: tuple[Customization, ...] = ()
    """Those of older Kubernetes minors, the oldest first; empty where the software does not care."""

    @property
    def labels(self) -> Mapping[str, str]:
        """``labels`` of fleet.yaml, which are those of a Fleet Bundle."""
        return {key: str(value) for key, value in (self.document.data.get("labels") or {}).items()}

    @property
    def on_demand(self) -> bool:
        """Whether it is there only where something needs it, or somebody names it."""
        return self.labels.get(ON_DEMAND) == "true"

    @property
    def digest(self) -> str:
        """What tells its content from every other."""
        if self.chart is not None:
            return hashlib.sha256(str(self.chart).encode()).hexdigest()
        digest = hashlib.sha256()
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self.folder)} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def fits(self, kind: str, cni: str = "") -> bool:
        """Whether it can be on clusters of a plane of ``kind``; ``cni`` is their network, where known."""
        return kind in self.planes and (not self.cni or cni in ("", self.cni))

    def too_new(self, kubernetes: str) -> bool:
        """Whether it has nothing for so old a Kubernetes minor; never for one that is not known ("")."""
        if not kubernetes or not self.customizations:
            return False
        return order_of(kubernetes) < order_of(self.customizations[0].kubernetes)

    def customization(self, kubernetes: str) -> Customization | None:
        """What is different on clusters of that minor; None where nothing is."""
        return next((item for item in self.customizations if item.kubernetes == kubernetes), None)

    def on(self, kubernetes: str) -> Bundle:
        """The bundle as it is on clusters of that minor, but for its values; with "" nothing is chosen yet.

        What is named by no customization has what the bundle says by itself, as with Fleet.
        """
        if not kubernetes or not self.customizations:
            return self
        own = self.customization(kubernetes)
        found = replace(self, customizations=())
        if own is None or not own.version or self.chart is None:
            return found
        chart = replace(self.chart, version=own.version)
        return replace(found, version=own.version, chart=chart)

    def knows(self, value: str) -> bool:
        """Whether its schema has ``value`` at the top."""
        return value in ((self.schema or {}).get("properties") or {})


def order_of(kubernetes: str) -> tuple[int, int]:
    """What minors such as ``1.32`` are ordered by."""
    major, _, minor = kubernetes.partition(".")
    return int(major), int(minor)
