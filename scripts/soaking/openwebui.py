"""A real Open WebUI, started with what its bundle renders, shows a real LiteLLM's models in a real browser.

Open WebUI is its package on PyPI in a virtual environment of its own, without torch and what belongs to it:
libraries for GPUs of several GB, which it does not load for chats. The browser is Debian's (apt-get install
chromium), led by playwright (PyPI), which is in that environment too.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from capi_llm import versions
from capi_llm.sandbox import executables
from capi_llm.settings import Backend, Model, Settings
from soaking import gateway
from soaking import gateway_parts as parts

BUNDLE = Path(__file__).parent.parent.parent / "bundles/openwebui"
PLAYWRIGHT = "1.60.0"
MODELS = (
    Model("private", (Backend("mock", "mock", "private", answer="It is private."),)),
    Model("public", (Backend("mock", "mock", "public", answer="It is public."),)),
)
LEFT_OUT = re.compile(r"(torch|triton|nvidia|cuda)\b")
ADDRESS, NAME = "somebody@example.com", "Somebody"
LOOK = """
import json, sys
from playwright.sync_api import sync_playwright

url, chromium, shot, address = sys.argv[1:5]
word, models = sys.stdin.read().split("\\n", 1)
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(240_000)
    page.goto(url)
    page.fill("input[type=email]", address)
    page.fill("input[type=password]", word)
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat-input")
    page.keyboard.press("Escape")  # what is new in this version
    page.locator("button[id^='model-selector-'][id$='-button']").first.click()
    for model in json.loads(models):
        page.get_by_role("option", name=f"Select {model} model", exact=True).wait_for()
    labels = [option.get_attribute("aria-label") for option in page.get_by_role("option").all()]
    shown = sorted(label.removeprefix("Select ").removesuffix(" model") for label in labels)
    page.screenshot(path=shot)
    print(json.dumps({"browser": browser.version, "title": page.title(), "models shown": shown}))
    browser.close()
