"""``models:`` of capi-llm.yaml: what is read, and what is refused, with the place and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from capi_llm import versions
from capi_llm.errors import BadInput
from capi_llm.settings import Backend, KeyRef, Model, Serving, load
from capi_llm.settings.models import written

HEAD = f"apiVersion: {versions.API_VERSION}\n"
TWO = """
models:
  - name: chat
    backends:
      - {name: primary, type: vllm, model: Qwen/Qwen2.5-7B-Instruct, weight: 90, deploy: {gpus: 1}}
      - name: canary
        type: openai-compatible
        url: http://worker.models:8000/v1
        weight: 10
        apiKey: {secret: worker, key: api-key}
    contextLength: 8192
    timeoutSeconds: 120
    fallbacks: [openai/gpt-4o-mini]
  - name: openai/gpt-4o-mini
    backends: [{type: openai}]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "capi-llm.yaml"


def said(file: Path, text: str) -> tuple[Model, ...] | None:
    file.write_text(HEAD + text)
    return load(file, environ={"HOME": str(file.parent)}).models


def test_models_are_read(file: Path) -> None:
    assert said(file, TWO) == (
        Model(
            "chat",
            (
                Backend("primary", "vllm", "Qwen/Qwen2.5-7B-Instruct", weight=90, serving=Serving()),
                Backend(
                    "canary", "openai-compatible", "chat", "http://worker.models:8000/v1", 10,
                    KeyRef(secret="worker", key="api-key"),
                ),
            ),
            context_length=8192,
            timeout=120,
            fallbacks=("openai/gpt-4o-mini",),
        ),
        Model("openai/gpt-4o-mini", (Backend("openai", "openai", "gpt-4o-mini"),)),
    )  # fmt: skip
    assert said(file, "") is None
    assert said(file, "models: []") == ()


def test_what_is_written_is_read_as_the_same(file: Path) -> None:
    import yaml

    models = said(file, TWO)
    assert models is not None
    again = said(file, yaml.safe_dump({"models": [written(model) for model in models]}))
    assert again == models


def one(**words: str) -> str:
    backend = ", ".join(f"{word}: {value}" for word, value in words.items())
    return f"models:\n  - name: a\n    backends:\n      - {{{backend}}}\n"


def two(first: str, second: str) -> str:
    return f"models:\n  - name: a\n    backends:\n      - {{{first}}}\n      - {{{second}}}\n"


def linked(*pairs: tuple[str, str]) -> str:
    lines = [f"  - {{name: {name}, backends: [{{type: ollama}}], fallbacks: [{to}]}}" for name, to in pairs]
    return "models:\n" + "\n".join(lines) + "\n"


