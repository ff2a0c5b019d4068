"""``models:`` of capi-llm.yaml is changed without touching anything else in the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capi_llm import documents, versions
from capi_llm.errors import BadInput
from capi_llm.models import editing
from capi_llm.settings import Backend, Model
from capi_llm.settings.model_words import read

TEXT = f"""\
# Settings of the team.
apiVersion: {versions.API_VERSION}   # do not touch
kind: Settings

models:
  # The small one, for tests.
  - name: ollama/tinyllama  # local
    backends: [{{type: ollama}}]

  - name: chat
    backends:
      - name: primary   # what people know
        type: openai
        model: "gpt-4o-mini"
        weight: 90      # nine of ten
      - {{name: canary, type: mock, weight: 10}}

# About apps.
apps:
    wanted:   [ollama,   litellm]   # odd spaces stay
plane: {{kind: sandbox}}
"""


def model(text: str, name: str) -> Model:
    data = documents.load(text, "capi-llm.yaml")[0].data
    return next(item for item in read(data["models"], "models") if item.name == name)


def others(text: str) -> list[str]:
    before, _, rest = text.partition("models:\n")
    return [before, rest[rest.index("# About apps.") :]]


def test_a_weight_is_changed_and_every_comment_stays() -> None:
    from dataclasses import replace

    chat = model(TEXT, "chat")
    fresh = replace(
        chat, backends=(replace(chat.backends[0], weight=50), replace(chat.backends[1], weight=50))
    )
    after = editing.changed(TEXT, editing.put([fresh]), where="capi-llm.yaml")
    assert model(after, "chat").weights == {"primary": 50, "canary": 50}
    expected = TEXT.replace("weight: 90      #", "weight: 50      #").replace("weight: 10}", "weight: 50}")
    assert after == expected


def test_nothing_else_is_touched() -> None:
    fresh = Model("new", (Backend("mock", "mock", "new", answer="hello"),))
    after = editing.changed(TEXT, editing.put([fresh]), where="capi-llm.yaml")
    assert model(after, "new") == fresh
    assert others(after) == others(TEXT)
    gone = editing.changed(after, editing.take_out("new"), where="capi-llm.yaml")
    assert others(gone) == others(TEXT)
    assert [item["name"] for item in documents.load(gone, "")[0].data["models"]] == [
        "ollama/tinyllama", "chat",
    ]  # fmt: skip
    for comment in ("# The small one", "# local", "# what people know", "# nine of ten"):
        assert comment in gone


def test_a_file_without_models_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fresh = Model("new", (Backend("mock", "mock", "new"),))
    path, wrote = editing.save(None, editing.put([fresh]))
    assert (path, wrote) == (Path("capi-llm.yaml"), True)
    assert model(path.read_text(), "new") == fresh
    assert editing.save(path, editing.put([fresh])) == (path, False)
    own = tmp_path / "own.yaml"
    own.write_text(f"apiVersion: {versions.API_VERSION}\nplane: {{kind: sandbox}}")  # no line end
    own.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(own)
    editing.save(link, editing.put([fresh]))
    assert link.is_symlink()
    assert own.stat().st_mode & 0o777 == 0o640
    assert own.read_text().startswith(
        f"apiVersion: {versions.API_VERSION}\nplane: {{kind: sandbox}}\nmodels:"
    )


def test_what_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "capi-llm.yaml"
    path.write_text(TEXT)
    bad = Model("chat", (Backend("mock", "mock", "chat"),), fallbacks=("nobody",))
    with pytest.raises(BadInput, match="there is no model 'nobody'"):
        editing.save(path, editing.put([bad]))
    assert path.read_text() == TEXT
    assert os.listdir(tmp_path) == ["capi-llm.yaml"]


def test_a_reference_into_models_is_left_to_people(tmp_path: Path) -> None:
    path = tmp_path / "capi-llm.yaml"
    text = (
        f"apiVersion: {versions.API_VERSION}\nmodels:\n  - &m {{name: a, backends: [{{type: mock}}]}}\n"
        "apps:\n  values:\n    litellm: {podLabels: *m}\n"
    )
    path.write_text(text)
    with pytest.raises(BadInput, match=r"can not be changed by a program|is not") as caught:
        editing.save(path, editing.take_out("a"))
    assert path.read_text() == text
    assert caught.value.fix
