"""Other splits, promotion, rollback, and an older gateway's routes: what they make, and what they refuse."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from capi_llm.errors import BadInput, CapiLlmError, NotFound
from capi_llm.models import env_file, keys, routes, split
from capi_llm.settings import Backend, Model, Secret

CHAT = Model("chat", (Backend("primary", "mock", "m", weight=90), Backend("canary", "mock", "m", weight=10)))
ALONE = Model("alone", (Backend("mock", "mock", "m"),))


def test_shares_promotion_and_rollback() -> None:
    assert routes.shares(CHAT, ["canary=25%", "primary=75"]) == {"primary": 75, "canary": 25}
    assert routes.promotion(CHAT) == {"primary": 0, "canary": 100}
    assert routes.rollback(CHAT) == {"primary": 100, "canary": 0}
    assert routes.routed(CHAT, routes.promotion(CHAT)).weights == {"primary": 0, "canary": 100}
    assert routes.find([ALONE, CHAT], "chat") is CHAT


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["primary=90"], "backend 'canary' of model 'chat' has no weight", "canary=0"),
        (["primary=90", "cannary=10"], "model 'chat' has no backend 'cannary'", "'canary'"),
        (["primary:90", "canary=10"], "'primary:90' is not BACKEND=WEIGHT", "primary=90"),
        (["primary=1", "primary=2", "canary=1"], "'primary' is named twice", "leave one"),
        (["primary=0", "canary=0"], "all weights are 0", "primary=100"),
        (["primary=9999", "canary=0"], "1000 is the most", "primary=90"),
        (["primary=-1", "canary=1"], "is not BACKEND=WEIGHT", "primary=90"),
    ],
)
def test_shares_that_can_not_be(words: list[str], what: str, fix: str) -> None:
    with pytest.raises(BadInput) as caught:
        routes.shares(CHAT, words)
    assert what in str(caught.value)
    assert fix in caught.value.fix


def test_other_changes_that_can_not_be() -> None:
    three = Model("three", (*CHAT.backends, Backend("other", "mock", "m", weight=0)))
    for change, what, fix in (
        (lambda: routes.find([CHAT], "chatt"), "there is no model 'chatt'", "'chat'"),
        (lambda: routes.find([], "chat"), "there is no model 'chat'", "add one"),
        (lambda: routes.promotion(ALONE), "has one backend", "models add alone"),
        (lambda: routes.rollback(ALONE), "has one backend", "nothing"),
        (lambda: routes.promotion(three), "several backends to promote", "promote three canary"),
        (lambda: routes.promotion(CHAT, "canry"), "no backend 'canry'", "'canary'"),
    ):
        with pytest.raises(CapiLlmError) as caught:
            change()
        assert what in str(caught.value)
        assert fix in caught.value.fix


def test_wilson_s_interval() -> None:
    # Published: 10 of 100 lies in 5.52 % to 17.44 % (Newcombe 1998, method 3, gives such numbers).
    low, high = split.wilson(10, 100)
    assert math.isclose(low, 0.05522914, abs_tol=1e-6)
    assert math.isclose(high, 0.17436566, abs_tol=1e-6)
    assert split.wilson(0, 0) == (0.0, 1.0)
    assert split.wilson(0, 10)[0] == 0.0
    assert split.wilson(10, 10)[1] == 1.0
    first, second = split.shares(CHAT, {"primary": 930, "canary": 70})
    assert (first.answers, second.share, second.expected) == (930, 0.07, 0.1)
    assert not second.fits


ENV = """
# of the older gateway
GATEWAY_UPSTREAMS=vllm=http://model-worker:8001;sglang=http://sglang-worker:8002;triton=http://triton:9000/v1
GATEWAY_DEFAULT_UPSTREAM=vllm
GATEWAY_ROUTE_POLICIES='{"chat": {"primary": "vllm", "strategy": "canary", "canary": "sglang", "percent": 9}}'
OTHER=1
"""


def of_env(tmp_path: Path, text: str) -> tuple[Model, ...]:
    path = tmp_path / "gateway.env"
    path.write_text(text)
    return env_file.read(path)


def test_an_older_gateway_s_file(tmp_path: Path) -> None:
    chat, rest = of_env(tmp_path, ENV)
    assert chat == Model(
        "chat",
        (
            Backend("primary", "vllm", "chat", "http://model-worker:8001/v1", 91),
            Backend("canary", "sglang", "chat", "http://sglang-worker:8002/v1", 9),
        ),
    )
    assert rest == Model("*", (Backend("vllm", "vllm", "*", "http://model-worker:8001/v1"),))
    (only,) = of_env(
        tmp_path,
        'GATEWAY_UPSTREAMS=triton=http://t:9000/v1\nGATEWAY_ROUTE_POLICIES={"a": {"primary": "triton"}}\n',
    )
    assert only == Model("a", (Backend("triton", "openai-compatible", "a", "http://t:9000/v1"),))


UP = "GATEWAY_UPSTREAMS=vllm=http://w:8001;sglang=http://s:8002\n"


def policy(text: str) -> str:
    return f"{UP}GATEWAY_ROUTE_POLICIES={text}\n"


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("A=1\n", "GATEWAY_UPSTREAMS is missing", "vllm=http://"),
        ("GATEWAY_UPSTREAMS=;\nGATEWAY_DEFAULT_UPSTREAM=a\n", "1: GATEWAY_UPSTREAMS: no upstream", "e.g."),
        ("GATEWAY_UPSTREAMS=vllm\n", "GATEWAY_UPSTREAMS: 'vllm' is not NAME=URL", "vllm=http://worker"),
        ("GATEWAY_UPSTREAMS=a=http://w;a=http://x\n", "'a' is there twice", "leave one"),
        ("GATEWAY_UPSTREAMS=A_B=http://w\n", "'A_B' is not a valid name", "'a-b'"),
        ("GATEWAY_UPSTREAMS=a=w:80\n", "'w:80' is not an address", "http://"),
        (UP, "no model is named", "GATEWAY_DEFAULT_UPSTREAM"),
        (
            f"{UP}GATEWAY_DEFAULT_UPSTREAM=vlm\n",
            "2: GATEWAY_DEFAULT_UPSTREAM: there is no upstream",
            "'vllm'",
        ),
        (policy("{a"), "2: GATEWAY_ROUTE_POLICIES: this is not JSON", "one line"),
        (policy("[1]"), "is not a map of models", "primary"),
        (policy('{"a": 1}'), "GATEWAY_ROUTE_POLICIES.a: 1 is not a policy", "primary"),
        (
            policy('{"vllm": {"primary": "vllm"}}'),
            "'vllm' is an upstream, and a policy is of a model",
            "a model",
        ),
        (policy('{"a": {"primry": "vllm"}}'), "a.primry is not known", "'primary'"),
        (policy('{"a": {"strategy": "canry", "primary": "vllm"}}'), "a.strategy: 'canry'", "'canary'"),
        (policy('{"a": {"primary": "vlm"}}'), "a.primary: there is no upstream 'vlm'", "'vllm'"),
        (policy('{"a": {"primary": "vllm", "canary": "x"}}'), "a.canary: there is no upstream 'x'", "'vllm'"),
        (
            policy('{"a": {"primary": "vllm", "canary": "vllm", "percent": 1}}'),
            "a: primary and canary are one upstream",
            "another",
        ),
        (
            policy('{"a": {"primary": "vllm", "canary": "sglang", "percent": 101}}'),
            "a.percent: 101 is not a whole number from 0 to 100",
            "10",
        ),
        (policy('{"a": {"primary": "vllm", "canary": "sglang"}}'), "a.percent: None", "10"),
        (policy('{"a b": {"primary": "vllm"}}'), "'a b' is not a model's name", "letters"),
    ],
)
def test_an_older_gateway_s_file_that_can_not_be(tmp_path: Path, text: str, what: str, fix: str) -> None:
    with pytest.raises(BadInput, match=r"gateway\.env") as caught:
        of_env(tmp_path, text)
    assert what in str(caught.value)
    assert fix in caught.value.fix
    with pytest.raises(NotFound):
        env_file.read(tmp_path / "nowhere.env")


def test_keys_that_can_not_be() -> None:
    own = "hunter2-hunter2-hunter2"
    for change, what, fix in (
        (lambda: keys.check_name("a b"), "'a b' is not a name of a key", "team-search"),
        (lambda: keys.check_own(Secret(own)), "has to begin with sk-", "put sk- before it"),
        (lambda: keys.check_own(Secret("sk-short")), "too short", "generated"),
        (lambda: keys.check_own(Secret(f"sk-{own} x")), "too short", "generated"),
        (lambda: keys.check_duration("soon"), "--expires 'soon' is not a time", "30d"),
        (lambda: keys.by_model(["chat"], "--model-rpm"), "--model-rpm 'chat' is not MODEL=NUMBER", "chat=60"),
        (lambda: keys.by_model(["a=0"], "--model-rpm"), "is not MODEL=NUMBER", "chat=60"),
        (lambda: keys.by_model(["a=1", "a=2"], "--model-tpm"), "model 'a' is there twice", "leave one"),
    ):
        with pytest.raises(BadInput) as caught:
            change()
        assert what in str(caught.value)
        assert fix in caught.value.fix
        assert own not in str(caught.value)
    assert keys.by_model(["ollama/tiny=6", "b=7"], "--model-rpm") == {"ollama/tiny": 6, "b": 7}
    assert keys.check_own(Secret(f"sk-{own}")).reveal() == f"sk-{own}"
