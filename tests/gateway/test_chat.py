"""A chat completion through port-forward, answered by a real LiteLLM behind a simulated pod."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest

from capi_llm import forward
from capi_llm.clusters import kubeconfig
from capi_llm.gateway.model import FILE, answer
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, SECRETS, Ref
from capi_llm.sandbox import processes, workload
from capi_llm.sandbox.parts import GATEWAY
from capi_llm.sandbox.simulated import ANSWERED, PODS_ANSWERED
from capi_llm.sandbox.workload import Workloads
from capi_llm.waiting import Waiter, pending, ready, until
from sandboxes import Sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(
        importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed: scripts/python gateway"
    ),
]

TINY = "ollama/tinyllama"


@dataclass(frozen=True)
class Chat:
    """LiteLLM as a program on this machine sees it."""

    url: str
    key: str

    def ask(self, model: str, key: str = "") -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key or self.key}"},
            json={"model": model, "messages": [{"role": "user", "content": "Hello?"}]},
            timeout=60,
        )

    def until_answered(self, model: str) -> str:
        """What ``model`` says, as soon as it says something: LiteLLM takes seconds to start."""
        found: list[str] = []

        def probe():
            try:
                answered = self.ask(model)
            except httpx.TransportError as error:
                return pending(str(error))
            if answered.status_code != 200:
                return pending(answered.text)
            found[:] = [answered.json()["choices"][0]["message"]["content"]]
            return ready()

        until(probe, what=f"an answer of {model}", timeout=120, waiter=Waiter(interval=0.5))
        return found[0]


@contextlib.contextmanager
def forwarded(sandbox: Sandbox, namespace: str) -> Iterator[tuple[Api, Chat]]:
    text = kubeconfig.fetch(sandbox.api, "chat", namespace)
    path = kubeconfig.save(text, "chat", namespace, sandbox.settings.kubeconfigs)
    with Api.from_kubeconfig(path) as api, forward.forwarding(path, "litellm:0") as local:
        data = api.get(Ref(SECRETS, "litellm", "llm"))["data"]
        yield api, Chat(local["litellm"].url, base64.b64decode(data["master-key"]).decode())


def test_a_chat_completion_through_port_forward(sandbox: Sandbox, namespace: str) -> None:
    sandbox.cli("new-cluster", "chat", "-n", namespace, "--workers", "1", "--apps", "litellm")
    listed = json.loads(sandbox.cli("apps", "list", "chat", "-n", namespace, "-o", "json").stdout)
    simulated = {app["name"]: app["simulated"] for app in listed["apps"] if app["delivered"]}
    assert simulated == {"litellm": ANSWERED, "litellm-config": ""}
    (found,) = (item for item in workload.of_sandbox(sandbox.ctx.sandbox) if item.namespace == namespace)
    instance = Workloads(sandbox.ctx.sandbox, sandbox.ctx.identity.instance).instance(found)

    def of_gateway() -> dict[int, psutil.Process]:
        there = processes.running(instance)
        return {pid: psutil.Process(pid) for pid, part in there.items() if part == GATEWAY}

    with forwarded(sandbox, namespace) as (api, chat):
        assert chat.until_answered(TINY) == answer(TINY)
        refused = chat.ask(TINY, key="sk-wrong")
        assert refused.status_code in (400, 401)
        assert "choices" not in refused.text

        # So does what people use: the checks and a question, each through a port-forward of its own.
        asked = sandbox.cli("smoke", f"{namespace}/chat", "--load", "1s", "--concurrency", "2", "-o", "json")
        smoke = json.loads(asked.stdout)
        assert (smoke["ok"], smoke["model"], smoke["gateway"]["simulated"]) == (True, TINY, ANSWERED)
        assert smoke["load"]["requests"] >= 2
        said = sandbox.cli("chat", f"{namespace}/chat", "Hello?")
        assert said.stdout == f"{answer(TINY)}\n"
        assert ANSWERED in said.stderr
        shown = sandbox.cli("status", "chat", "-n", namespace).stdout
        assert shown.endswith(f"Simulated of {namespace}/chat: {PODS_ANSWERED}\n")
        assert chat.key not in asked.stdout + asked.stderr + said.stderr

        # The key is in nobody's arguments, and everything listens on loopback.
        there = of_gateway()
        assert len(there) == 2
        assert not [process for process in there.values() if chat.key in " ".join(process.cmdline())]
        listening = {
            (connection.laddr.ip, connection.laddr.port)
            for process in there.values()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", found.ports[GATEWAY])}

        # A changed configuration reaches it.
        config = api.get(Ref(CONFIGMAPS, "litellm-config", "llm"))["data"][FILE]
        changed = config.replace(f"model_name: {TINY}", "model_name: other")
        assert changed != config
        api.merge_patch(Ref(CONFIGMAPS, "litellm-config", "llm"), {"data": {FILE: changed}})
        assert chat.until_answered("other") == answer("other")
        assert chat.ask(TINY).status_code == 400

        # Killed with nothing to clean up behind it, it takes LiteLLM along, and both come back.
        before = of_gateway()
        (runner,) = (item for item in before.values() if "capi_llm.gateway" in item.cmdline())
        runner.kill()
        _, left = psutil.wait_procs(before.values(), timeout=20)
        assert not left
        assert chat.until_answered("other") == answer("other")

        # Without its Deployment it ends.
        api.merge_patch(Ref(DEPLOYMENTS, "litellm", "llm"), {"spec": {"replicas": 0}})

        def closed():
            with socket.socket() as probe:
                refused = probe.connect_ex(("127.0.0.1", found.ports[GATEWAY]))
            return ready() if refused else pending("LiteLLM listens still")

        until(closed, what="the end of LiteLLM", timeout=30)
