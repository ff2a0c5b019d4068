"""One end-to-end run: its engine, a home of its own for the product, and what has been seen."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from capi_llm.settings import load
from endtoend import images, names
from endtoend.engine import Engine
from endtoend.images import Ready

SETTINGS: dict[str, Any] = {
    "apiVersion": "capi-llm.dev/v1alpha1",
    "kind": "Settings",
    "management": {"nodeImage": names.node(names.KUBERNETES)},
    "cluster": {
        "class": "docker-llm-clusterclass",
        "version": names.KUBERNETES,
        "variables": {
            "cni": "kindnet",
            "preLoadImages": [images.app(*item) for item in images.APPS],
            "proxy": {"httpsProxy": "http://192.0.2.1:3128", "noProxy": ".svc"},  # never asked
        },
    },
    "apps": {
        "wanted": ["local-path-storage", "ollama", "litellm-config", "litellm", "openwebui"],
        "values": {
            app: {"resources": {"requests": {"cpu": "50m", "memory": "32Mi"}}} for app in images.STANDINS
        },
    },
}
"""What a user without a registry would write into capi-llm.yaml; stand-ins ask for less than the programs."""
SETTINGS["apps"]["values"]["ollama"]["serving"] = "deployment"

CAPI_LLM = (sys.executable, "-m", "capi_llm")
LONGEST = 1800


def is_ready(obj: dict[str, Any]) -> bool:
    """Whether a node's or a pod's own condition Ready is true."""
    found = obj["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in found)


class Wrong(Exception):
    """Something is not as it must be; the text says what."""


@dataclass(frozen=True)
class Done:
    """How a command of the product ended: exit code, seconds, stdout and stderr."""

    code: int
    seconds: float
    data: str
    said: str

    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class Run:
    """``results`` is what the report is made of: name of a part → what was seen of it, with seconds."""

    engine: Engine
    ready: Ready
    say: Callable[[str], None]
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        settings = copy.deepcopy(SETTINGS)
        if any(item.stem.startswith(images.IN_BOTH) for item in self.ready.archives):
            for version in (names.KUBERNETES, names.UPGRADE):
                settings["cluster"]["variables"]["preLoadImages"] += names.on_any_node(version)
        (self.folder / "capi-llm.yaml").write_text(yaml.safe_dump(settings))

    @property
    def folder(self) -> Path:
        return self.engine.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        tools = {str(self.ready.kind.parent), str(self.ready.kubectl.parent)}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")},
            "PATH": os.pathsep.join([*sorted(tools), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "CAPI_LLM_CACHE": str(load().cache),
            "CAPI_LLM_STATE": str(self.folder / "state"),
            "CAPI_LLM_KUBECONFIGS": str(self.folder / "kubeconfigs"),
            "KUBECONFIG": str(self.folder / "no-kubeconfig"),
            "NO_COLOR": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command of the product."""
        return subprocess.Popen(
            [*CAPI_LLM, *arguments], env=self.environment, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def capi_llm(self, *arguments: str, codes: Sequence[int] = (0,)) -> Done:
        """Run a command of the product. Raises Wrong where it ends with another exit code than ``codes``."""
        began = time.monotonic()
        command = self.start(*arguments)
        try:
            data, said = command.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            command.kill()
            raise Wrong(f"capi-llm {' '.join(arguments)} hung: {command.communicate()[1][-2000:]}") from None
        done = Done(command.returncode, round(time.monotonic() - began, 1), data, said)
        self.say(f"capi-llm {' '.join(arguments)}: {done.seconds} s, exit code {done.code}")
        if done.code not in codes:
            raise Wrong(
                f"capi-llm {' '.join(arguments)} ended with {done.code}:\n{said[-3000:]}{data[-1000:]}"
            )
        return done

    def is_ready(self) -> bool:
        """Whether `status` says that plane and clusters are; its exit code does not."""
        return self.capi_llm("status").data.startswith("Ready")

    def killed(self, moment: float, *arguments: str) -> Done | None:
        """Run a command and SIGKILL it after ``moment`` seconds; its end where that was sooner."""
        began = time.monotonic()
        command = self.start(*arguments)
        try:
            data, said = command.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGKILL)
            command.communicate()
            return None
        return Done(command.returncode, round(time.monotonic() - began, 1), data, said)

    def kubectl(self, cluster: str, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """What kubectl prints for the workload cluster, "" for the management cluster."""
        which = [cluster] if cluster else ["--management"]
        command = [*CAPI_LLM, "kubeconfig", *which, "--", "kubectl", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, text=True, capture_output=True, input=stdin
        )
        if check and done.returncode:
            raise Wrong(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def get(self, cluster: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects that ``kubectl get`` finds."""
        return list(json.loads(self.kubectl(cluster, "get", *arguments, "-o", "json"))["items"])

    def until(self, what: str, true: Callable[[], bool], limit: float) -> float:
        """Wait until ``true()``; returns the seconds. Raises Wrong after ``limit`` seconds."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(Wrong, json.JSONDecodeError):
                if true():
                    return round(time.monotonic() - began, 1)
            if time.monotonic() - began > limit:
                raise Wrong(f"not within {limit:.0f} s: {what}")
            time.sleep(1)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[dict[str, Any]]:
        """One part of the run: its result is a mapping to fill in; what goes wrong stands in it."""
        self.say(f"== {name}")
        seen: dict[str, Any] = {}
        self.results[name] = seen
        began = time.monotonic()
        try:
            yield seen
        except (Wrong, RuntimeError, OSError) as error:
            seen["wrong"] = str(error)
            self.say(f"WRONG: {error}")
        finally:
            seen["seconds"] = round(time.monotonic() - began, 1)
