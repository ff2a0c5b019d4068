"""What stands behind the simulated pods of a sandbox, in words."""

from __future__ import annotations

from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.workload import has_gateway

LITELLM = ("llm", "litellm")
"""Namespace and name of the Service whose pods may have a real LiteLLM behind them."""

ANSWERED = "simulated pod, answered by a real LiteLLM on this machine with mock models"
NOTHING = "simulated pod: nothing answers behind it"
_HOW = "pip install 'capi-llm[gateway]' puts a real LiteLLM there"


def behind(sandbox: Layout, cluster: tuple[str, str] | None, service: tuple[str, str]) -> str:
    """What answers behind ``service`` (namespace, name) of a workload cluster (likewise).

    ``cluster`` is None for the sandbox's own API server.
    """
    if cluster is None or service != LITELLM:
        return NOTHING
    return ANSWERED if has_gateway(sandbox, *cluster) else f"{NOTHING}; {_HOW}"
