"""YAML of people is read as JSON would have it, with lines, and what JSON lacks is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from capi_llm import documents
from capi_llm.errors import BadInput


def load(text: str) -> documents.Document:
    (found,) = documents.load(text, "x.yaml")
    return found


def test_values_and_their_places() -> None:
    found = load("a: 1\nb:\n  c: [x, 2024-01-01, true, ~]\n  d: {e: 1.5}\n")
    assert found.data == {"a": 1, "b": {"c": ["x", "2024-01-01", True, None], "d": {"e": 1.5}}}
    assert found.at("b", "c", 1) == "x.yaml:3: b.c[1]"
    assert found.at("b", "d", "e") == "x.yaml:4: b.d.e"
    assert found.at("b", "nobody") == "x.yaml:2: b.nobody"
    assert found.at() == "x.yaml:1"


def test_anchors_and_merged_maps_are_taken() -> None:
    found = load("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nlist: [*b, *b]\n")
    assert found.data["mine"] == {"x": 1, "y": 3}
    assert found.data["list"] == [{"x": 1, "y": 2}] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml:3: 'a' is there twice: the other one is in line 1"),
        ("a:\n  - b: 1\n    b: 2", "x.yaml:3: 'a[0].b' is there twice"),
        ("a: 1\n1: 2", "x.yaml:2: the key 1 is not text"),
        ("yes: 2", "x.yaml:1: the key yes is not text"),
        ("? [a]\n: 1", "x.yaml:1: the key a list or map is not text"),
        ("a: !!binary YQ==", "the tag"),
        ("a: !x y", "the tag '!x' has no meaning here"),
        ("a: !!set {b}", "the tag"),
        ("a: !!python/object:os.system x", "the tag"),
        ("a: .nan", "x.yaml:1: '.nan' is no number in JSON"),
        ("a:\n- -.inf", "x.yaml:2: '-.inf' is no number in JSON"),
        ("a: !!int x", "x.yaml:1: 'x' can not be read"),
        ("a: " + "9" * 5000, "x.yaml:1: "),
        ("a: &a [*a]", "x.yaml:1: a reference leads in a circle"),
        ("a: [" + "[" * 200, "x.yaml:1: this is not YAML"),
        ("a: " + "[" * 150 + "]" * 150, "it is nested too deeply"),
        ("[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: [\nb", "x.yaml:2: this is not YAML"),
        ("a: *nobody", "x.yaml:1: this is not YAML"),
        ("a: \0", "this is not YAML"),
    ],
)
def test_what_json_lacks_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        documents.load(text, "x.yaml")
    assert message in str(caught.value)
    assert caught.value.fix


def test_references_that_blow_up_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(BadInput, match="says too much"):
        documents.load("\n".join(lines), "x.yaml")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("#" * (documents.LARGEST + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("large", "binary", ""):
        with pytest.raises(BadInput, match="the file of -f") as caught:
            documents.read(tmp_path / name, "-f")
        assert caught.value.fix
    with pytest.raises(BadInput, match="the file of -f is too large"):
        documents.read(Path("/dev/zero"), "-f")
    with pytest.raises(FileNotFoundError):
        documents.read(tmp_path / "none", "-f")


@pytest.mark.parametrize(
    "text", ["n", "Y", "1e3", "089", "0o17", "1.", ".5", "-0", "12e4567", "on", "1_0", "~"]
)
def test_text_that_looks_like_something_else_in_go_is_in_quotes(text: str) -> None:
    """All but the last three are plain for PyYAML; a cluster may be called ``n``, a hash be ``12e4567``."""
    assert documents.written({"a": text}) == f"a: '{text}'\n"


def test_what_is_written_is_read_as_it_was() -> None:
    value = {
        "a": [1, 1.5, True, None, "", "v1.2.3", "1.2.3", "node", "yes!", "10.0.0.0/16", "e3"],
        "n": {"y": "x"},
    }
    assert yaml.safe_load(documents.written(value)) == value
    text = documents.written(value)
    for plain in ("- 1\n", "- 1.5\n", "- v1.2.3\n", "- 1.2.3\n", "- node\n", "- 10.0.0.0/16\n", "- e3\n"):
        assert plain in text
    assert "'n':\n  'y': x\n" in text
