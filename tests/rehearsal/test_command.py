"""What ``rehearse`` refuses before it makes a sandbox, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from capi_llm.cli.main import run
from capi_llm.kube.resources import Object
from capi_llm.rehearsal import report, timeline
from capi_llm.rehearsal.findings import Finding, ordered
from capi_llm.rehearsal.reasons import differences
from capi_llm.rehearsal.results import ClusterResult, Rehearsal
from capi_llm.rehearsal.timeline import Event, MachineFate, fates
from capi_llm.rehearsal.world import Key, PoolKey
from worlds import pool, small_class, small_cluster

PLANE, POOL = PoolKey("n", "c"), PoolKey("n", "c", "md-0")


@pytest.fixture(autouse=True)
def _places_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CAPI_LLM_PLANE", raising=False)


@pytest.fixture
def now(tmp_path: Path) -> str:
    file = tmp_path / "now.yaml"
    cluster = small_cluster("n", pools=[pool("md-0", 60)])
    file.write_text(yaml.safe_dump_all([*small_class("n"), cluster]))
    return str(file)


@pytest.fixture
def new(tmp_path: Path) -> str:
    file = tmp_path / "new.yaml"
    file.write_text(yaml.safe_dump(small_cluster("n", version="v1.33.0", pools=[pool("md-0", 60)])))
    return str(file)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no change to rehearse"),
        (["-f", "NEW", "--context", "x"], "--context needs --kubeconfig"),
        (["-f", "NEW", "--from", "NOW", "--kubeconfig", "x"], "two answers"),
        (["-f", "NEW", "--from", "NOW", "--network", "10.0.0.0/33"], "--network"),
        (["-f", "NEW", "--from", "NOW"], "61 machines are more than the 40"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_anything_is_made(
    argv: list[str], words: str, now: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rehearse", *({"NEW": new, "NOW": now}.get(word, word) for word in argv)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_without_a_plane_the_way_with_files_is_named(new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rehearse", "-f", new]) == 1
    assert "--from" in capsys.readouterr().err


def test_an_unknown_cluster_is_named(now: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rehearse", "-f", new, "--from", now, "--cluster", "other"]) == 1
    assert "there are n/c" in capsys.readouterr().err


def test_no_change_makes_no_sandbox(now: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rehearse", "-f", now, "--from", now, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["clusters"] == []
    assert not (tmp_path / "state").exists()


# ---------------------------------------------------------------------- fates


def machine(name: str, where: PoolKey = POOL, created: str = "1", **more: object) -> Object:
    labels = {"topology.cluster.x-k8s.io/deployment-name": where.pool} if where.pool else {
        "cluster.x-k8s.io/control-plane": ""}  # fmt: skip
    labels |= more.pop("labels", {})  # type: ignore[arg-type]
    metadata = {"name": name, "namespace": "n", "uid": name, "creationTimestamp": created, "labels": labels}
    return {"metadata": metadata, "spec": {"clusterName": "c", **more}}


def events(*texts: str) -> list[Event]:
    words = {"+": "created", "!": "ready", "-": "deleting", "x": "deleted"}
    return [Event(float(n), words[text[0]], text[1:], POOL) for n, text in enumerate(texts)]  # type: ignore[arg-type]


def test_a_machine_is_replaced_by_the_one_that_came_first_when_it_went_first() -> None:
    before = [machine("a"), machine("b", created="2")]
    after = [machine("c"), machine("d")]
    seen = events("+c", "!c", "-b", "xb", "+d", "-a")
    found = fates(before, after, seen, {POOL: ["live-a", "live-b"]})
    assert found == (
        MachineFate(POOL, "live-a", "a", "replaced", came=3, went=4, by="d"),
        MachineFate(POOL, "live-b", "b", "replaced", came=1, went=2, by="c"),
    )


def test_machines_that_are_more_or_fewer_are_created_or_deleted() -> None:
    assert [item.fate for item in fates([machine("a")], [machine("a"), machine("b")], events("+b"), {})] == [
        "left",
        "created",
    ]
    assert [item.fate for item in fates([machine("a"), machine("b")], [machine("b")], events("-a"), {})] == [
        "deleted",
        "left",
    ]


def test_what_changes_in_place_is_said_and_what_controllers_write_is_not() -> None:
    old = machine("a", labels={"machine-template-hash": "1"}, nodeDrainTimeout="1m")
    new = machine("a", labels={"machine-template-hash": "2", "team": "x"}, nodeDrainTimeout="2m")
    (found,) = fates([old], [new], [], {})
    assert found.fate == "changed in place"
    assert found.changed == ("labels.team: none → x", "nodeDrainTimeout: 1m → 2m")


def test_machines_on_the_way_are_seen() -> None:
    seen = events("+b", "-a", "+c", "-b")
    assert timeline.passing([machine("a")], [machine("c")], seen) == {"b": POOL}


# ---------------------------------------------------------------------- words


def result(*found: MachineFate, **more: object) -> ClusterResult:
    key = Key("cluster.x-k8s.io", "Cluster", "n", "c")
    return ClusterResult(
        key, "small", ("v1.32.0", "v1.32.0"), **{"outcome": "rehearsed", "machines": found, **more}
    )  # type: ignore[arg-type]


def fate(word: timeline.Fate, name: str = "m") -> MachineFate:
    return MachineFate(POOL, name, name, word)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (result(), "nothing would change"),
        (result(fate("left"), why={POOL: ("x",)}), "no machine would be touched"),
        (result(fate("replaced")), "its only machine would be replaced"),
        (result(fate("replaced"), fate("replaced")), "all 2 machines would be replaced"),
        (result(fate("replaced"), fate("left")), "1 of 2 machines would be replaced"),
        (
            result(fate("left"), fate("deleted"), fate("created")),
            "1 of 2 machines would be deleted, 1 machine would be created",
        ),
        (result(fate("changed in place")), "1 machine would be changed in place"),
        (result(fate("left"), outcome="refused"), "the change is refused; nothing would happen"),
        (
            result(fate("left"), outcome="failed"),
            "the topology can not be reconciled; so far nothing would change",
        ),
    ],
)
def test_the_verdict(cluster: ClusterResult, words: str) -> None:
    assert report.verdict(cluster) == words


def test_errors_come_first_and_once() -> None:
    one, other = Finding("note", "a", "x", "y"), Finding("error", "b", "x", "y")
    assert ordered([one, other, one]) == (other, one)


def test_what_is_simulated_is_said_in_every_report() -> None:
    text = "\n".join(report.lines(Rehearsal((), ())))
    assert "simulated in memory" in text
    assert report.as_json(Rehearsal((), ()))["simulated"] == list(report.SIMULATED)


def test_secrets_in_templates_are_not_shown() -> None:
    old = {"files": [{"path": "/x", "content": "hunter2"}], "users": []}
    new = {"files": [{"path": "/x", "content": "hunter3"}], "users": [{"passwd": "hunter4"}]}
    text = "\n".join(differences(old, new))
    assert "files[0].content: (not shown) → (not shown)" in text
    assert "hunter" not in text
    assert list(differences({}, {"taints": [{"key": "a"}]})) == ['taints: none → [{"key": "a"}]']
