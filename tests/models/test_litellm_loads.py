"""Every configuration that is rendered is loaded by the real LiteLLM."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from capi_llm.backends import TYPES
from capi_llm.models import litellm
from capi_llm.sandbox import executables
from capi_llm.settings import Backend, KeyRef, Model, Serving, Settings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed: scripts/python gateway"
)

BUNDLE = Path(__file__).parent.parent.parent / "bundles/litellm-config"
LOAD = """
import asyncio, json, sys
from litellm.proxy.proxy_server import ProxyConfig

async def main():
    for path in sys.argv[1:]:
        router, models, general = await ProxyConfig().load_config(router=None, config_file_path=path)
        found = {
            name: [item["model_info"]["id"] for item in router.get_model_list(model_name=name) or []]
            for name in router.get_model_names()
        }
        print("LOADED", json.dumps({
            "names": found, "fallbacks": router.fallbacks, "checks": router.optional_callbacks is not None,
            "master": str(general["master_key"]), "timeout": router.timeout,
        }))

asyncio.run(main())
"""
_WITH_URL = {"vllm", "sglang", "openai-compatible", "bentoml"}


def every_type() -> tuple[Model, ...]:
    return tuple(
        Model(
            f"of/{kind}",
            (
                Backend(
                    kind, kind, "some/model", "http://127.0.0.1:9/v1" if kind in _WITH_URL else "",
                    key=KeyRef(secret="s", key="k") if kind not in ("ollama", "mock") else None,
                ),
            ),
            context_length=4096,
            timeout=60,
            stream_timeout=5,
        )
        for kind in TYPES
    )  # fmt: skip


CASES: dict[str, tuple[Model, ...]] = {
    "every type": every_type(),
    "canary with fallback and limits": (
        Model(
            "chat",
            (Backend("primary", "mock", "m", weight=90), Backend("canary", "mock", "m", weight=10)),
            fallbacks=("small",),
            requests_per_minute=100,
            tokens_per_minute=1000,
        ),
        Model("small", (Backend("vllm", "vllm", "a/b", serving=Serving()),)),
    ),
    "promoted": (
        Model(
            "chat", (Backend("primary", "mock", "m", weight=0), Backend("canary", "mock", "m", weight=100))
        ),
    ),
    "all others": (Model("*", (Backend("vllm", "vllm", "*", "http://127.0.0.1:9/v1"),)),),
    "none": (),
}
EXPECTED: dict[str, set[str]] = {
    "every type": {f"of/{kind}" for kind in TYPES},
    "canary with fallback and limits": {"chat", "small"},
    "promoted": {"chat", "chat@primary"},
    "all others": {"*"},
    "none": set(),
}


def test_every_configuration_is_loaded(tmp_path: Path) -> None:
    helm = executables.bring(Settings.from_environment())["helm"]
    for number, models in enumerate(CASES.values()):
        done = subprocess.run(
            [str(helm), "template", "litellm-config", str(BUNDLE), "--values", "-"],
            input=json.dumps(litellm.values(models)),
            text=True,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        data = yaml.safe_load(done.stdout)["data"]
        (tmp_path / f"{number}.yaml").write_text(data["config.yaml"])
        (tmp_path / "hooks.py").write_text(data["hooks.py"])
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, *(str(tmp_path / f"{n}.yaml") for n in range(len(CASES)))],
        text=True,
        capture_output=True,
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": "sk-of-the-test", "KEY_S_K": "word", "OPENAI_API_KEY": "word",
            "DEEPSEEK_API_KEY": "word",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    loaded: list[dict[str, Any]] = [
        json.loads(line.removeprefix("LOADED "))
        for line in done.stdout.splitlines()
        if line.startswith("LOADED ")
    ]
    assert len(loaded) == len(CASES)
    for (name, expected), found in zip(EXPECTED.items(), loaded, strict=True):
        assert set(found["names"]) == expected, name
        assert found["master"] == "sk-of-the-test"
        assert found["timeout"] == 600
    assert loaded[1]["names"]["chat"] == ["chat@primary", "chat@canary"]
    assert loaded[1]["fallbacks"] == [{"chat": ["small"]}]
