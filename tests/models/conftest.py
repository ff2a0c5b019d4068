"""Backends of the tests' own, and a real LiteLLM in front of them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import KEY, MODEL, Backends, serving

from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_client import GatewayClient
from capi_llm.models.smoke import until_live
from capi_llm.settings import Secret

LITELLM_KEY = "sk-of-litellm-here"


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def litellm(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The real LiteLLM on loopback. A model ``KIND`` is answered by the backend of that kind."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("LiteLLM is not installed: scripts/python gateway")
    folder = tmp_path_factory.mktemp("litellm")
    kinds = ("good", "silent", "empty", "empty-stream", "error", "error-later")
    models = [
        {
            "model_name": kind,
            "litellm_params": {
                "model": f"openai/{MODEL}", "api_base": f"{backends.url(kind)}/v1", "api_key": KEY,
            },
        }
        for kind in kinds
    ]  # fmt: skip
    config = {
        "model_list": models,
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gateway = Gateway(f"http://127.0.0.1:{port}", key=Secret(LITELLM_KEY))
    with _started(folder, port), GatewayClient(gateway, within=30) as client:
        until_live(client, 180)
        yield gateway


@contextlib.contextmanager
def _started(folder: Path, port: int) -> Iterator[None]:
    """LiteLLM as the sandbox starts it: it ends when its stdin does."""
    command = [
        sys.executable, "-P", "-m", "capi_llm.gateway.server",
        f"--config={folder / 'config.yaml'}", "--host=127.0.0.1", f"--port={port}", "--telemetry=False",
    ]  # fmt: skip
    env = {
        **os.environ,
        "HOME": str(folder),
        "LITELLM_MASTER_KEY": LITELLM_KEY,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            child.kill()
            child.communicate()
