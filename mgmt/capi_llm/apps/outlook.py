"""What a plan says of the apps of a cluster: which there would be, and what would change of them.

A cluster that is there is asked as ``apps diff`` asks it. Of one that is still to come nothing can be
asked; which apps it gets is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from capi_llm.apps import delivery, selection, stack
from capi_llm.apps.engine import Difference, Engines
from capi_llm.apps.fleet.registration import require_fleet
from capi_llm.clusters.classes import ClassInfo
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.clusters.topology import manifest
from capi_llm.errors import (
    BadInput,
    CapiLlmError,
    Conflict,
    Forbidden,
    Interrupted,
    Invalid,
    PrerequisiteMissing,
    Refused,
)
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CLUSTERS, Ref
from capi_llm.settings import Settings

Action = Literal["deliver", "change", "none", "unknown"]
Verdict = Literal["accepted", "refused", "not asked"]


@dataclass(frozen=True)
class Outlook:
    """One cluster's apps as a plan sees them.

    ``apps`` are in the order in which they come. ``objects`` has the unchanged ones too. ``why`` is why they
    would be refused, why they could not be asked about, or why there are none.
    """

    cluster: Ref
    delivery: Engines
    action: Action = "none"
    verdict: Verdict = "accepted"
    apps: tuple[str, ...] = ()
    objects: tuple[Difference, ...] = ()
    why: str = ""
    fix: str = ""


def of_cluster(
    settings: Settings,
    kind: str,
    management: Api,
    spec: ClusterSpec,
    info: ClassInfo,
    names: Sequence[str] | None,
    *,
    engine: str = "",
) -> Outlook:
    """What bringing the apps of ``names`` (None: those wanted) to the cluster of ``spec`` would do.

    ``kind`` and ``engine`` are those of its plane, ``info`` is its class. Writes nothing. Raises BadInput.
    """
    ref = Ref(CLUSTERS, spec.name, spec.namespace)
    live = management.find(ref)
    cluster = live or manifest(spec)
    bundles = selection.bundles_of(settings)
    target = delivery.target(cluster)
    own = selection.of(settings, kind, target, bundles, settings.provider_keys)
    outlook = Outlook(ref, delivery.said(settings.delivery) or delivery.said(engine) or "direct")
    try:
        outlook = replace(outlook, delivery=delivery.chosen(cluster, settings.delivery, engine))
        apps = tuple(release.app for release in own.brought(names))
        if not apps:
            return replace(outlook, why="none are wanted")
        outlook = replace(outlook, apps=apps)
        if live is not None:
            return _of_live(outlook, settings, kind, management, names, engine)
        if kind == "sandbox" and info.in_memory:
            return replace(outlook, apps=(), why=stack.SIMULATED)
        if not any(pool.minimum for pool in spec.pools):
            later = f"once there are some: capi-llm apps apply {spec.name}"
            return replace(outlook, apps=(), why="it has no workers", fix=later)
        if outlook.delivery == "fleet":
            require_fleet(management)
        return replace(outlook, action="deliver")
    except (BadInput, Interrupted):
        raise
    except stack.CanNotHaveApps as error:
        return replace(outlook, apps=(), why=error.why)
    except (Refused, PrerequisiteMissing, Invalid, Forbidden, Conflict) as error:
        return replace(outlook, action="unknown", verdict="refused", why=error.brief, fix=error.fix)
    except CapiLlmError as error:
        return replace(outlook, action="unknown", verdict="not asked", why=error.brief, fix=error.fix)


def _of_live(
    outlook: Outlook,
    settings: Settings,
    kind: str,
    management: Api,
    names: Sequence[str] | None,
    engine: str,
) -> Outlook:
    ref = outlook.cluster
    with stack.opened(settings, kind, management, ref.name, ref.namespace or "", engine=engine) as apps:
        releases = apps.brought(names)  # with the keys of providers that the cluster has
        found = tuple(apps.differences(releases))
    differ = any(item.action != "none" for item in found)
    outlook = replace(
        outlook,
        apps=tuple(release.app for release in releases),
        objects=found,
        action="change" if differ else "none",
    )
    if not any(item.conflict for item in found):
        return outlook
    where = "" if ref.namespace == "default" else f" -n {ref.namespace}"
    return replace(
        outlook,
        verdict="refused",
        why="others own fields of them",
        fix=f"leave those fields to their owner, or take them over: "
        f"capi-llm apps apply {ref.name}{where} --force-conflicts",
    )
