"""A real Ollama with a tiny model of random numbers, asked through LiteLLM and a port-forward of a sandbox.

Ollama is built from its Go module (needs Go, a C++ compiler, and for headers that a Go module can not have
in it: apt-get install nlohmann-json3-dev libstb-dev). The model is made here, nothing is downloaded for it
but the packages numpy and gguf (PyPI).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from capi_llm.settings import Settings
from soaking import tiny_model
from soaking.gateway_parts import Missing, answers, free_port, process, run, until
from soaking.life import CLUSTER, Life

VERSION = "v0.17.4"
"""Has its native code in the module itself. The bundle's, v0.32.15, fetches llama.cpp while it is built."""
MINIAUDIO = "github.com/gen2brain/malgo@v0.11.24"
"""Has miniaudio.h, which Ollama keeps in a folder `vendor`, and those are left out of Go modules."""
GGUF = "0.19.0"
HEADERS = ("/usr/include/nlohmann/json.hpp", "/usr/include/stb/stb_image.h")
MODEL = "tiny"
TOKENS = 48
PROMPT = "ba de fi go"


def series(given: Path | None, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One sandbox, one cluster, one Ollama; one result."""
    life, began = Life.begin(0), time.monotonic()
    try:
        program = given or built(Settings.from_environment().cache / "soak-ollama", say)
        with _ollama(life.folder, program, say) as (url, parameters):
            found = {"ollama": _version(url), "parameters": parameters} | _asked(life, url, say)
    except Missing as error:
        found = {"wrong": "", "skipped": str(error)}
    except Exception as error:  # what fails is told
        found = {"wrong": f"{type(error).__name__}: {error}"[:2000]}
    finally:
        ended = life.run("destroy", "--yes")
        if ended.code:
            life.note()
        life.clear()
    found = {"round": "answers", "seconds": round(time.monotonic() - began, 1), **found}
    say(json.dumps(found, ensure_ascii=False))
    return [found]


def built(folder: Path, say: Callable[[str], None]) -> Path:
    """The executable, built at the first time."""
    program = folder / f"ollama-{VERSION}"
    if program.exists():
        return program
    for tool in ("go", "g++"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is missing")
    if not all(Path(header).exists() for header in HEADERS):
        raise Missing("headers are missing: apt-get install nlohmann-json3-dev libstb-dev")
    say(f"Ollama {VERSION} is built once, which takes a while")
    module, include = folder / "build", folder / "include/miniaudio"
    for path in (module, include):
        path.mkdir(parents=True, exist_ok=True)
    (module / "go.mod").write_text(
        "module build\n\ngo 1.26\n\n"
        f"tool github.com/ollama/ollama\n\nrequire github.com/ollama/ollama {VERSION}\n"
    )
    env = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "1", "CGO_CPPFLAGS": f"-I{include.parent}"}
    audio = json.loads(run(["go", "mod", "download", "-json", MINIAUDIO], cwd=module, env=env))
    shutil.copyfile(Path(audio["Dir"]) / "miniaudio.h", include / "miniaudio.h")
    fresh = program.with_suffix(".new")
    run(["go", "build", "-o", fresh, "github.com/ollama/ollama"], cwd=module, env=env)
    fresh.rename(program)
    return program


@contextlib.contextmanager
def _ollama(folder: Path, program: Path, say: Callable[[str], None]) -> Iterator[tuple[str, int]]:
    """A running Ollama that has the model: its address, and how many parameters the model has."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        run([sys.executable, "-m", "pip", "install", "-q", f"gguf=={GGUF}"])
    home = folder / "ollama"
    home.mkdir()
    parameters = tiny_model.write(home / "tiny.gguf")
    (home / "Modelfile").write_text(
        f"FROM ./tiny.gguf\nTEMPLATE {{{{ .Prompt }}}}\nPARAMETER num_ctx {tiny_model.CONTEXT}\n"
        f"PARAMETER temperature 0\nPARAMETER num_predict {TOKENS}\n"
    )
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(home / "models"),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": "10m",
    }
    with process([program, "serve"], folder / "ollama.log", cwd=home, env=env):
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/api/version"), "Ollama", 120)
        run([program, "create", MODEL, "-f", "Modelfile"], cwd=home, env=env)
        size = (home / "tiny.gguf").stat().st_size
        say(f"Ollama has a model of {parameters} parameters, {size} bytes")
        yield url, parameters