"""


def series(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One LiteLLM, one Open WebUI, one look; one result."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ow") as folder:
        try:
            found = _seen(Path(folder), say)
        except parts.Missing as error:
            found = {"wrong": "", "skipped": str(error)}
        except Exception as error:  # what fails is told
            found = {"wrong": f"{type(error).__name__}: {error}"[:3000]}
    found = {"round": "models", "seconds": round(time.monotonic() - began, 1), **found}
    say(json.dumps(found, ensure_ascii=False))
    return [found]


def _version() -> str:
    return versions.BUNDLES["openwebui"].removeprefix("v")


def prepared(folder: Path, say: Callable[[str], None]) -> Path:
    """The virtual environment with Open WebUI, made at the first time."""
    venv = folder / "venv"
    python, done = venv / "bin/python", folder / f"ready-{_version()}-{PLAYWRIGHT}"
    if done.exists():
        return venv
    say(f"Open WebUI {_version()} is installed once (2 GB)")
    folder.mkdir(parents=True, exist_ok=True)
    parts.run([sys.executable, "-m", "venv", venv])
    parts.run([python, "-m", "pip", "install", "-q", "uv"])
    wanted = parts.run([venv / "bin/uv", "pip", "compile", "-q", "--no-annotate", "-"], env=_outside(python),
                       input=f"open-webui=={_version()}\nplaywright=={PLAYWRIGHT}\n")  # fmt: skip
    kept = [line for line in wanted.splitlines() if not LEFT_OUT.match(line)]
    (folder / "requirements.txt").write_text("\n".join(kept) + "\n")
    parts.run([venv / "bin/uv", "pip", "install", "-q", "--no-deps", "-r", folder / "requirements.txt"],
              env=_outside(python))  # fmt: skip
    done.touch()
    return venv


def _outside(python: Path) -> dict[str, str]:
    return {
        **os.environ,
        "UV_NATIVE_TLS": "1",
        "UV_PYTHON": str(python),
        "VIRTUAL_ENV": str(python.parent.parent),
    }


def rendered(url: str, given: dict[str, str], home: Path) -> dict[str, str]:
    """The environment of the bundle's container; ``given`` has the keys of its Secret."""
    helm = executables.bring(Settings.from_environment())["helm"]
    argv = (helm, "template", "openwebui", BUNDLE, "--namespace", "llm", "--set", f"openaiUrl={url}")
    done = parts.run(argv, env={"PATH": os.environ["PATH"], "HOME": str(home)})
    (deployment,) = (item for item in yaml.safe_load_all(done) if item["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return {
        item["name"]: item["value"] if "value" in item else given[item["valueFrom"]["secretKeyRef"]["key"]]
        for item in container["env"]
    }


def _seen(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise parts.Missing("chromium is missing: apt-get install --no-install-recommends chromium")
    settings = Settings.from_environment()
    venv = prepared(settings.cache / "soak-openwebui", say)
    bench = gateway.Bench(folder, say)
    word = secrets.token_urlsafe(18)
    with parts.litellm(folder, bench.config(*MODELS), bench.env) as server:
        say(f"LiteLLM is ready after {server.seconds:.0f} s")
        given = {"webui-secret-key": secrets.token_urlsafe(32), "openai-api-key": bench.master.reveal()}
        env = rendered(f"{server.url}/v1", given, folder)
        # The image's own places, which are not there on this machine.
        moved = {"HOME": folder / "home", "STATIC_DIR": folder / "static", "DATA_DIR": folder / "data"}
        for path in moved.values():
            path.mkdir()
        port = parts.free_port()
        argv = (venv / "bin/open-webui", "serve", "--host", "127.0.0.1", "--port", str(port))
        around = {"PATH": os.environ["PATH"], **env, **{name: str(path) for name, path in moved.items()}}
        with parts.process(argv, folder / "openwebui.log", cwd=folder, env=around) as child:
            url = f"http://127.0.0.1:{port}"

            def up() -> bool:
                if child.poll() is not None:
                    raise RuntimeError(f"Open WebUI ended: {(folder / 'openwebui.log').read_text()[-2000:]}")
                return parts.answers(f"{url}/health")

            seconds = parts.until(up, "Open WebUI", 900)
            say(f"Open WebUI is ready after {seconds:.0f} s")
            found = _by_api(url, word)
            found |= _by_browser(venv / "bin/python", url, chromium, folder, word)
        log = (folder / "openwebui.log").read_text(errors="replace")
        files = [path for path in (folder / "data").rglob("*") if path.is_file()]
        shown = [name for name, value in given.items() if value in log]
        kept = [path.name for path in files if given["openai-api-key"].encode() in path.read_bytes()]
    wanted = sorted(model.name for model in MODELS)
    right = (
        found["models by its API"] == wanted
        and found["in the browser"].get("models shown") == wanted
        and found["answer by its API"] == MODELS[0].backends[0].answer
        and found["without an account"] in (401, 403)
        and not shown
    )
    return {
        "wrong": "" if right else "it does not show the models of the gateway, or others too",
        "open webui": _version(), "variables of the bundle": sorted(env), "moved": sorted(moved),
        "seconds to ready": round(seconds, 1), **found, "secrets in its log": shown,
        "the gateway's key in its files": kept,
    }  # fmt: skip


def _by_api(url: str, word: str) -> dict[str, Any]:
    with httpx.Client(base_url=url, timeout=240) as client:
        config = client.get("/api/config").json()
        without = client.get("/api/models").status_code
        first = client.post("/api/v1/auths/signup", json={"name": NAME, "email": ADDRESS, "password": word})
        headers = {"Authorization": f"Bearer {first.json()['token']}"}
        second = client.post(
            "/api/v1/auths/signup", json={"name": NAME, "email": f"another-{ADDRESS}", "password": word}
        )
        models = client.get("/api/models", headers=headers).json()["data"]
        answer = client.post("/api/chat/completions", headers=headers, json={
            "model": MODELS[0].name, "stream": False, "messages": [{"role": "user", "content": "Hello"}],
        })  # fmt: skip
    return {
        "version by its API": config["version"], "without an account": without,
        "first account": first.json().get("role"), "second account": second.json().get("role"),
        "models by its API": sorted(item["id"] for item in models),
        "answer by its API": answer.json()["choices"][0]["message"]["content"],
    }  # fmt: skip


def _by_browser(python: Path, url: str, chromium: str, folder: Path, word: str) -> dict[str, Any]:
    shot = Path(os.environ.get("SOAK_SCREENSHOT") or folder / "shot.png")
    names = sorted(model.name for model in MODELS)
    done = subprocess.run(
        [str(python), "-c", LOOK, url, chromium, str(shot), ADDRESS],
        input=f"{word}\n{json.dumps(names)}", text=True, capture_output=True, timeout=900,
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
    )  # fmt: skip
    if done.returncode:
        return {"in the browser": {"failed": done.stderr[-2000:].replace(word, "…")}}
    return {"in the browser": json.loads(done.stdout.splitlines()[-1])}
