"""Registry mirrors of the host's Docker, as the class of Docker clusters is told of them.

Each machine has a containerd of its own, which knows nothing of the host's Docker. What is said here
holds for new clusters where nobody says otherwise, and is never compared with one that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capi_llm.clusters.machine_images import has_containers
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.containers import mirrors
from capi_llm.containers.docker import Docker
from capi_llm.errors import CapiLlmError
from capi_llm.settings import command_environment

VARIABLE = "registryMirrors"


def offered(
    spec: ClusterSpec, *, report: Callable[[str], None] = lambda text: None
) -> dict[str, list[dict[str, Any]]]:
    """Variables of ``spec`` that Docker's mirrors fill in; none where its class is another, or Docker
    does not answer here.

    A mirror with a user or password in its address is left out, and ``report`` says so: what a class is
    told can be read by whoever reads the Cluster.
    """
    docker = Docker.here(command_environment())
    if not has_containers(spec.cluster_class) or VARIABLE in spec.variables or docker is None:
        return {}
    try:
        found = mirrors.of(docker)
    except CapiLlmError:
        return {}
    good = mirrors.without_users(found)
    if len(good) < len(found):
        report("A registry mirror of Docker has a password in its address; machines are not told of it.")
    if not good:
        return {}
    return {VARIABLE: [{"registry": mirrors.HUB, "mirrors": [url.rstrip("/") for url in good]}]}