def _version(url: str) -> str:
    return f"{VERSION} by its module, {httpx.get(f'{url}/api/version').json()['version']} by its API"


def _asked(life: Life, ollama: str, say: Callable[[str], None]) -> dict[str, Any]:
    own = _stream(f"{ollama}/v1", "ollama", MODEL)  # also loads the model
    again = _stream(f"{ollama}/v1", "ollama", MODEL)
    say(f"Ollama itself: {own}")
    settings = {
        "apiVersion": "capi-llm.dev/v1alpha1",
        "models": [{"name": "random", "backends": [{"type": "ollama", "model": MODEL, "url": ollama}]}],
    }
    (life.folder / "capi-llm.yaml").write_text(json.dumps(settings))
    for argv in (
        ("bootstrap", "--plane", "sandbox"),
        ("new-cluster", CLUSTER, "--workers", "1", "--apps", "litellm"),
    ):
        ended = life.run(*argv)
        if ended.code:
            raise RuntimeError(f"{' '.join(argv)}: {ended.last}")
    smoke = life.run("smoke", CLUSTER, "--wait", "240s", "-o", "json")
    report = json.loads(smoke.data)
    chat = life.run("chat", CLUSTER, PROMPT)
    with _forwarded(life) as url:
        through = _stream(f"{url}/v1", _key(life), "random")
        without = httpx.post(f"{url}/v1/chat/completions", json={"model": "random"}, timeout=60).status_code
    stream = report.get("stream") or {}
    right = (
        smoke.code == 0
        and stream.get("secondsToFirstToken") is not None
        and stream["backend"]["address"].startswith(ollama)
        and own["text"] == again["text"] == through["text"] == chat.data.strip()
        and through["pieces"] > 1
        and without == 401
    )
    return {
        "wrong": "" if right else "what came through is not what Ollama said, or it did not stream",
        "asked of Ollama itself": own, "and again": again,
        "asked through portforward and LiteLLM": through, "without a key": without,
        "smoke": {"exit code": smoke.code, "ok": report["ok"], "stream": stream,
                  "checks": {item["name"]: item["message"] for item in report["checks"]}},
        "chat": chat.data.strip(), "said by smoke": smoke.said.strip(),
    }  # fmt: skip


def _stream(url: str, key: str, model: str) -> dict[str, Any]:
    """One streamed completion: its text, how many pieces it came in, and when the first and the last came."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "temperature": 0,
    }
    headers = {"Authorization": f"Bearer {key}"}
    began, text, times = time.monotonic(), "", []
    with httpx.stream("POST", f"{url}/chat/completions", json=body, headers=headers, timeout=600) as reply:
        if reply.status_code != 200:
            raise RuntimeError(f"{reply.status_code} {reply.read().decode()[:500]}")
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: ")).get("choices") or ():
                piece = (choice.get("delta") or {}).get("content")
                if piece:
                    text += piece
                    times.append(time.monotonic() - began)
    first, last = (round(times[0], 3), round(times[-1], 3)) if times else (None, None)
    return {"text": text.strip(), "pieces": len(times), "first after": first, "last after": last}


@contextlib.contextmanager
def _forwarded(life: Life) -> Iterator[str]:
    port = free_port()
    child = life.start(("portforward", CLUSTER, f"litellm:{port}"))

    def listens() -> bool:
        if child.poll() is not None:
            raise RuntimeError(f"portforward ended with {child.returncode}")
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", port))

    try:
        until(listens, "the port-forward", 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.communicate(timeout=60)


def _key(life: Life) -> str:
    kubeconfig = life.folder / f"kubeconfigs/kubeconfig-{CLUSTER}.yaml"
    command = [life.kubectl_path, f"--kubeconfig={kubeconfig}", "-n", "llm", "get", "secret", "litellm"]
    done = subprocess.run([*command, "-o", "json"], text=True, capture_output=True, check=True)
    return base64.b64decode(json.loads(done.stdout)["data"]["master-key"]).decode()
