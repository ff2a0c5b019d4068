"""Management planes: the recipe of each kind, and what is done with them.

A recipe is the literal tuple below, in the order in which things are there; a step
starts as soon as the steps that it needs are ready.
"""

from __future__ import annotations

import contextlib
import difflib
import secrets
from collections.abc import Iterator
from pathlib import Path

from capi_llm import locks
from capi_llm.errors import ApiError, BadInput, NotFound, Refused, Unavailable
from capi_llm.forward.records import Records
from capi_llm.identity import Identities, Identity, Newer, check_name, check_uid, writable
from capi_llm.sandbox import ports, remains, workload
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.parts import MANAGERS, PROVIDER
from capi_llm.sandbox.supervisor import instance_of
from capi_llm.settings import Settings
from capi_llm.steps import engine
from capi_llm.steps.certificates import Certificates
from capi_llm.steps.classes import ClusterClasses
from capi_llm.steps.cluster_api import ClusterApi
from capi_llm.steps.context import Context, Plane, Report, Silent
from capi_llm.steps.executables import Executables
from capi_llm.steps.kwok_provider import ProviderKinds
from capi_llm.steps.overview import Overview
from capi_llm.steps.processes import ApiServer, Process, SupervisorRuns
from capi_llm.steps.simulated_node import SimulatedNode
from capi_llm.waiting import Cancel

DEFAULT_CLASS = "kwok-llm-clusterclass"
"""Class of a cluster that names none, on a sandbox: its API server is a real one, apps can be put there."""

IN_MEMORY_CLASS = "in-memory-llm-clusterclass"
"""For many machines and rollouts of control planes: no process of its own for each cluster."""

SANDBOX: engine.Recipe = (
    Executables(),
    Certificates(),
    SupervisorRuns(needs=("executables", "certificates")),
    Process("etcd", needs=("supervisor",)),
    ApiServer(needs=("etcd",)),
    Process("kube-controller-manager", needs=("kube-apiserver",)),
    Process("kube-scheduler", needs=("kube-apiserver",)),
    Process("kwok", needs=("kube-apiserver",)),
    SimulatedNode(needs=("kwok",)),
    ClusterApi(needs=("kube-apiserver",)),
    Process("capi-core", needs=("cluster-api",)),
    Process("capi-bootstrap", needs=("cluster-api",)),
    Process("capi-control-plane", needs=("cluster-api",)),
    Process("capi-docker", needs=("cluster-api",)),
    ProviderKinds(needs=("kube-apiserver",)),
    Process(PROVIDER, needs=("cluster-api", "kwok-kinds")),
    ClusterClasses((IN_MEMORY_CLASS, DEFAULT_CLASS), needs=(*MANAGERS, "kwok-kinds")),
)

RECIPES: dict[str, engine.Recipe] = {"sandbox": SANDBOX}
KINDS = tuple(RECIPES)
DEFAULT_NAME = "sandbox"
CLASS_NAMESPACE = "default"
"""Where bootstrap puts the shipped classes."""

PARTS = tuple(step.name for step in SANDBOX if isinstance(step, Process | SupervisorRuns))
"""What ``logs`` has a log of."""


def bootstrap(
    settings: Settings,
    *,
    name: str = "",
    kind: str = "",
    cancel: Cancel | None = None,
    report: Report | None = None,
    recipe: engine.Recipe = (),
) -> list[engine.Result]:
    """Make the plane, or bring back what is missing of it. Changes nothing where nothing is missing.

    ``recipe`` stands in for that of the plane's kind. Raises BadInput, PrerequisiteMissing,
    Refused before anything is touched; StepFailed, TimedOut, Interrupted later, after which the
    same call goes on.
    """
    identities = Identities(settings.state)
    folder = settings.state / "locks"
    name = choose_name(settings, name)
    kind = kind or settings.kind
    _check_kind(kind)
    with locks.hold(folder, name, command=f"bootstrap --name {name}"):
        # Ports are assigned and written down in one go, so that two new planes never share one.
        with locks.hold(folder, ".planes", command=f"bootstrap --name {name}", wait=True):
            ctx = _context(settings, _identity(settings, name, kind), cancel, report)
            recipe = recipe or _recipe(ctx)
            engine.preflight(recipe, ctx)
            if identities.find(name) is None:
                identities.save(ctx.identity)
        with contextlib.closing(ctx.plane):
            return engine.run(recipe, ctx)


