"""``smoke`` through the real LiteLLM, in front of backends that behave well or badly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from backends import Backends

from capi_llm.models import smoke, smoke_load
from capi_llm.models.gateway_address import Gateway
from capi_llm.models.smoke import Check, State, examine
from capi_llm.settings import Secret

WITHIN = 30.0


def failure(gateway: Gateway, model: str, *, within: float = WITHIN) -> Check:
    report = examine(gateway, model, within=within)
    assert not report.ok
    (found,) = (check for check in report.checks if check.state is State.FAILED)
    return found


def test_all_is_well_and_the_backend_is_told(litellm: Gateway, backends: Backends) -> None:
    report = examine(litellm, "good", within=WITHIN)
    assert [check.state for check in report.checks] == [State.OK] * 4
    for found in (report.completion, report.stream):
        assert found is not None
        assert found.backend.id
        assert found.backend.address == f"{backends.url('good')}/v1"
    assert report.completion is not None
    assert report.stream is not None
    assert report.completion.backend.id == report.stream.backend.id
    assert (report.stream.tokens, report.stream.text) == (5, "One two three four five")
    assert report.stream.first is not None
    assert 0 < report.stream.first < report.stream.seconds


def test_gateway_down(litellm: Gateway) -> None:
    found = failure(replace(litellm, url="http://127.0.0.1:9"), "good")
    assert (found.name, found.reason) == ("live", "unreachable")


@pytest.mark.parametrize("key", ["sk-wrong-0123456789", "another-key-zq9x"])
def test_wrong_key_which_is_not_in_what_is_said(litellm: Gateway, key: str) -> None:
    report = examine(replace(litellm, key=Secret(key)), "good", within=WITHIN)
    said = str(smoke.as_json(report))
    (found,) = (check for check in report.checks if check.state is State.FAILED)
    assert (found.name, found.reason) == ("models", "unauthorized")
    assert key not in said
    assert key[-4:] not in said


def test_no_key(litellm: Gateway) -> None:
    """LiteLLM without a database answers 500; what to do is said all the same."""
    found = failure(replace(litellm, key=None), "good")
    assert found.name == "models"
    assert "CAPI_LLM_GATEWAY_KEY" in found.fix


def test_model_missing(litellm: Gateway) -> None:
    found = failure(litellm, "large")
    assert (found.name, found.reason) == ("models", "model-missing")
    assert "empty-stream" in found.message


def test_backend_that_accepts_and_never_answers(litellm: Gateway) -> None:
    found = failure(litellm, "silent", within=3)
    assert (found.name, found.reason) == ("completion", "silent")


def test_backend_that_returns_an_empty_stream(litellm: Gateway) -> None:
    found = failure(litellm, "empty-stream")
    assert (found.name, found.reason) == ("stream", "no-tokens")


def test_backend_that_returns_200_without_tokens(litellm: Gateway) -> None:
    found = failure(litellm, "empty")
    assert (found.name, found.reason) == ("completion", "no-tokens")


def test_200_with_an_error_body(litellm: Gateway) -> None:
    """LiteLLM makes an error status of it; what the backend said is in the message."""
    found = failure(litellm, "error")
    assert (found.name, found.reason) == ("completion", "refused")
    assert "CUDA out of memory" in found.message


def test_a_stream_that_fails_after_its_beginning(litellm: Gateway) -> None:
    found = failure(litellm, "error-later")
    assert (found.name, found.reason) == ("stream", "error-body")
    assert "the worker died" in found.message


def test_load(litellm: Gateway) -> None:
    load = smoke_load.put(litellm, "good", seconds=1, concurrency=4, within=WITHIN, most=8)
    assert smoke_load.judge(load).state is State.OK
    assert len(load.backends) == 1
