"""Management planes: the recipe of each kind, and what is done with them.

A recipe is the literal tuple below, in the order in which things are there; a step
starts as soon as the steps that it needs are ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capi_llm import locks
from capi_llm.errors import BadInput, NotFound, Refused, Unavailable
from capi_llm.identity import Identities, Identity, check_name, check_uid, writable
from capi_llm.kube import kubeconfig
from capi_llm.sandbox import ports
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.sandbox.supervisor import SUPERVISOR, instance_of
from capi_llm.settings import Settings
from capi_llm.steps import engine
from capi_llm.steps.certificates import Certificates
from capi_llm.steps.classes import ClusterClasses
from capi_llm.steps.cluster_api import ClusterApi
from capi_llm.steps.context import Context, Plane, Report, Silent
from capi_llm.steps.executables import Executables
from capi_llm.steps.processes import ApiServer, Process, SupervisorRuns
from capi_llm.steps.simulated_node import SimulatedNode
from capi_llm.waiting import Cancel, Status, pending, ready

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
    ClusterClasses(("in-memory-llm-clusterclass",), needs=MANAGERS),
)

RECIPES: dict[str, engine.Recipe] = {"sandbox": SANDBOX}
KINDS = tuple(RECIPES)
DEFAULT_NAME = "sandbox"
DEFAULT_CLASS = "in-memory-llm-clusterclass"
"""Class of a cluster that names none, on a sandbox."""

CLASS_NAMESPACE = "default"
"""Where bootstrap puts the shipped classes."""

PARTS = tuple(step.name for step in SANDBOX if isinstance(step, Process | SupervisorRuns))
"""What ``logs`` has a log of."""


@dataclass(frozen=True)
class Overview:
    """A plane and the state of its steps: what ``status`` shows of it."""

    identity: Identity
    steps: tuple[engine.Result, ...]

    @property
    def ready(self) -> bool:
        return all(step.status.ready for step in self.steps)

    @property
    def status(self) -> Status:
        """READY, or the first step that is not."""
        wrong = [step for step in self.steps if not step.status.ready]
        return pending(f"{wrong[0].step}: {wrong[0].status.message}") if wrong else ready()

    @property
    def under_way(self) -> bool:
        """Whether it can become ready by itself: something that starts its parts is there."""
        return any(step.step == SUPERVISOR and step.status.ready for step in self.steps)

    @property
    def serves_clusters(self) -> bool:
        """Whether Cluster API's objects can be read."""
        return any(step.step == "cluster-api" and step.status.ready for step in self.steps)


def bootstrap(
    settings: Settings,
    *,
    name: str = "",
    kind: str = "",
    cancel: Cancel | None = None,
    report: Report | None = None,
) -> list[engine.Result]:
    """Make the plane, or bring back what is missing of it. Changes nothing where nothing is missing.

    Raises BadInput, PrerequisiteMissing, Refused before anything is touched; StepFailed,
    TimedOut, Interrupted later, after which the same call goes on.
    """
    identities = Identities(settings.state)
    folder = settings.state / "locks"
    name = choose_name(settings, name)
    _check_kind(kind)
    with locks.hold(folder, name, command=f"bootstrap --name {name}"):
        # Ports are assigned and written down in one go, so that two new planes never share one.
        with locks.hold(folder, ".planes", command=f"bootstrap --name {name}", wait=True):
            ctx = _context(settings, _identity(settings, name, kind), cancel, report)
            recipe = RECIPES[ctx.identity.kind]
            engine.preflight(recipe, ctx)
            if identities.find(name) is None:
                identities.save(ctx.identity)
        with contextlib.closing(ctx.plane):
            return engine.run(recipe, ctx)


def plan(settings: Settings, *, name: str = "", kind: str = "") -> Overview:
    """What :func:`bootstrap` would find and do, without changing anything."""
    name = choose_name(settings, name)
    return _overview(_context(settings, _identity(settings, name, kind)))


def overview(settings: Settings, name: str = "") -> Overview:
    """The plane's steps as they are now. Changes nothing and takes no lock."""
    return _overview(_context(settings, Identities(settings.state).resolve(name, settings.plane)))


def _overview(ctx: Context) -> Overview:
    with contextlib.closing(ctx.plane):
        return Overview(ctx.identity, tuple(engine.probe_all(RECIPES[ctx.identity.kind], ctx)))


