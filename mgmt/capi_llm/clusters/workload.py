"""The API server of a workload cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from capi_llm.clusters import kubeconfig
from capi_llm.errors import Unavailable
from capi_llm.kube import kubeconfig as files
from capi_llm.kube.client import Api
from capi_llm.waiting import Cancel


@contextlib.contextmanager
def connected(
    management: Api,
    name: str,
    namespace: str = "default",
    *,
    retry_for: float = 10.0,
    cancel: Cancel | None = None,
) -> Iterator[Api]:
    """The API server of a cluster, by the kubeconfig in its Secret; ``retry_for`` (seconds) as for any.

    Raises NotFound where there is no such cluster, or no kubeconfig of it yet.
    """
    text = kubeconfig.fetch(management, name, namespace)
    with (
        files.held(text) as path,
        Api.from_kubeconfig(path, retry_for=retry_for, cancel=cancel) as api,
    ):
        try:
            yield api
        except Unavailable as error:
            error.fix = error.fix or f"capi-llm wait cluster {name}, then run this command again"
            raise
