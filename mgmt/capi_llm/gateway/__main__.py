"""``python -m capi_llm.gateway``: run by a workload cluster's supervisor, not by people."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from capi_llm.gateway.runner import Runner
from capi_llm.kube.client import Api
from capi_llm.kube.served import serve
from capi_llm.settings import command_environment
from capi_llm.waiting import Cancel

AGENT = "capi-llm-gateway"


def main() -> int:
    parser = argparse.ArgumentParser(prog="capi_llm.gateway", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to log in to the cluster")
    parser.add_argument("--folder", type=Path, required=True, help="where LiteLLM's files are")
    parser.add_argument("--port", type=int, required=True, help="where LiteLLM listens")
    parser.add_argument("--of", help="version of capi-llm whose supervisor started this; for that one to see")
    options = parser.parse_args()

    def work(api: Api, cancel: Cancel) -> None:
        Runner(api, options.folder, options.port, command_environment(), cancel).run()

    return serve(options.kubeconfig, work, agent=AGENT)


if __name__ == "__main__":
    sys.exit(main())
