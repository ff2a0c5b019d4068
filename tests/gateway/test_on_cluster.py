"""``models route --cluster`` and ``keys --cluster``, with a real LiteLLM behind the pods of a cluster."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandboxes import Sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(
        importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed: scripts/python gateway"
    ),
]

SETTINGS = """\
apiVersion: capi-llm.dev/v1alpha1
models:
  # The first is the one that is there.
  - name: chat
    backends:
      - {name: primary, type: mock, weight: 100}
      - {name: canary, type: mock, weight: 0}
"""


def weights(file: Path) -> dict[str, int]:
    (model,) = yaml.safe_load(file.read_text())["models"]
    return {item["name"]: item["weight"] for item in model["backends"]}


def test_a_canary_and_back(sandbox: Sandbox, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "capi-llm.yaml"
    file.write_text(SETTINGS)

    def cli(*argv: str, check: bool = True) -> Any:
        return sandbox.cli("--config", str(file), *argv, check=check)

    cli("new-cluster", "routes", "-n", namespace, "--workers", "1", "--apps", "litellm")
    cli("smoke", f"{namespace}/routes", "--wait", "600s", "--model", "chat")

    # The cluster is meant that is in that namespace, also where the split is measured.
    on = ("--cluster", "routes", "-n", namespace, "--requests", "60", "-o", "json")
    routed = cli("models", "route", "chat", "primary=50", "canary=50", *on)
    found = json.loads(routed.stdout)
    assert (found["model"], found["requests"], found["failed"]) == ("chat", 60, 0)
    answers = {item["name"]: item["answers"] for item in found["backends"]}
    assert sum(answers.values()) == 60
    assert min(answers.values()) > 0  # all 60 of one: once in 10^17 times
    assert "LiteLLM" in found["simulated"]
    assert weights(file) == {"primary": 50, "canary": 50}
    assert "# The first is the one that is there." in file.read_text()

    # A backend that the gateway does not know yet gets nothing, and nothing is changed.
    cli("models", "add", "chat", "--type", "mock", "--backend", "later")
    before = file.read_text()
    refused = cli("models", "promote", "chat", "later", *on, check=False)
    assert refused.returncode == 1
    assert "backend 'later' of model 'chat' is not ready; nothing was changed" in refused.stderr
    assert file.read_text() == before

    back = cli(
        "models", "rollback", "chat", "--cluster", f"{namespace}/routes", "--requests", "20", "-o", "json"
    )
    answers = {item["name"]: item["answers"] for item in json.loads(back.stdout)["backends"]}
    assert answers == {"primary": 20, "canary": 0, "later": 0}
    assert weights(file) == {"primary": 100, "canary": 0, "later": 0}

    # A sandbox's LiteLLM has no database: its keys are asked for, and it says so.
    for argv in (("list",), ("create", "team"), ("revoke", "team", "--yes")):
        done = cli("keys", *argv, "--cluster", f"{namespace}/routes", check=False)
        assert done.returncode == 3, done.stderr
        assert "the gateway has no database" in done.stderr
        assert "clientKeys: true" in done.stderr
        assert not done.stdout