def plan(settings: Settings, *, name: str = "", kind: str = "") -> Overview:
    """What :func:`bootstrap` would find and do, without changing anything."""
    name = choose_name(settings, name)
    return _overview(_context(settings, _identity(settings, name, kind or settings.kind)))


def overview(settings: Settings, name: str = "") -> Overview:
    """The plane's steps as they are now. Changes nothing and takes no lock."""
    identity = Identities(settings.state).resolve(name, settings.plane)
    return _overview(_context(settings, identity), glance=True)


def _overview(ctx: Context, *, glance: bool = False) -> Overview:
    with contextlib.closing(ctx.plane):
        return Overview(ctx.identity, tuple(engine.probe_all(_recipe(ctx), ctx, glance=glance)))


def destroy(
    settings: Settings, *, name: str = "", cancel: Cancel | None = None, report: Report | None = None
) -> str:
    """Take the plane away with everything on it; returns its name. Raises NotFound if there is none."""
    identities = Identities(settings.state)
    identity = to_destroy(settings, identities, name)
    _known(identity)
    folder = settings.state / "locks"
    with locks.hold(folder, identity.name, command=f"destroy --name {identity.name}"):
        ctx = _context(settings, identity, cancel, report)
        remains.forget_kubeconfigs(settings.state, settings.kubeconfigs, identity)
        forwards = Records(settings.state)
        for run in forwards.running(identity.name):
            forwards.stop(run)
        with contextlib.closing(ctx.plane):
            engine.remove(RECIPES[identity.kind], ctx)
        remains.forget_merged(identity)
        identities.remove(identity.name)
        locks.remove(folder, identity.name)
    with locks.hold(folder, ".planes", command="destroy", wait=True):
        if not identities.names():
            locks.remove(folder, ".planes")
    remains.remove_empty(settings.state)
    return identity.name


@contextlib.contextmanager
def connected(settings: Settings, name: str = "") -> Iterator[Plane]:
    """The plane that a command acts on, with its API server once it is asked for."""
    plane = Plane(Identities(settings.state), Identities(settings.state).resolve(name, settings.plane))
    with contextlib.closing(plane):
        try:
            yield plane
        except ApiError as error:
            if isinstance(error, Unavailable):
                error.fix = error.fix or (
                    "capi-llm status says what is missing, capi-llm bootstrap brings it back"
                )
            elif error.status == 401 or error.reason == "Untrusted":
                error.fix = "capi-llm status says which certificate has expired, capi-llm bootstrap renews it"
            raise


@contextlib.contextmanager
def working(settings: Settings, name: str, command: str) -> Iterator[Plane]:
    """Like :func:`connected`, for commands that change clusters: the plane is not destroyed meanwhile.

    Its lock is shared, so that clusters are worked on side by side.
    """
    with connected(settings, name) as plane:
        writable(plane.identity)
        _known(plane.identity)
        with locks.hold(settings.state / "locks", plane.identity.name, command=command, shared=True):
            check_uid(plane.identity, plane.api().uid())
            yield plane


@contextlib.contextmanager
def cluster_lock(
    settings: Settings, plane: Plane, cluster: str, namespace: str, command: str
) -> Iterator[None]:
    """Keep other commands out of one cluster. Raises Refused, naming the holder."""
    from capi_llm.kube.lease import LeaseLock

    own = f"{plane.identity.name}.{namespace}.{cluster}"
    with (
        locks.hold(settings.state / "locks", own, command=command),
        LeaseLock(plane.api(), f"capi-llm.{namespace}.{cluster}", "kube-system", command=command),
    ):
        yield