REFUSED = [
    ("models: {a: 1}", "capi-llm.yaml:2: models: {'a': 1} is not a list", "write `- name: …`"),
    ("models: [a]", "capi-llm.yaml:2: models[0]: 'a' is not a map", "word: value"),
    ("models:\n  - backends: [{type: ollama}]", "capi-llm.yaml:3: models[0]: `name` is missing", "name: …"),
    (
        "models:\n  - name: a b\n    backends: [{type: ollama}]",
        "capi-llm.yaml:3: models[0].name: 'a b' is not a model's name",
        "ollama/tinyllama",
    ),
    ("models:\n  - name: a", "models[0].backends: model 'a' has no backend", "type: ollama"),
    ("models:\n  - name: a\n    backend: []", "capi-llm.yaml:4: models[0].backend is not", "'backends'"),
    (
        linked(("a", ""), ("a", "")).replace("[]", "[]"),
        "capi-llm.yaml:4: models[1].name: model 'a' is there twice",
        "several backends",
    ),
    (linked(("a", "tin"), ("tiny", "")), "models[0].fallbacks[0]: there is no model 'tin'", "'tiny'"),
    (
        linked(("a", "b"), ("b", "a")),
        "models[1].fallbacks: the fallbacks go round in a circle",
        "take 'a' out",
    ),
    (linked(("a", "a")), "circle", "take 'a' out"),
    (linked(("'*'", ""), ("b", "'*'")), "'*' can be no fallback", "name one"),
    (linked(("a", "7")), "models[0].fallbacks[0]: 7 is not a text", "in quotes"),
    (one(typ="ollama"), "capi-llm.yaml:5: models[0].backends[0].typ is not known", "'type'"),
    (one(type="olama"), "models[0].backends[0].type: 'olama' is not known", "'ollama'"),
    (one(type="ollama", name="A"), "backends[0].name: 'A' is not a valid name", "use 'a'"),
    (one(type="vllm"), "nobody says where vllm serves 'a'", "deploy: {gpus: 1}"),
    (one(type="sglang"), "nobody says where sglang serves 'a'", "`url:`"),
    (one(type="bentoml"), "backends[0].url: it is missing", "url: http"),
    (one(type="openai", url="http://a/v1"), "openai has no address to say", "openai-compatible"),
    (one(type="mock", url="http://a/v1"), "mock has no address to say", "remove it"),
    (one(type="vllm", url="worker:8000"), "'worker:8000' is not an address", "http://model-worker:8000/v1"),
    (one(type="vllm", url="'http://worker:0/v1'"), "is not an address", "http://model-worker"),
    (
        one(type="vllm", url="'http://worker:8000'"),
        "'http://worker:8000' has no path",
        "write http://worker:8000/v1",
    ),
    (one(type="ollama", url="'http://o:11434/v1'"), "without /v1", "write http://o:11434"),
    (one(type="vllm", url="'http://me:hunter2@w:8000/v1'"), "a user or password does not belong", "apiKey"),
    (
        one(type="openai", apiKey="sk-hunter2hunter2"),
        "backends[0].apiKey: a key does not belong",
        "secret: NAME",
    ),
    (one(type="openai", apiKey="{variable: OPENAI_KEY}"), "'OPENAI_KEY' is not known", "'OPENAI_API_KEY'"),
    (one(type="openai", apiKey="{secret: a}"), "apiKey: `key` is missing", "key: …"),
    (one(type="openai", apiKey="{secret: A_B, key: k}"), "'A_B' is not the name of a Secret", "e.g."),
    (one(type="openai", apiKey="{secret: a, key: 'k k'}"), "'k k' is not a key of a Secret", "e.g."),
    (
        one(type="openai", apiKey="{secret: a, key: k, variable: OPENAI_API_KEY}"),
        "in a variable or in a Secret",
        "leave one",
    ),
    (one(type="ollama", apiKey="{secret: a, key: k}"), "ollama wants no key", "remove"),
    (one(type="ollama", deploy="{gpus: 1}"), "deploys vllm and sglang, not ollama", "app of its own"),
    (
        one(type="vllm", url="'http://w/v1'", deploy="{gpus: 1}"),
        "has `url` or `deploy`, not both",
        "leave one",
    ),
    (one(type="vllm", deploy="{gpu: 1}"), "backends[0].deploy.gpu is not known", "'gpus'"),
    (one(type="vllm", deploy="{gpus: 0}"), "deploy.gpus: 0 is not a whole number from 1 to 64", "gpus: 10"),
    (one(type="vllm", deploy="{memoryFraction: 90}"), "memoryFraction: 90 is not a part of 1", "0.9"),
    (one(type="vllm", deploy="{volume: big}"), "deploy.volume: 'big' is not a size", "40Gi"),
    (one(type="vllm", deploy="{runtimeClass: N_A}"), "runtimeClass: 'N_A' is not a valid name", "n-a"),
    (one(type="ollama", answer="hi"), "only a mock says always the same", "remove"),
    (one(type="ollama", model="''"), "'' is not the name of a model", "tinyllama"),
    (one(type="mock", weight="-1"), "weight: -1 is not a whole number from 0 to 1000", "weight: 10"),
    (one(type="mock", weight="0"), "all weights of 'a' are 0", "above 0"),
    (two("type: mock", "type: mock"), "backends[1]: model 'a' has two backends 'mock'", "primary and canary"),
    (
        two("type: mock, weight: 9", "type: ollama"),
        "capi-llm.yaml:6: models[0].backends[1]: backend 'ollama' has no weight",
        "for each",
    ),
    (two("type: mock, weight: 0", "type: ollama, weight: 0"), "all weights of 'a' are 0", "above 0"),
    ("models:\n  - {name: a, backends: [{type: mock}], contextLength: 0}", "contextLength: 0", "whole"),
    (
        "models:\n  - {name: a, backends: [{type: mock}], timeoutSeconds: soon}",
        "timeoutSeconds: 'soon'",
        "120",
    ),
    (
        "models:\n  - {name: a, backends: [{type: mock}], streamTimeoutSeconds: -1}",
        "streamTimeoutSeconds: -1",
        "120",
    ),
    (
        "models:\n  - {name: a, backends: [{type: mock}], requestsPerMinute: 1.5}",
        "requestsPerMinute: 1.5",
        "10",
    ),
    (
        "models:\n  - {name: a, backends: [{type: mock}], tokensPerMinute: true}",
        "tokensPerMinute: True",
        "10",
    ),
    (
        "models:\n  - {name: a, backends: [{type: mock}], fallbacks: b}",
        "fallbacks: 'b' is not a list",
        "[OTHER]",
    ),
]


@pytest.mark.parametrize(("text", "what", "fix"), REFUSED)
def test_what_can_not_be_is_refused_with_the_place_and_the_fix(
    file: Path, text: str, what: str, fix: str
) -> None:
    with pytest.raises(BadInput, match=r"capi-llm\.yaml:\d+: ") as caught:
        said(file, text)
    assert what in str(caught.value)
    assert fix in str(caught.value)
    assert caught.value.fix
    assert "hunter2" not in str(caught.value)
