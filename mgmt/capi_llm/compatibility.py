"""Which versions go together: the one table that the recipes of real management planes follow.

Each row is a release of Rancher with what it brings by itself and what has to be pinned beside it.
Sources, at each tag: Rancher's ``build.yaml`` (Turtles, Fleet) and ``chart/Chart.yaml`` (kubeVersion),
Turtles' ``charts/rancher-turtles/templates/core-provider-configmap.yaml`` (Cluster API core) and
``internal/controllers/clusterctl/config-prime.yaml`` (the Fleet add-on provider), Fleet's
``charts/fleet/Chart.yaml`` (``catalog.cattle.io/kube-version: >= 1.32.0-0 < 1.35.0-0``, all of 0.14).
Turtles' own providers are tried with >= 1.31.4, Cluster API 1.10 supports 1.29 to 1.33 as a management
cluster, so 1.32 and 1.33 are what all of them take.
"""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm import versions
from capi_llm.errors import BadInput, Refused

Minors = tuple[int, int]
"""Lowest and highest minor of Kubernetes 1.x."""


@dataclass(frozen=True)
class Row:
    """One release of Rancher. ``core`` is installed by Rancher; the other providers are pinned by us."""

    rancher: str
    turtles: str
    fleet: str
    core: str
    addon: str
    """Cluster API's add-on provider for Fleet, which makes the Fleet Clusters."""

    management: Minors = (32, 33)
    workload: Minors = (27, 33)

    @property
    def kubeadm(self) -> str:
        """Bootstrap and control plane provider: always one version, and that of the core."""
        return self.core

    @property
    def docker(self) -> str:
        return self.core


ROWS: tuple[Row, ...] = (
    Row("v2.13.0", "v0.25.0", "v0.14.0", "v1.10.6", "v0.11.0"),
    Row("v2.13.1", "v0.25.1", "v0.14.1", "v1.10.6", "v0.12.0"),
    Row("v2.13.2", "v0.25.2", "v0.14.2", "v1.10.6", "v0.12.0"),
    Row("v2.13.3", "v0.25.4", "v0.14.3", "v1.10.6", "v0.12.0"),
    Row("v2.13.4", "v0.25.4", "v0.14.4", "v1.10.6", "v0.12.0"),
    Row("v2.13.5", "v0.25.4", "v0.14.5", "v1.10.6", "v0.12.0"),
    Row("v2.13.6", "v0.25.4", "v0.14.6", "v1.10.6", "v0.12.0"),
    Row("v2.13.7", "v0.25.5", "v0.14.8", "v1.10.6", "v0.12.0"),
    Row("v2.13.8", "v0.25.6", "v0.14.9", "v1.10.6", "v0.12.0"),
)

NEWEST = ROWS[-1]

WITHOUT_RANCHER = Row(
    "", "", versions.FLEET, versions.CLUSTER_API, "", versions.MANAGEMENT_MINORS, versions.WORKLOAD_MINORS
)
"""Cluster API alone, with Fleet by its own charts where it is to deliver."""

_WHY = {
    (2, 12): "Turtles is a chart of its own there, and Cluster API is embedded in Rancher",
    (2, 14): "it ships Cluster API 1.12, and from 2.14.1 on makes the Fleet Clusters itself, "
    "under other names and in another namespace",
    (2, 15): "it ships Cluster API 1.13 and makes the Fleet Clusters itself, under other names",
}


def row(rancher: str, where: str = "rancher.version") -> Row:
    """The row of a release of Rancher. Raises BadInput, naming the nearest one that is supported."""
    try:
        wanted = versions.parse(rancher)
    except ValueError:
        raise BadInput(
            f"{where}: {rancher!r} is not a version of Rancher", fix=f"use {versions.RANCHER}"
        ) from None
    found = next((each for each in ROWS if each.rancher == str(wanted)), None)
    if found is not None:
        return found
    near = nearest(wanted).rancher
    why = _WHY.get(wanted[:2], "it has not been tried with capi-llm")
    raise BadInput(f"{where}: Rancher {rancher!r} is not supported", why=why, fix=f"use {near}")


