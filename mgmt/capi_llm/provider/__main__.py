"""``python -m capi_llm.provider``: run by a sandbox's supervisor, not by people."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from capi_llm.kube.client import Api
from capi_llm.kube.served import serve
from capi_llm.provider.loop import Loop
from capi_llm.provider.readiness import Readiness
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.supervisor import instance_of
from capi_llm.sandbox.workload import Workloads
from capi_llm.waiting import Cancel

AGENT = "capi-llm-kwok-provider"


def main() -> int:
    parser = argparse.ArgumentParser(prog="capi_llm.provider", description=__doc__)
    parser.add_argument("--sandbox", type=Path, required=True, help="folder of the sandbox")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to log in to its API server")
    parser.add_argument("--health", required=True, help="ADDRESS:PORT of the health check")
    parser.add_argument("--of", help="version of capi-llm whose supervisor started this; for that one to see")
    options = parser.parse_args()

    def work(api: Api, cancel: Cancel) -> None:
        sandbox = Layout(options.sandbox)
        loop = Loop(api, Workloads(sandbox, instance_of(sandbox)), cancel)
        with Readiness(options.health, lambda: loop.ready):
            loop.run()

    return serve(options.kubeconfig, work, agent=AGENT)


if __name__ == "__main__":
    sys.exit(main())
