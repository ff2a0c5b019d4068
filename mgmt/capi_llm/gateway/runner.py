"""Runs LiteLLM as the cluster wants it: started, started again with every change, ended."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from capi_llm.errors import CapiLlmError
from capi_llm.files import private_folder, write_private
from capi_llm.gateway.model import DEPLOYMENT, KEY_VARIABLE, NAMESPACE, Wanted, wanted
from capi_llm.kube.client import Api
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, SECRETS
from capi_llm.shell import Child, beside, end
from capi_llm.waiting import Cancel, Wakeup

_LOOK_SECONDS = 1.0
"""Between two looks where nothing changes: a child that ended makes no event."""
_PAUSE_SECONDS = 5.0
"""Before one that ended by itself is started again."""
_END_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Runner:
    """LiteLLM on ``port`` of loopback, with its files in ``folder`` and ``environment`` around it."""

    def __init__(
        self, api: Api, folder: Path, port: int, environment: dict[str, str], cancel: Cancel
    ) -> None:
        self._folder, self._port, self._cancel = folder, port, cancel
        self._environment = environment
        self._deployments, self._maps, self._secrets = (
            Informer(api, kind, NAMESPACE) for kind in (DEPLOYMENTS, CONFIGMAPS, SECRETS)
        )
        self._now: Wanted | str = ""
        self._child: Child | None = None

    def run(self) -> None:
        """Until it is cancelled."""
        bell = Wakeup()
        self._cancel.attach(bell)
        with ExitStack() as stack:
            stack.callback(self._end)
            for informer in (self._deployments, self._maps, self._secrets):
                informer.add_wakeup(bell)
                stack.enter_context(_started(informer))
            while not self._cancel.is_set:
                rings = bell.rings()
                self._look()
                bell.wait(rings, _LOOK_SECONDS)

    def _look(self) -> None:
        try:
            found = wanted(
                self._deployments.find(DEPLOYMENT, NAMESPACE),
                lambda name: self._maps.find(name, NAMESPACE),
                lambda name: self._secrets.find(name, NAMESPACE),
            )
        except CapiLlmError:
            return  # nothing is known yet, or the API server is away: what runs goes on
        if found != self._now:
            self._end()
            self._now = found
            if isinstance(found, Wanted):
                self._start(found)
            else:
                _log.info("LiteLLM does not run: %s", found)
        elif isinstance(found, Wanted) and self._child is not None and self._child.poll() is not None:
            _log.warning("LiteLLM ended with %s, it is started again", self._child.returncode)
            self._cancel.sleep(_PAUSE_SECONDS)
            self._start(found)

    def _start(self, found: Wanted) -> None:
        if self._cancel.is_set:
            return
        _log.info("LiteLLM is started on port %s", self._port)
        config = self._folder / "config.yaml"
        write_private(config, found.config)
        home = self._folder / "home"
        private_folder(home)
        self._child = beside(
            [
                sys.executable, "-P", "-m", "capi_llm.gateway.server",
                f"--config={config}", "--host=127.0.0.1", f"--port={self._port}", "--telemetry=False",
            ],
            env={
                **self._environment,
                "HOME": str(home),
                KEY_VARIABLE: found.key,
                "LITELLM_MODE": "PRODUCTION",
                # The table of prices comes with LiteLLM, not from the internet.
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            cwd=home,
        )  # fmt: skip

    def _end(self) -> None:
        if self._child is not None:
            end(self._child, _END_SECONDS)
            self._child = None


@contextmanager
def _started(informer: Informer) -> Iterator[None]:
    informer.start()
    try:
        yield
    finally:
        informer.stop()
