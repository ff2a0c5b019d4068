"""Answers that come in lines: watches, and logs of containers."""

from __future__ import annotations

from collections.abc import Mapping

from capi_llm.kube.client import Api
from capi_llm.kube.resources import Ref, Resource
from capi_llm.kube.transport import Stream

_READ_SECONDS = 30.0


def watch(
    api: Api, resource: Resource, namespace: str | None, *, query: Mapping[str, str], read_timeout: float
) -> Stream:
    """Open a watch; see :mod:`.informer`, which is the way to use it."""
    return api.stream(
        resource.path(namespace),
        query={**query, "watch": "1"},
        read_timeout=read_timeout,
        what="can not watch",
        on=resource.in_words(namespace),
        accept="application/json",
    )


def log(
    api: Api, pod: Ref, container: str, *, tail: int, follow: bool = False, previous: bool = False
) -> Stream:
    """The last ``tail`` lines of a container's log, and with ``follow`` those that come.

    ``previous``: that of the container before its last restart.
    """
    query = {"container": container, "tailLines": str(tail)}
    query |= {"follow": "true"} if follow else {}
    query |= {"previous": "true"} if previous else {}
    return api.stream(
        f"{pod.path}/log",
        query=query,
        read_timeout=None if follow else _READ_SECONDS,
        what="can not read the log",
        on=str(pod),
        accept="*/*",
    )
