"""Looks, before anything is touched, at what the cluster has already: used where it fits, else refused.

Nothing of it is ever installed a second time or written over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from capi_llm import compatibility
from capi_llm.compatibility import Row
from capi_llm.errors import Refused
from capi_llm.steps import budgets, found
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.steps.found import Installed
from capi_llm.waiting import Status, pending, ready

NAME = "what-is-there"
OURS = found.OURS

PROVIDERS = (found.CORE, found.KUBEADM_BOOTSTRAP, found.KUBEADM_CONTROL_PLANE)
Software = Mapping[str, Sequence[Installed]]


class WhatIsThere(Step):
    """Ready where the cluster's Kubernetes and what is on it go together with ``row``. Writes nothing."""

    name = NAME
    interval = 1.0
    timeout = budgets.SETTINGS

    def __init__(self, row: Row, needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._row = row

    def probe(self, ctx: Context) -> Status:
        compatibility.check_management(self._row, ctx.api().server_version())
        there = ctx.once("found", lambda: found.on(ctx.api()))
        check(self._row, there)
        kept = [str(one) for each in there.values() for one in each]
        return ready(f"used as it is: {'; '.join(kept)}" if kept else "nothing of it is there")

    def apply(self, ctx: Context) -> None:
        """Only looks."""


class UnlessThere(Step):
    """``step``, unless somebody else has brought the same ``software`` already: then it is left alone."""

    def __init__(self, step: Step, software: Sequence[str]) -> None:
        self.name = step.name
        self.needs = tuple(dict.fromkeys((*step.needs, NAME)))
        self.version = step.version
        self.timeout = step.timeout
        self.interval = step.interval
        self._step = step
        self._software = tuple(software)

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        return self._step.preflight(ctx)

    def probe(self, ctx: Context) -> Status:
        there = self._there(ctx)
        if there is None:
            return self._step.probe(ctx)
        if not there.runs:
            return pending(f"{there.what}: its CRDs are there, and no Deployment")
        return ready(f"{there}; left as it is")

    def glance(self, ctx: Context) -> Status:
        return self.probe(ctx) if self._there(ctx) is not None else self._step.glance(ctx)

    def apply(self, ctx: Context) -> None:
        if self._there(ctx) is None:
            self._step.apply(ctx)

    def remove(self, ctx: Context) -> None:
        if self._there(ctx) is None:
            self._step.remove(ctx)

    def _there(self, ctx: Context) -> Installed | None:
        there = ctx.once("found", lambda: found.on(ctx.api()))
        for what in self._software:
            for one in there.get(what) or ():
                if one.owner != OURS:
                    return one
        return None


class IfThere(Step):
    """``step``, where ``software`` is there, whoever has brought it: a class needs its provider."""

    def __init__(self, step: Step, software: str) -> None:
        self.name, self.needs, self.version = step.name, step.needs, step.version
        self.timeout, self.interval = step.timeout, step.interval
        self._step = step
        self._software = software

    def probe(self, ctx: Context) -> Status:
        if not self._there(ctx):
            return ready(f"left out, as the {self._software} is not there")
        return self._step.probe(ctx)

    def apply(self, ctx: Context) -> None:
        if self._there(ctx):
            self._step.apply(ctx)

    def remove(self, ctx: Context) -> None:
        self._step.remove(ctx)

    def _there(self, ctx: Context) -> bool:
        return bool(ctx.once("found", lambda: found.on(ctx.api())).get(self._software))


def check(row: Row, there: Software) -> None:
    """Raise Refused where what is there can not be used, or would be there twice. Pure."""
    for what, several in there.items():
        if len(several) > 1:
            places = ", ".join(str(one.where) for one in several)
            _refuse(f"{what} is there {len(several)} times", places, "one of them has to go", "remove one")
    if row.rancher:
        _with_rancher(row, there)
    else:
        _without_rancher(there)


def _with_rancher(row: Row, there: Software) -> None:
    rancher = _one(there, found.RANCHER)
    if rancher is not None and (why := compatibility.refuse_rancher(rancher.version)):
        _refuse(
            f"Rancher {rancher.version or 'of unknown version'} is there and can not be used",
            str(rancher.where),
            f"{why}; it is {rancher.owner or 'of somebody unknown'}",
            f"bring it to {row.rancher} first, or use another cluster",
        )
    core = _one(there, found.CORE)
    alone = rancher is None and _one(there, found.TURTLES) is None
    if core is not None and alone and core.owner != OURS:
        _refuse(
            f"Cluster API core {core.version or 'of unknown version'} is there without Turtles",
            str(core.where),
            f"it is {core.owner or 'of somebody unknown'}, and Rancher {row.rancher} installs a core "
            "provider of its own: with two of them neither works",
            "take it away with the tool that installed it, or add --without-rancher",
        )
    turtles = _one(there, found.TURTLES)
    if turtles is not None and turtles.where.namespace not in ("cattle-turtles-system", None):
        _refuse(
            "Turtles is there as a chart of its own",
            str(turtles.where),
            f"Rancher {row.rancher} has it built in, and they exclude each other",
            "uninstall that chart as https://turtles.docs.rancher.com (migration to 0.25) says",
        )
    fleet = _one(there, found.FLEET)
    if fleet is not None and rancher is None:
        _refuse(
            f"Fleet {fleet.version or 'of unknown version'} is there without Rancher",
            str(fleet.where),
            f"it is {fleet.owner or 'of somebody unknown'}, and Rancher installs its own",
            "uninstall it first, or add --without-rancher --delivery fleet",
        )


def _without_rancher(there: Software) -> None:
    rancher = _one(there, found.RANCHER)
    if rancher is not None:
        _refuse(
            "Rancher is there",
            str(rancher.where),
            "a plane without Rancher would share Cluster API with it",
            "leave --without-rancher out",
        )
    left = next((one for one in there.get(found.CORE) or () if not one.runs and one.owner != OURS), None)
    if left is not None:
        _refuse(
            "there are kinds of Cluster API, and nobody who works on them",
            str(left.where),
            f"no Deployment of its core is there{'; they are ' + left.owner if left.owner else ''}",
            "take them away with the tool that made them, or bring it back with that",
        )
    theirs = {what: one for what in PROVIDERS if (one := _one(there, what)) and one.owner != OURS}
    if not theirs:
        return
    absent = [what for what in PROVIDERS if what not in theirs]
    core = theirs.get(found.CORE)
    if absent:
        _refuse(
            f"Cluster API is there in part: {', '.join(theirs)}",
            ", ".join(str(one.where) for one in theirs.values()),
            f"without {', '.join(absent)}",
            "add what is missing with the tool that installed the rest",
        )
    if core is not None and (why := compatibility.refuse_core(core.version)):
        _refuse(
            f"Cluster API core {core.version or 'of unknown version'} is there and can not be used",
            str(core.where),
            f"{why}; it is {core.owner or 'of somebody unknown'}",
            f"bring it to {compatibility.WITHOUT_RANCHER.core}, or use another cluster",
        )
    if len({one.version for one in theirs.values()}) > 1:
        _refuse(
            "the providers of Cluster API are of different versions",
            ", ".join(f"{one.what} {one.version}" for one in theirs.values()),
            "the kubeadm control plane provider needs a bootstrap provider of its own version",
            "bring them to one version",
        )


def _one(there: Software, what: str) -> Installed | None:
    """What runs; kinds that somebody has left behind do not count."""
    return next((one for one in there.get(what) or () if one.runs), None)


def _refuse(what: str, on: str, why: str, fix: str) -> NoReturn:
    raise Refused(what, on=on, why=why, fix=fix)
