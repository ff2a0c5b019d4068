"""Objects of ours as a step: applied by server-side apply, and nothing is written where nothing differs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from capi_llm.errors import ApiError, NotFound
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.discovery import Discovery
from capi_llm.kube.resources import Object, Ref
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.waiting import Status, pending, ready, until


class Objects(Step):
    """``objects`` are there as given; fields that others set stay. Namespaces are not removed."""

    interval = 1.0
    timeout = budgets.SETTINGS

    def __init__(self, name: str, objects: Sequence[Object], needs: tuple[str, ...] = ()) -> None:
        self.name = name
        self.needs = needs
        self.objects = tuple(objects)

    def probe(self, ctx: Context) -> Status:
        missing = unserved(ctx.api(), self.objects)
        if missing:
            return pending(f"waits for the kind {missing}")
        return unapplied(apply(ctx.api(), self.objects, dry_run=True))

    def apply(self, ctx: Context) -> None:
        def served() -> Status:
            missing = unserved(ctx.api(), self.objects)
            return pending(f"waits for the kind {missing}") if missing else ready()

        until(served, what=self.name, timeout=self.timeout, waiter=replace(ctx.waiter, interval=1.0))
        apply(ctx.api(), self.objects, cancel=ctx.cancel)

    def remove(self, ctx: Context) -> None:
        discovery = Discovery(ctx.api())
        for obj in reversed(self.objects):
            if obj["kind"] == "Namespace":
                continue
            with contextlib.suppress(NotFound):
                ctx.api().delete(discovery.resource_for(obj).ref(obj))


def recorded(ctx: Context, secret: Ref, names: Iterable[str]) -> bool:
    """Whether a Secret of the plane has ``names``; a plane that is not there yet has nothing."""
    if not ctx.identity.uid:
        return False
    try:
        have = (ctx.api().find(secret) or {}).get("data") or {}
    except ApiError:
        return True  # the plane itself says what is wrong with it
    return set(names) <= set(have)


def unserved(api: Api, objects: Sequence[Object]) -> str:
    """A kind of ``objects`` that the API server does not know; empty where it knows all."""
    discovery = Discovery(api)
    for api_version, kind in dict.fromkeys((obj["apiVersion"], obj["kind"]) for obj in objects):
        try:
            discovery.resource_for({"apiVersion": api_version, "kind": kind, "metadata": {"name": "any"}})
        except NotFound:
            return f"{kind} of {api_version}"
    return ""


def namespace(name: str, *, labels: dict[str, str] | None = None) -> Object:
    """A Namespace."""
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
