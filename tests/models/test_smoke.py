"""``smoke`` against small servers that behave well or badly: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from backends import KEY, MODEL, WORDS, Backends
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.errors import BadInput
from capi_llm.models import gateway_address, smoke, smoke_load
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.gateway_answers import Backend, Completion
from capi_llm.models.gateway_client import GatewayClient
from capi_llm.models.smoke import Report, examine
from capi_llm.settings import Secret

WITHIN = 5.0


def of(backends: Backends, kind: str, model: str = "", *, within: float = WITHIN, key: str = KEY) -> Report:
    return examine(Gateway(backends.url(kind), key=Secret(key)), model, within=within)


def states(report: Report) -> list[str]:
    return [check.state.value for check in report.checks]


def failure(report: Report) -> smoke.Check:
    assert not report.ok
    (found,) = (check for check in report.checks if check.state is smoke.State.FAILED)
    return found


def test_all_is_well(backends: Backends) -> None:
    report = of(backends, "good")
    assert (report.ok, report.model, states(report)) == (True, MODEL, ["ok"] * 4)
    stream = report.stream
    assert stream is not None
    assert (stream.text, stream.tokens, stream.counted) == ("".join(WORDS), 5, True)
    assert stream.first is not None
    assert stream.last is not None
    assert 0 < stream.first < stream.last <= stream.seconds
    assert stream.backend.id == "id-of-good"
    assert stream.backend.address == "http://10.0.0.1:8000/v1"
    assert report.completion is not None
    assert report.completion.tokens == 3


def test_tokens_that_come_at_once_have_no_speed() -> None:
    def of(first: float, last: float) -> float | None:
        return Completion("a b c", 3, True, 1.0, Backend(), first, last).rate

    assert of(0.5, 0.6) == pytest.approx(20)
    assert of(0.5, 0.501) is None


def test_the_key_is_shown_where_it_is_needed_and_health_is_never_asked(backends: Backends) -> None:
    of(backends, "good")
    asked = backends.asked("good")[-4:]
    assert [item.path.removeprefix("/good") for item in asked] == [
        "/health/liveliness", "/v1/models", "/v1/chat/completions", "/v1/chat/completions",
    ]  # fmt: skip
    assert [item.headers.get("Authorization") for item in asked] == [None, *[f"Bearer {KEY}"] * 3]


def test_gateway_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        report = examine(Gateway(url), within=WITHIN)
    found = failure(report)
    assert (found.name, found.reason) == ("live", "unreachable")
    assert states(report) == ["failed", "skipped", "skipped", "skipped"]


def test_wrong_key_which_is_not_in_what_is_said(backends: Backends) -> None:
    report = of(backends, "locked", key="sk-wrong-one")
    found = failure(report)
    assert (found.name, found.reason) == ("models", "unauthorized")
    assert "sk-wrong-one" not in str(smoke.as_json(report))
    assert of(backends, "locked").ok


def test_model_missing(backends: Backends) -> None:
    found = failure(of(backends, "good", "large"))
    assert (found.name, found.reason) == ("models", "model-missing")
    assert MODEL in found.message
    assert failure(of(backends, "no-models")).reason == "model-missing"


def test_backend_that_accepts_and_never_answers(backends: Backends) -> None:
    found = failure(of(backends, "silent", within=2))
    assert (found.name, found.reason) == ("completion", "silent")
    assert 2 <= found.seconds < 30


@pytest.mark.parametrize("kind", ["silent-later", "dripping", "endless"])
def test_stream_that_has_no_end_in_its_time(backends: Backends, kind: str) -> None:
    found = failure(of(backends, kind, within=2))
    assert (found.name, found.reason) == ("stream", "silent")
    assert 2 <= found.seconds < 30


def test_backend_that_returns_an_empty_stream(backends: Backends) -> None:
    found = failure(of(backends, "empty-stream"))
    assert (found.name, found.reason) == ("stream", "no-tokens")


def test_backend_that_returns_200_without_tokens(backends: Backends) -> None:
    found = failure(of(backends, "empty"))
    assert (found.name, found.reason) == ("completion", "no-tokens")
    assert "200" in found.message


def test_200_with_an_error_body(backends: Backends) -> None:
    found = failure(of(backends, "error"))
    assert (found.name, found.reason) == ("completion", "error-body")
    assert "CUDA out of memory" in found.message
    later = failure(of(backends, "error-later"))
    assert (later.name, later.reason) == ("stream", "error-body")
    assert "the worker died" in later.message


def test_stream_that_is_cut_short(backends: Backends) -> None:
    assert failure(of(backends, "cut")).reason == "broken-off"


def test_an_error_of_the_gateway_is_told_without_the_key(backends: Backends) -> None:
    found = failure(of(backends, "down-behind"))
    assert found.reason == "refused"
    assert "no route to ****" in found.message


def test_what_a_proxy_says_moves_no_cursor(backends: Backends) -> None:
    found = failure(of(backends, "no-json"))
    assert "502" in found.message
    assert "\x1b" not in found.message


def test_tokens_of_a_model_that_thinks_count(backends: Backends) -> None:
    report = of(backends, "thinking")
    assert report.ok
    assert report.stream is not None
    assert (report.stream.text, report.stream.tokens) == ("", 5)


def test_a_server_that_is_no_litellm_is_asked_all_the_same(backends: Backends) -> None:
    report = of(backends, "plain")
    assert (report.ok, states(report)) == (True, ["skipped", "ok", "ok", "ok"])


def test_routing_by_host(backends: Backends) -> None:
    url = backends.url("other-host")
    assert examine(Gateway(url, host="gateway.local"), within=WITHIN).ok
    found = failure(examine(Gateway(url), within=WITHIN))
    assert "--host" in found.fix


def test_a_gateway_that_is_starting_is_waited_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with GatewayClient(Gateway(f"http://127.0.0.1:{taken.getsockname()[1]}"), within=1) as client:
            # It begins to listen while it is waited for; who accepts nothing is silent, and no longer down.
            timer = threading.Timer(0.7, taken.listen)
            timer.start()
            with pytest.raises(smoke.GatewayFailed) as failed:
                smoke.until_live(client, 30)
            timer.join()
    assert failed.value.reason == "silent"


def test_load(backends: Backends) -> None:
    gateway = Gateway(backends.url("good"), key=Secret(KEY))
    load = smoke_load.put(gateway, MODEL, seconds=0.5, concurrency=4, within=WITHIN, most=8)
    assert smoke_load.judge(load).state is smoke.State.OK
    found = smoke_load.as_json(load)
    assert found["requests"] == len(load.answers) >= 4
    assert found["errors"] == {}
    assert found["backends"] == {"id-of-good": load.requests}
    assert found["secondsToFirstToken"]["p50"] <= found["secondsOfAnswer"]["p50"]
    assert found["tokensPerSecond"] == pytest.approx(5 * load.requests / load.seconds, abs=0.01)


def test_load_with_errors_fails_and_counts_them(backends: Backends) -> None:
    gateway = Gateway(backends.url("down-behind"))
    load = smoke_load.put(gateway, MODEL, seconds=0.2, concurrency=2, within=WITHIN, most=8)
    verdict = smoke_load.judge(load)
    assert (verdict.state, verdict.reason) == (smoke.State.FAILED, "refused")
    assert smoke_load.as_json(load)["errors"] == {"refused 500": load.requests}
    assert smoke_load.as_json(load)["secondsOfAnswer"] is None


def test_load_ends_when_it_is_told_to(backends: Backends) -> None:
    """What is under way is hung up on, where the one that waits is interrupted."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    gateway = Gateway(backends.url("silent"))

    def put() -> None:
        timer.start()
        smoke_load.put(gateway, MODEL, seconds=60, concurrency=3, within=60, most=8)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        put()
    assert time.monotonic() - began < 20


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], percent: float) -> None:
    found = smoke_load.percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9
    below = [value for value in values if value < found]
    assert len(below) < percent / 100 * len(values) + 1e-9


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:4000", "http://h:4000"),
        ("http://h:4000/", "http://h:4000"),
        ("http://h/v1/", "http://h"),
        ("https://h/llm/v1", "https://h/llm"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert gateway_address.address(url) == expected


@pytest.mark.parametrize("url", ["h:4000", "ftp://h", "http://", "http://u:geheim@h", "http://h?key=geheim"])
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        gateway_address.address(url)
    assert "geheim" not in str(refused.value)
    with pytest.raises(BadInput, match="--host"):
        gateway_address.opened("http://h", "a b", None)


def run(*argv: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CAPI_LLM_GATEWAY_KEY": key, "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, "-m", "capi_llm", *argv],
        env=env,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_for_programs(backends: Backends) -> None:
    done = run("smoke", "--url", backends.url("good"), "--load", "0.3s", "--concurrency", "2", "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert not [check for check in found["checks"] if check["state"] != "ok"]
    assert (done.returncode, found["ok"], found["model"]) == (0, True, MODEL)
    assert found["apiVersion"] == "capi-llm.dev/v1alpha1"
    assert found["gateway"]["url"] == backends.url("good")
    assert [check["name"] for check in found["checks"]] == ["live", "models", "completion", "stream", "load"]
    assert found["stream"]["secondsToFirstToken"] > 0
    assert found["load"]["requests"] > 0
    assert KEY not in done.stdout + done.stderr


def test_the_command_for_people(backends: Backends) -> None:
    done = run("smoke", "--url", backends.url("locked"), "--load", "1s", key="sk-wrong-one")
    assert done.returncode == 1
    assert "✗ models" in done.stdout
    assert "- load" in done.stdout
    assert "CAPI_LLM_GATEWAY_KEY" in done.stdout
    assert "sk-wrong-one" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["demo", "--url", "http://127.0.0.1:1"], "exclude each other"),
        (["demo", "--host", "gateway.local"], "--host is for --url"),
        (["--url", "127.0.0.1:4000"], "no address"),
        (["--url", "http://127.0.0.1:1", "--load", "soon"], "is not a time"),
    ],
)
def test_what_is_wrong_is_refused(argv: list[str], said: str) -> None:
    done = run("smoke", *argv)
    assert done.returncode == 2
    assert said in done.stderr