def destroy(
    settings: Settings, *, name: str = "", cancel: Cancel | None = None, report: Report | None = None
) -> str:
    """Take the plane away with everything on it; returns its name. Raises NotFound if there is none."""
    identities = Identities(settings.state)
    identity = to_destroy(settings, identities, name)
    folder = settings.state / "locks"
    with locks.hold(folder, identity.name, command=f"destroy --name {identity.name}"):
        ctx = _context(settings, identity, cancel, report)
        with contextlib.closing(ctx.plane):
            engine.remove(RECIPES[identity.kind], ctx)
        _forget_kubeconfigs(settings, identity)
        identities.remove(identity.name)
        locks.remove(folder, identity.name)
    with locks.hold(folder, ".planes", command="destroy", wait=True):
        if not identities.names():
            locks.remove(folder, ".planes")
    _remove_empty(settings.state)
    return identity.name


def _remove_empty(state: Path) -> None:
    for folder in ("planes", "sandboxes", "locks", "."):
        with contextlib.suppress(OSError):  # not empty, or gone
            (state / folder).rmdir()


def _forget_kubeconfigs(settings: Settings, identity: Identity) -> None:
    """Remove saved kubeconfigs that lead to the sandbox or to its simulated machines."""
    servers = {f"https://127.0.0.1:{identity.ports.get('kube-apiserver', 0)}"}
    low, high = ports.IN_MEMORY_RANGE
    servers |= {f"https://{identity.loopback}:{port}" for port in range(low, high)}
    for path in settings.kubeconfigs.glob("kubeconfig-*.yaml"):
        if kubeconfig.server_of(path) in servers:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def connected(settings: Settings, name: str = "") -> Iterator[Plane]:
    """The plane that a command acts on, with its API server once it is asked for."""
    plane = Plane(Identities(settings.state), Identities(settings.state).resolve(name, settings.plane))
    with contextlib.closing(plane):
        try:
            yield plane
        except Unavailable as error:
            error.fix = error.fix or "capi-llm status says what is missing, capi-llm bootstrap brings it back"
            raise


@contextlib.contextmanager
def working_on_cluster(
    settings: Settings, name: str, cluster: str, namespace: str, command: str
) -> Iterator[Plane]:
    """Like :func:`connected`, for commands that change one cluster: others on it are kept out.

    The plane's lock is shared, so that clusters are worked on side by side. Raises Refused,
    naming the holder, where another command works on the cluster or destroys the plane.
    """
    from capi_llm.kube.lease import LeaseLock

    folder = settings.state / "locks"
    with connected(settings, name) as plane:
        writable(plane.identity)
        own = plane.identity.name
        with (
            locks.hold(folder, own, command=command, shared=True),
            locks.hold(folder, f"{own}.{namespace}.{cluster}", command=command),
        ):
            check_uid(plane.identity, plane.api().uid())
            with LeaseLock(plane.api(), f"capi-llm.{namespace}.{cluster}", "kube-system", command=command):
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
            why=f"--plane {kind} was asked for",
            fix=f"leave --plane out, or choose another --name for a plane of kind {kind}",
        )
    writable(found)
    return found


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
        ports=ports.assign(port for plane in others for port in plane.ports.values()),
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
            fix=f"did you mean {near[0]!r}?" if near else "name one of them",
        )
    return layout(settings.state, identity.name).log(part)


def to_destroy(settings: Settings, identities: Identities, name: str) -> Identity:
    """The plane to destroy, also where only its folder is left. Raises NotFound, Refused."""
    chosen = name or settings.plane
    try:
        return identities.resolve(chosen, "")
    except NotFound:
        broken = False
    except Refused:
        if not chosen or not identities.path(chosen).exists():
            raise
        broken = True
    # The plane file is gone or broken: what is left of a sandbox still says which processes are its own.
    folder = layout(settings.state, chosen or DEFAULT_NAME)
    if not broken and not folder.root.exists():
        return identities.resolve(chosen, "")
    return dataclasses.replace(
        Identity(chosen or DEFAULT_NAME, "sandbox", str(folder.admin_kubeconfig), ""),
        instance=instance_of(folder),
    )


def _context(
    settings: Settings, identity: Identity, cancel: Cancel | None = None, report: Report | None = None
) -> Context:
    plane = Plane(Identities(settings.state), identity)
    return Context(settings, plane, cancel or Cancel(), report or Silent())
