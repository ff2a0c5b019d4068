"""``models`` and ``keys`` on the command line, without a cluster."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capi_llm.cli.main import run

WORDS = {"type": "openai-compatible", "url": "http://worker:8000/v1"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [*os.environ]:
        if name.startswith("CAPI_LLM_") or name in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run(["models", "list", "-o", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["models"]
    return found


def weights(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, int]:
    (model,) = (item for item in listed(capsys) if item["name"] == name)
    return {item.get("name", item["type"]): item["weight"] for item in model["backends"]}


def test_from_nothing_to_a_rollback(capsys: pytest.CaptureFixture[str]) -> None:
    assert [item["name"] for item in listed(capsys)] == ["ollama/tinyllama"]
    assert run(["models", "add", "chat", "--type", "mock", "--backend", "primary"]) == 0
    # The default model does not vanish with the first one that is added.
    assert [item["name"] for item in listed(capsys)] == ["ollama/tinyllama", "chat"]
    assert run(["models", "add", "chat", "--type", "openai", "--backend", "canary", "--model", "gpt-4o"]) == 0
    assert weights(capsys, "chat") == {"primary": 100, "canary": 0}
    assert run(["models", "route", "chat", "primary=90", "canary=10"]) == 0
    assert weights(capsys, "chat") == {"primary": 90, "canary": 10}
    assert run(["models", "promote", "chat"]) == 0
    assert weights(capsys, "chat") == {"primary": 0, "canary": 100}
    assert run(["models", "remove", "chat", "--backend", "canary"]) == 2
    assert "the other backends of 'chat' have weight 0" in capsys.readouterr().err
    assert run(["models", "rollback", "chat"]) == 0
    assert weights(capsys, "chat") == {"primary": 100, "canary": 0}
    before = Path("capi-llm.yaml").read_text()
    assert run(["models", "rollback", "chat"]) == 0
    assert "as it was" in capsys.readouterr().err
    assert Path("capi-llm.yaml").read_text() == before
    assert run(["models", "remove", "chat", "--backend", "canary"]) == 0
    assert run(["models", "remove", "chat"]) == 0
    assert [item["name"] for item in listed(capsys)] == ["ollama/tinyllama"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["models", "route", "chat", "a=1"], "the settings have no models"),
        (["models", "remove", "chatt"], "there is no model 'chatt'"),
        (["models", "add", "a b", "--type", "mock"], "'a b' is not a model's name"),
        (["models", "add", "a", "--type", "vllm"], "nobody says where vllm serves 'a'"),
        (
            ["models", "add", "a", "--type", "openai", "--api-key", "sk-hunter2hunter2"],
            "neither SECRET/KEY nor",
        ),
        (["models", "add", "a", "--type", "mock", "--fallback", "b"], "there is no model 'b'"),
        (["keys", "create", "a b"], "'a b' is not a name of a key"),
        (["keys", "create", "a", "--expires", "soon"], "is not a time"),
        (["keys", "create", "a", "--model-rpm", "x"], "is not MODEL=NUMBER"),
        (["keys", "revoke", "a"], "add --yes"),
    ],
)
def test_refusals_touch_nothing(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    assert run(argv) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert "to go on:" in err
    assert "hunter2" not in out + err
    assert not Path("capi-llm.yaml").exists()


@pytest.fixture
def silent_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway whose backend ``canary`` does not answer, and whose canary nobody should therefore ask."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ill = body["model"] == "chat@canary"
            text = json.dumps(
                {"error": {"message": "connection refused"}} if ill else {"choices": []}
            ).encode()
            self.send_response(500 if ill else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *of: object) -> None:
            pass

    monkeypatch.setenv("CAPI_LLM_GATEWAY_KEY", "sk-of-the-gateway-0123456789")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_backend_that_does_not_answer_gets_nothing(
    capsys: pytest.CaptureFixture[str], silent_gateway: str
) -> None:
    for backend in ("primary", "canary"):
        assert run(["models", "add", "chat", "--type", "mock", "--backend", backend]) == 0
    before = Path("capi-llm.yaml").read_text()
    assert run(["models", "promote", "chat", "--url", silent_gateway]) == 1
    err = capsys.readouterr().err
    assert "backend 'canary' of model 'chat' is not ready; nothing was changed" in err
    assert "connection refused" in err
    assert Path("capi-llm.yaml").read_text() == before


def test_import(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gateway.env").write_text("GATEWAY_UPSTREAMS=vllm=http://w:8001\nGATEWAY_DEFAULT_UPSTREAM=vllm\n")
    assert run(["models", "import", "--env", "gateway.env", "--dry-run"]) == 0
    assert not Path("capi-llm.yaml").exists()
    assert run(["models", "import", "--env", "gateway.env"]) == 0
    assert [item["name"] for item in listed(capsys)] == ["*"]


def test_pull(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
            said.append(name)
            lines = [{"status": "pulling manifest"}, {"status": "pulling", "total": 10, "completed": 5}]
            lines += [
                {"error": "pull model manifest: file does not exist"}
                if name == "no"
                else {"status": "success"}
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write("\n".join(json.dumps(line) for line in lines).encode())

        def log_message(self, *of: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert run(["models", "pull", "--url", url]) == 0
        assert run(["models", "pull", "no", "--url", url]) == 1
        server.shutdown()
    assert said == ["tinyllama", "no"]
    err = capsys.readouterr().err
    assert "tinyllama is there" in err
    assert "there is no model 'no' to pull" in err
