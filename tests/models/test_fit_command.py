"""``models fit`` as people call it: where configurations come from, output and exit codes."""

from __future__ import annotations

import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from capi_llm.cli.main import cli
from capi_llm.errors import BadInput, CapiLlmError, FetchFailed, NotFound
from capi_llm.models import fit_known, fit_source
from capi_llm.models.fit_source import INDEX, find

LLAMA = dict(fit_known.KNOWN["meta-llama/Llama-3.1-8B-Instruct"])


def run(*argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["models", "fit", *argv], standalone_mode=False)
    if isinstance(result.exception, CapiLlmError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None, result.output
    return int(result.return_value or 0), result.stdout


def safetensors(path: Path, sizes: list[int]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for number, size in enumerate(sizes):
        header[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_exit_code_and_numbers_of_a_verdict() -> None:
    code, text = run("llama-3.1-8b-instruct", "--gpu", "L4", "-o", "json")
    found = json.loads(text)
    assert (code, found["ok"], found["verdict"]) == (0, True, "fits")
    assert found["apiVersion"] == "capi-llm.dev/v1alpha1"
    assert found["perGpu"]["weightsBytes"] == 16_060_522_496
    code, text = run("llama-3.1-8b-instruct", "--gpu", "T4", "-o", "json")
    found = json.loads(text)
    assert (code, found["ok"], found["verdict"]) == (1, False, "does not fit")
    for advice in found["advice"]:
        # What it says can be typed, and then it fits.
        words = advice["options"].split()
        again = ["--gpu", "T4", *words] if "--gpu" not in words else words
        assert run("llama-3.1-8b-instruct", *again)[0] == 0


def test_a_person_sees_numbers_and_what_would_fit() -> None:
    code, text = run("llama-3.1-8b-instruct", "--gpu", "T4")
    assert code == 1
    assert "does not fit on T4" in text
    assert "14.96 GiB" in text
    assert "--count 2" in text
    code, text = run("tinyllama", "--gpu", "L4", "--shares", "4")
    assert code == 0
    assert "1 of 4 time-slices" in text
    assert "--gpu-memory-utilization 0.22" in text
    assert "--dtype float16" in run("tinyllama", "--gpu", "T4")[1]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["tinyllama"], 2, "--gpu"),
        (["tinyllama", "--gpu", "L4", "--gpu-memory", "24Gi"], 2, "--gpu"),
        (["tinyllama", "--gpu-memory", "24"], 2, "--gpu-memory"),
        (["tinyllama", "--gpu", "L5"], 2, "no GPU"),
        (["tinyllama", "--gpu", "L4", "--context", "4096"], 2, "--context 2048"),
        (["tinylama", "--gpu", "L4"], 1, "OWNER/NAME"),
        (["./nothing", "--gpu", "L4"], 1, "no such file"),
    ],
)
def test_what_is_wrong_is_refused(argv: list[str], code: int, said: str) -> None:
    assert (run(*argv)[0], said in run(*argv)[1]) == (code, True)


def test_a_gpu_of_any_memory() -> None:
    assert run("tinyllama", "--gpu-memory", "16Gi")[0] == 0
    assert run("tinyllama", "--gpu-memory", "2G")[0] == 1


def test_sizes_beside_a_configuration_are_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert find(str(tmp_path / "config.json"), offline=True)[0].stored is None
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 7000}, "weight_map": {"t": "a"}}))
    assert find(str(tmp_path), offline=True)[0].stored == 7000
    # The files themselves are trusted more than what the index says of them.
    safetensors(tmp_path / "a.safetensors", [10, 20])
    safetensors(tmp_path / "b.safetensors", [30])
    safetensors(tmp_path / "consolidated.safetensors", [60])
    both = {"metadata": {"total_size": 7000}, "weight_map": {"t0": "a.safetensors", "t1": "b.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps(both))
    model, source = find(str(tmp_path), offline=True)
    assert (model.stored, source) == (60, str(tmp_path / "config.json"))
    (tmp_path / INDEX).unlink()
    assert find(str(tmp_path), offline=True)[0].stored == 120


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b"\xff"),
        ("model.safetensors", b"\xff" * 8),
        ("model.safetensors", b""),
        ("model.safetensors", struct.pack("<Q", 2) + b"{}" + b"x"),
        ("model.safetensors", struct.pack("<Q", 9) + b'{"t": {}}'),
        (INDEX, b"no"),
    ],
)
def test_a_broken_file_is_refused_or_has_no_tensors(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / name).write_bytes(content)
    if content.endswith(b"x"):
        assert find(str(tmp_path), offline=True)[0].stored == 0
        return
    with pytest.raises(BadInput) as refused:
        find(str(tmp_path), offline=True)
    assert str(tmp_path) in str(refused.value)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no config\.json"):
        find(str(tmp_path), offline=True)


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web site with files of the test's own, as Hugging Face has them."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(401 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", files
        server.shutdown()
        thread.join()


def test_a_model_elsewhere_is_fetched(site: tuple[str, dict[str, bytes]]) -> None:
    url, files = site
    files["/me/mine/resolve/main/config.json"] = json.dumps(LLAMA).encode()
    model, source = find("me/mine", offline=False, site=url)
    assert (model.name, model.stored, source) == ("me/mine", None, f"{fit_source.SITE}/me/mine")
    files[f"/me/mine/resolve/main/{INDEX}"] = b'{"metadata": {"total_size": 5}}'
    assert find("me/mine", offline=False, site=url)[0].stored == 5
    # Of FP8 checkpoints some indexes are wrong.
    fp8 = LLAMA | {"quantization_config": {"quant_method": "fp8"}}
    files["/me/mine/resolve/main/config.json"] = json.dumps(fp8).encode()
    assert find("me/mine", offline=False, site=url)[0].stored is None
    with pytest.raises(FetchFailed, match="accept the model's terms"):
        find("me/gated", offline=False, site=url)


def test_offline_nothing_is_asked() -> None:
    with pytest.raises(NotFound, match="CAPI_LLM_OFFLINE"):
        find("me/mine", offline=True, site="http://127.0.0.1:9")
