"""The plane that a command acts on, and the locks of those that change something."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from capi_llm import locks
from capi_llm.errors import ApiError, Unavailable
from capi_llm.identity import Identities, check_uid, writable
from capi_llm.plane import recipes
from capi_llm.settings import Settings
from capi_llm.steps.context import Plane


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
        recipes.check_kind(plane.identity)
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
