"""Forwards local ports into clusters: to the known apps, or to any Service.

``kubectl port-forward`` picks one pod when it starts and dies with it. Here a local port is kept for
the whole life, and every connection to it is brought to a pod that is ready at that moment::

    targets     what a person wants forwarded: app names and svc/NAME:PORT
    routes      pure: from a Service to ready pods, with EndpointSlices; Knative's router
    watched     what is known of a cluster, by informers
    picker      a ready pod for each connection, or a bounded wait for one
    tunnel      one connection to one pod port, a WebSocket through the API server
    heads       the Host header of requests to a Knative Service
    session     one local connection, from its beginning to an honest end
    forwarder   local ports, the event loop and its thread
    records     what runs on this machine, and how it is stopped

Usable as a Python context manager::

    from capi_llm import forward

    with forward.forwarding(Path("kubeconfig-demo.yaml"), "litellm") as local:
        print(local["litellm"].url)

It is the only package with asyncio; the rest of capi-llm is threads, and the informers here too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capi_llm.forward.forwarder import Forward, Report

WAIT_SECONDS = 60.0
"""How long one connection waits for a ready pod."""


@contextlib.contextmanager
def forwarding(
    kubeconfig: Path,
    *words: str,
    context: str | None = None,
    namespace: str = "",
    address: str = "127.0.0.1",
    auto_port: bool = False,
    wait: float = WAIT_SECONDS,
    report: Report | None = None,
) -> Iterator[dict[str, Forward]]:
    """Forward ``words`` (``litellm``, ``svc/NAME:0:PORT``) of the kubeconfig's cluster while the block runs.

    The names are the keys: ``litellm``, ``svc/NAME``. ``namespace`` is where Services are looked
    for, instead of ``default`` or the app's own; ``wait`` is how many seconds one connection waits for
    a ready pod. Raises NotFound, BadInput, PrerequisiteMissing (a busy local port), or what the API
    server says, before the block.
    """
    from capi_llm.forward import finding
    from capi_llm.forward.forwarder import Forwarder
    from capi_llm.kube.client import Api
    from capi_llm.kube.credentials import Credentials

    credentials = Credentials(kubeconfig, context)
    with Api(credentials) as api:
        wanted = finding.targets(api, words, namespace)
    forwarder = Forwarder(address=address, auto_port=auto_port, wait=wait, report=report)
    try:
        yield {forward.name: forward for forward in forwarder.start([(credentials, wanted)])}
    finally:
        forwarder.close()
