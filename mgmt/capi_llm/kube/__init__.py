"""The Kubernetes API, and the only package that imports ``kubernetes`` or ``urllib3``.

It is synchronous, with threads, and works on plain JSON. From the ground up::

    resources    kinds and names of objects
    plain        the plainest kubeconfig, read without a library
    credentials  a kubeconfig's context: whom to trust, how to log in
    failures     what a refusal means, as one of our exceptions
    transport    one connection pool; retries; streams
    client       Api: get, list, create, patch, delete
    discovery    apiVersion and kind -> resource
    owned        whether an object plainly is as an apply would leave it
    difference   what an apply would change, by the server's dry run
    definitions  new kinds, until the API server serves them
    apply        server-side apply that writes only what differs
    record       what an apply has left, so that a look needs no dry run
    store        what an informer remembers
    informer     the current state of one kind, kept by list and watch
    cache        one informer per kind and namespace, one bell for all waits
    lease        a lock in the cluster, for commands that change things
    kubeconfig   kubeconfig files, written privately

The ``kubernetes`` package only reads kubeconfigs here: raw requests over one pool were
measured ten times faster than its models, and its watch does not survive a restart of
the API server. A wait is a probe over informers: the informer follows the watch, rings
the bell of :mod:`capi_llm.waiting`, and the probe looks at the informer's memory, so
waiting for many objects costs the server one watch per kind.

The names below are imported when first used, as ``urllib3`` alone takes 50 ms.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capi_llm.kube.apply import Applied
    from capi_llm.kube.cache import Informers
    from capi_llm.kube.client import Api
    from capi_llm.kube.discovery import Discovery
    from capi_llm.kube.informer import Informer
    from capi_llm.kube.lease import LeaseLock
    from capi_llm.kube.resources import Object, Ref, Resource

__all__ = [
    "Api",
    "Applied",
    "Discovery",
    "Informer",
    "Informers",
    "LeaseLock",
    "Object",
    "Ref",
    "Resource",
]

_HOME = {
    "Api": "client",
    "Applied": "apply",
    "Discovery": "discovery",
    "Informer": "informer",
    "Informers": "cache",
    "LeaseLock": "lease",
    "Object": "resources",
    "Ref": "resources",
    "Resource": "resources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"capi_llm.kube.{_HOME[name]}"), name)
