"""What of a sandbox's clusters is simulated, and what stands behind their pods, in words."""

from __future__ import annotations

from collections.abc import Mapping

from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.workload import gateways, has_gateway

LITELLM = ("llm", "litellm")
"""Namespace and name of the Service whose pods may have a real LiteLLM behind them."""

ANSWERED = "simulated pod, answered by a real LiteLLM on this machine; only models on 127.0.0.1 are real"
NOTHING = "simulated pod: nothing answers behind it"
PODS = "nodes and pods"
PODS_ANSWERED = f"{PODS}; a real LiteLLM answers for litellm, with mocks of all models not on 127.0.0.1"
MACHINES = "machines and their API server"
_HOW = "pip install 'capi-llm[gateway]' puts a real LiteLLM there"


def of_clusters(sandbox: Layout, processes: Mapping[tuple[str, str], bool]) -> dict[tuple[str, str], str]:
    """What is simulated of each cluster, by namespace and name.

    ``processes`` says whether its control plane is one: processes of its own.
    """
    answered = gateways(sandbox) if any(processes.values()) else set()
    return {
        key: (PODS_ANSWERED if key in answered else PODS) if real else MACHINES
        for key, real in processes.items()
    }


def behind(sandbox: Layout, cluster: tuple[str, str] | None, service: tuple[str, str]) -> str:
    """What answers behind ``service`` (namespace, name) of a workload cluster (likewise).

    ``cluster`` is None for the sandbox's own API server.
    """
    if cluster is None or service != LITELLM:
        return NOTHING
    return ANSWERED if has_gateway(sandbox, *cluster) else f"{NOTHING}; {_HOW}"
