"""The main program of a process of ours beside an API server: run by a supervisor, not by people."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path

from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.credentials import Credentials
from capi_llm.waiting import Cancel


def serve(kubeconfig: Path, work: Callable[[Api, Cancel], None], *, agent: str) -> int:
    """Do ``work`` until SIGTERM or SIGINT sets its Cancel; returns the exit code of the process.

    Requests carry the name ``agent`` and are not tried again: ``work`` comes back to everything.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    cancel = Cancel()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: cancel.set())
    try:
        with Api(Credentials(kubeconfig, agent=agent), retry_for=0) as api:
            work(api, cancel)
    except CapiLlmError as error:
        logging.getLogger(agent).error("%s", error)
        return 1
    return 0
