"""Our entries in a person's kubeconfig: nothing of anybody else is changed, whatever the file looks like."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.errors import BadInput, Refused
from capi_llm.kube import kubeconfig, merging
from capi_llm.kube.merging import Mark

MARK = Mark("sandbox", "uid-1", "default", "demo")
SOURCE = kubeconfig.build("https://127.0.0.1:20000", name="demo", ca="CA", client_cert="C", client_key="K")
NAME = "demo@sandbox"


def merge(config: dict[str, Any], mark: Mark = MARK, name: str = NAME, **more: Any) -> dict[str, Any]:
    use = more.get("use", False)
    return merging.merge(config, more.get("source", SOURCE), name=name, mark=mark, use=use, where="FILE")


def by_name(config: dict[str, Any], section: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in config.get(section) or []}


def test_an_empty_file() -> None:
    merged = merge(merging.read("", "FILE"))
    assert merged["kind"] == "Config"
    assert "current-context" not in merged
    for section, word in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        (entry,) = merged[section]
        assert entry["name"] == NAME
        assert [item["name"] for item in entry[word]["extensions"]] == ["capi-llm.dev/entry"]
    assert merged["contexts"][0]["context"]["cluster"] == NAME
    assert merged["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:20000"
    assert merging.marks(merged) == [MARK]


def test_again_changes_nothing_and_another_content_replaces() -> None:
    once = merge({"current-context": "mine"})
    assert merge(once) == once
    moved = kubeconfig.build("https://127.0.0.1:20001", name="demo", token="t")
    twice = merge(once, source=moved)
    assert [entry["cluster"]["server"] for entry in twice["clusters"]] == ["https://127.0.0.1:20001"]
    assert "client-key-data" not in twice["users"][0]["user"]
    assert twice["current-context"] == "mine"


def test_the_namespace_that_somebody_chose_stays() -> None:
    once = merge({})
    once["contexts"][0]["context"]["namespace"] = "apps"
    assert merge(once)["contexts"][0]["context"]["namespace"] == "apps"


def test_a_plane_made_anew_under_its_name_takes_its_entries_over() -> None:
    again = Mark("sandbox", "uid-2", "default", "demo")
    assert merging.marks(merge(merge({}), mark=again)) == [again]


@pytest.mark.parametrize("section", ["clusters", "users", "contexts"])
def test_what_is_anothers_is_not_replaced(section: str) -> None:
    word = section[:-1]
    for body in ({word: {}}, {word: None}, {}, {word: {"extensions": [{"name": "capi-llm.dev/entry"}]}}):
        config = {section: [{"name": NAME, **body}]}
        with pytest.raises(Refused, match=f"{word} '{NAME}'") as caught:
            merge(config)
        assert "--as" in caught.value.fix
        assert merging.marks(merge(config, name="other")) == [MARK]


def test_another_cluster_of_ours_is_not_replaced_either() -> None:
    with pytest.raises(Refused):
        merge(merge({}), mark=Mark("sandbox", "uid-1", "team", "demo"))


def test_use() -> None:
    assert merge({"current-context": "mine"}, use=True)["current-context"] == NAME


def test_remove_takes_ours_only() -> None:
    other = Mark("sandbox", "uid-1", "team", "demo")
    both = merge(merge({"users": [{"name": "me", "user": {"token": "t"}}]}, use=True), mark=other, name="x")
    left = merging.remove(both, lambda mark: mark == MARK)
    assert merging.marks(left) == [other]
    assert set(by_name(left, "users")) == {"me", "x"}
    assert left["current-context"] == ""
    stays = merging.remove(both | {"current-context": "x"}, lambda mark: mark == MARK)
    assert stays["current-context"] == "x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "not YAML"),
        ("just text", "not a map"),
        ("- a", "not a map"),
        ("kind: Pod", "kind is Pod"),
        ("clusters: none", "clusters are not a list"),
        ("users: {a: b}", "users are not a list"),
        ("contexts: [a]", "contexts are not a list"),
        ("contexts: [{context: {}}]", "contexts are not a list"),
    ],
)
def test_what_is_no_kubeconfig_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match="was not touched") as caught:
        merging.read(text, "FILE")
    assert why in caught.value.why


def test_nothing_of_a_broken_file_is_shown() -> None:
    with pytest.raises(BadInput) as caught:
        merging.read("users: [{name: a, user: {token: hunter2, x: [}}]", "FILE")
    assert "hunter2" not in str(caught.value)


def test_numbers_and_dates_stay_as_they_were_written() -> None:
    text = (
        "users:\n- name: a\n  user:\n    token: 007\n    expiry: 2026-01-01T00:00:00Z\n    version: 1.10\n"
        "    word: 'yes'\n    more: 1e3\n    flag: true\n    nothing: null\n    big: 12_000\n"
    )
    config = merging.read(text, "FILE")
    assert yaml.load(merging.render(config), Loader=yaml.BaseLoader) == yaml.load(
        text, Loader=yaml.BaseLoader
    )
    assert merging.read(merging.render(config), "FILE") == config


NAMES = st.text("abc@-./ é", min_size=1, max_size=4)
SCALARS = st.none() | st.booleans() | st.text(max_size=6) | st.sampled_from(["007", "1.0", "2026-01-01", "~"])
BODIES = st.none() | st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=2), max_size=3)


def sections(word: str) -> st.SearchStrategy[Any]:
    entry = st.fixed_dictionaries({"name": NAMES}, optional={word: BODIES, "more": SCALARS})
    return st.none() | st.lists(entry, max_size=4)


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.just("v1"),
        "kind": st.just("Config"),
        "preferences": st.just({}) | st.none(),
        "clusters": sections("cluster"),
        "users": sections("user"),
        "contexts": sections("context"),
        "current-context": NAMES | st.none(),
        "something-else": SCALARS,
    },
)


@given(CONFIGS, st.booleans())
def test_whatever_was_there_is_there(config: dict[str, Any], use: bool) -> None:
    read = merging.read(yaml.safe_dump(config, allow_unicode=True), "FILE")
    merged = merging.read(merging.render(merge(read, name="ours", use=use)), "FILE")
    assert merge(merged, name="ours", use=use) == merged
    for key in read.keys() - {"clusters", "users", "contexts", "current-context"}:
        assert merged[key] == read[key]
    for section in ("clusters", "users", "contexts"):
        assert [entry for entry in merged[section] if entry["name"] != "ours"] == (read.get(section) or [])
    if not use:
        assert merged.get("current-context") == read.get("current-context")
    back = merging.remove(merged, lambda mark: True)
    for section in ("clusters", "users", "contexts"):
        assert back[section] == (read.get(section) or [])