@contextlib.contextmanager
def working_on_cluster(
    settings: Settings, name: str, cluster: str, namespace: str, command: str
) -> Iterator[Plane]:
    """:func:`working`, with the lock of one cluster."""
    with (
        working(settings, name, command) as plane,
        cluster_lock(settings, plane, cluster, namespace, command),
    ):
        yield plane


def choose_name(settings: Settings, name: str) -> str:
    """The name of the plane to make or to resume."""
    identities = Identities(settings.state)
    names = identities.names()
    chosen = name or settings.plane or identities.used() or (names[0] if len(names) == 1 else "")
    if not chosen and names:
        return identities.resolve("", "").name  # refuses, and says how to name one
    return check_name(chosen or DEFAULT_NAME, "plane name")


def _identity(settings: Settings, name: str, kind: str) -> Identity:
    _check_kind(kind)
    found = Identities(settings.state).find(name)
    if found is None:
        return _new_sandbox(settings, name)
    if kind and kind != found.kind:
        raise Refused(
            f"plane {name!r} is of kind {found.kind}",
            why=f"kind {kind} was asked for",
            fix=f"leave --plane and plane.kind out, or choose another --name for a plane of kind {kind}",
        )
    writable(found)
    return found


def _recipe(ctx: Context) -> engine.Recipe:
    """The plane's recipe. Raises Refused where its file does not say enough to follow it."""
    identity = ctx.identity
    _known(identity)
    absent = sorted(set(ports.NAMES) - set(identity.ports))
    if absent or not ports.is_loopback(identity.loopback):
        raise Refused(
            f"the file of plane {identity.name!r} does not say enough",
            on=str(Identities(ctx.settings.state).path(identity.name)),
            why=f"no port of {', '.join(absent)}" if absent else f"its address is {identity.loopback!r}",
            fix=f"restore the file, or capi-llm destroy --name {identity.name} --yes",
        )
    return RECIPES[identity.kind]


def _known(identity: Identity) -> None:
    if identity.kind not in RECIPES:
        raise Refused(
            f"plane {identity.name!r} is of kind {identity.kind!r}, which this capi-llm does not know",
            why=f"it knows: {', '.join(KINDS)}",
            fix="use the capi-llm that made it",
        )


def _check_kind(kind: str) -> None:
    if kind and kind not in RECIPES:
        raise BadInput(
            f"plane kind {kind!r} is not supported in this version",
            why=f"there are: {', '.join(KINDS)}",
            fix="capi-llm bootstrap --plane sandbox",
        )


def _new_sandbox(settings: Settings, name: str) -> Identity:
    others = Identities(settings.state).all()
    folder = layout(settings.state, name)
    return Identity(
        name=name,
        kind="sandbox",
        kubeconfig=str(folder.admin_kubeconfig),
        context=f"capi-llm-{name}",
        # Where only the plane file was lost, what still runs is known by its word and taken over.
        instance=instance_of(folder) or secrets.token_hex(8),
        loopback=ports.assign_loopback(plane.loopback for plane in others),
        ports=ports.assign(workload.reserved_ports(settings.state)),
    )


def log_path(settings: Settings, identity: Identity, part: str) -> Path:
    """The log file of ``part`` of a sandbox. Raises BadInput for a part that there is not."""
    if part == "audit":
        return layout(settings.state, identity.name).audit_log
    if part not in PARTS:
        near = difflib.get_close_matches(part, PARTS, 1)
        raise BadInput(
            f"there is no part {part!r}",
            why=f"there are: {', '.join((*PARTS, 'audit'))}",
            fix=f"did you mean {near[0]!r}?"
            if near
            else "name one of them; of an app: capi-llm logs APP CLUSTER",
        )
    return layout(settings.state, identity.name).log(part)


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


def _context(
    settings: Settings, identity: Identity, cancel: Cancel | None = None, report: Report | None = None
) -> Context:
    plane = Plane(Identities(settings.state), identity)
    return Context(settings, plane, cancel or Cancel(), report or Silent())
