"""Making a plane, looking at it, and taking it away."""

from __future__ import annotations

import contextlib

from capi_llm import locks
from capi_llm.errors import NotFound, Refused
from capi_llm.forward.records import Records
from capi_llm.identity import Identities, Identity, Newer
from capi_llm.plane import recipes
from capi_llm.plane.making import choose, identity
from capi_llm.sandbox import ports, remains, reservations
from capi_llm.settings import Settings
from capi_llm.steps import engine
from capi_llm.steps.context import Context, Plane, Report, Silent
from capi_llm.steps.overview import Overview
from capi_llm.waiting import Cancel


def bootstrap(
    settings: Settings,
    *,
    name: str = "",
    kind: str = "",
    cancel: Cancel | None = None,
    report: Report | None = None,
    recipe: engine.Recipe = (),
    upgrade: bool = False,
    patience: float | None = None,
) -> list[engine.Result]:
    """Make the plane, or bring back what is missing of it. Changes nothing where nothing is missing.

    ``recipe`` stands in for that of the plane's kind. With ``upgrade``, what capi-llm has installed is
    taken to the versions of this one, or of the Rancher that is asked for. ``patience`` (seconds) is how
    long each step on a real cluster may take, in place of its own budget.

    Raises BadInput, PrerequisiteMissing, Refused before anything is touched; StepFailed, TimedOut,
    Interrupted later, after which the same call goes on.
    """
    identities = Identities(settings.state)
    folder = settings.state / "locks"
    chosen = choose(settings, name, kind)
    command = f"bootstrap --name {chosen.name}"
    with locks.hold(folder, chosen.name, command=command):
        # Ports are assigned and written down in one go, so that two new planes never share one.
        with (
            reservations.alone(settings.state, command)
            if chosen.kind == "sandbox"
            else locks.hold(folder, ".planes", command=command, wait=True)
        ):
            ctx = _context(settings, identity(settings, chosen, upgrade=upgrade), cancel, report)
            recipe = recipe or _recipe(ctx, upgrade=upgrade)
            if patience is not None and ctx.identity.kind != "sandbox":
                recipe = _patient(recipe, patience)
            engine.preflight(recipe, ctx)
            if identities.find(chosen.name) != ctx.identity:
                identities.save(ctx.identity)
        with contextlib.closing(ctx.plane):
            return engine.run(recipe, ctx)


def plan(settings: Settings, *, name: str = "", kind: str = "", upgrade: bool = False) -> Overview:
    """What :func:`bootstrap` would find and do, without changing anything."""
    found = identity(settings, choose(settings, name, kind), upgrade=upgrade)
    return _overview(_context(settings, found), upgrade=upgrade)


def overview(settings: Settings, name: str = "") -> Overview:
    """The plane's steps as they are now. Changes nothing and takes no lock."""
    found = Identities(settings.state).resolve(name, settings.plane)
    return _overview(_context(settings, found), glance=True)


def _overview(ctx: Context, *, glance: bool = False, upgrade: bool = False) -> Overview:
    with contextlib.closing(ctx.plane):
        steps = engine.probe_all(_recipe(ctx, upgrade=upgrade), ctx, glance=glance)
        return Overview(ctx.identity, tuple(steps))


def _patient(recipe: engine.Recipe, seconds: float) -> engine.Recipe:
    for step in recipe:  # made for this plane just now, all but the ground
        step.timeout = seconds
    return recipe


def destroy(
    settings: Settings, *, name: str = "", cancel: Cancel | None = None, report: Report | None = None
) -> str:
    """Take the plane away with everything on it; returns its name. Raises NotFound if there is none."""
    identities = Identities(settings.state)
    found = to_destroy(settings, identities, name)
    recipes.check_kind(found)
    folder = settings.state / "locks"
    with locks.hold(folder, found.name, command=f"destroy --name {found.name}"):
        ctx = _context(settings, found, cancel, report)
        remains.forget_kubeconfigs(settings.state, settings.kubeconfigs, found)
        forwards = Records(settings.state)
        for run in forwards.running(found.name):
            forwards.stop(run)
        with contextlib.closing(ctx.plane):
            engine.remove(recipes.of(found), ctx)
        remains.forget_merged(found)
        identities.remove(found.name)
        locks.remove(folder, found.name)
    with locks.hold(folder, ".planes", command="destroy", wait=True):
        if not identities.names():
            locks.remove(folder, ".planes")
    remains.remove_empty(settings.state)
    return found.name


def to_destroy(settings: Settings, identities: Identities, name: str) -> Identity:
    """The plane to destroy, also where only its folder is left. Raises NotFound, Refused."""
    chosen = name or settings.plane
    try:
        return identities.resolve(chosen, "")
    except NotFound:
        left = chosen or remains.found(settings.state)
        if not left or not remains.of(settings.state, left):
            raise
    except Newer:
        raise
    except Refused:
        left = chosen
        if not left or not identities.path(left).exists():
            raise
    # The plane file is gone or broken: what is left of a sandbox still says what is its own.
    return remains.identity(settings.state, left)


def _recipe(ctx: Context, *, upgrade: bool = False) -> engine.Recipe:
    """The plane's recipe. Raises Refused where its file does not say enough to follow it."""
    found = ctx.identity
    recipe = recipes.of(found, upgrade=upgrade, more=ctx.settings.providers)
    absent = sorted(set(ports.NAMES) - set(found.ports))
    if found.kind == "sandbox" and (absent or not ports.is_loopback(found.loopback)):
        raise Refused(
            f"the file of plane {found.name!r} does not say enough",
            on=str(Identities(ctx.settings.state).path(found.name)),
            why=f"no port of {', '.join(absent)}" if absent else f"its address is {found.loopback!r}",
            fix=f"restore the file, or capi-llm destroy --name {found.name} --yes",
        )
    return recipe


def _context(
    settings: Settings, found: Identity, cancel: Cancel | None = None, report: Report | None = None
) -> Context:
    plane = Plane(Identities(settings.state), found)
    return Context(settings, plane, cancel or Cancel(), report or Silent())