def nearest(wanted: versions.Version) -> Row:
    """The supported release that is nearest to ``wanted``."""
    below = [each for each in ROWS if versions.parse(each.rancher).precedence <= wanted.precedence]
    return below[-1] if below else ROWS[0]


def of(rancher: str) -> Row:
    """The row to follow: that of ``rancher``, or the one without Rancher where it is empty."""
    return row(rancher) if rancher else WITHOUT_RANCHER


def check_management(row: Row, kubernetes: str) -> None:
    """Raise Refused where the management cluster's Kubernetes is not one that ``row`` takes."""
    low, high = row.management
    major, minor, *_ = versions.parse(kubernetes)
    if major == 1 and low <= minor <= high:
        return
    who = f"Rancher {row.rancher} with Cluster API {row.core}" if row.rancher else f"Cluster API {row.core}"
    side = low if (major, minor) < (1, low) else high
    raise Refused(
        f"the management cluster's Kubernetes {kubernetes} is not supported",
        why=f"{who} takes 1.{low} to 1.{high}",
        fix=f"use a cluster of Kubernetes 1.{side}",
    )


def step_towards(have: str, want: str) -> Row:
    """The next release of Rancher on the way from ``have`` to ``want``. Raises BadInput, Refused.

    Within one line Rancher goes to any later patch in one step
    (https://ranchermanager.docs.rancher.com/getting-started/installation-and-upgrade/install-upgrade-on-a-kubernetes-cluster/upgrades).
    """
    target = row(want)
    if versions.parse(have).precedence > versions.parse(target.rancher).precedence:
        raise Refused(
            f"Rancher {have} is not taken back to {target.rancher}",
            why="Rancher is only downgraded by restoring a backup",
            fix=f"set rancher.version to {have} or newer",
        )
    return target


def refuse_core(version: str) -> str:
    """Why a Cluster API core that is there can not be used; empty where it can."""
    try:
        found = versions.parse(version)
    except ValueError:
        return "its version is not known"
    if found[:2] != versions.parse(versions.CLUSTER_API)[:2]:
        return f"this capi-llm is made for Cluster API {versions.parse(versions.CLUSTER_API).line}"
    return ""


def refuse_rancher(version: str) -> str:
    """Why a Rancher that is there can not be used; empty where it can."""
    try:
        row(version)
    except BadInput as error:
        return f"{error.what.partition(': ')[2]}: {error.why}" if error.why else error.what
    return ""


def refuse_cert_manager(version: str) -> str:
    """Why a cert-manager that is there can not be used; empty where it can."""
    try:
        found = versions.parse(version)
    except ValueError:
        return "its version is not known"
    low, high = versions.CERT_MANAGER_MINORS
    if found.major != 1 or not low <= found.minor <= high:
        return f"1.{low} to 1.{high} are supported"
    return ""


def refuse_fleet(version: str) -> str:
    """Why a Fleet that is there can not be used; empty where it can."""
    try:
        found = versions.parse(version)
    except ValueError:
        return "its version is not known"
    wanted = versions.parse(versions.FLEET)
    return "" if found[:2] == wanted[:2] else f"this capi-llm is made for Fleet {wanted.line}"


def as_rows() -> list[tuple[str, ...]]:
    """The table for people, its head first; the one in docs/compatibility.md is checked against it."""
    head = (
        "Rancher", "Turtles", "Cluster API core", "kubeadm, Docker providers", "Fleet add-on provider",
        "Fleet", "management Kubernetes", "workload Kubernetes",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for each in (*ROWS, WITHOUT_RANCHER):
        rows.append(
            (
                each.rancher or "none",
                each.turtles or "none",
                each.core,
                each.docker,
                each.addon or "none",
                each.fleet,
                "1.{} to 1.{}".format(*each.management),
                "1.{} to 1.{}".format(*each.workload),
            )
        )
    return rows
