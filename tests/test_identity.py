"""Which plane a command acts on, and what its file may hold."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capi_llm import versions
from capi_llm.errors import BadInput, CapiLlmError, NotFound, Refused
from capi_llm.files import sweep, write_private
from capi_llm.identity import (
    SCHEMA_VERSION,
    Identities,
    Identity,
    check_name,
    check_uid,
    writable,
)


def plane(name: str, **more: Any) -> Identity:
    return Identity(name, "sandbox", f"/there/{name}.kubeconfig", f"capi-llm-{name}", **more)


@pytest.fixture
def planes(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "state")


def write(planes: Identities, name: str, content: Any) -> Path:
    path = planes.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def stored(name: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**dataclasses.asdict(plane(name)), **(change or {})}


# Resolution


def test_a_plane_is_chosen_by_flag_then_variable_then_use_then_because_it_is_the_only_one(
    planes: Identities,
) -> None:
    planes.save(plane("only"))
    assert planes.resolve("", "").name == "only"
    for name in ("flag", "variable", "used"):
        planes.save(plane(name))
    planes.use("used")
    assert planes.resolve("", "").name == "used"
    assert planes.resolve("", "variable").name == "variable"
    assert planes.resolve("flag", "variable").name == "flag"


def test_without_any_plane_the_command_says_how_to_make_one(planes: Identities) -> None:
    with pytest.raises(NotFound) as caught:
        planes.resolve("", "")
    assert caught.value.fix == "capi-llm bootstrap"


def test_several_planes_and_no_choice_is_refused_and_all_are_named(planes: Identities) -> None:
    for name in ("one", "two", "three"):
        planes.save(plane(name))
    with pytest.raises(Refused) as caught:
        planes.resolve("", "")
    assert caught.value.on == "one, three, two"
    assert "planes use one" in caught.value.fix


@pytest.mark.parametrize("how", ["flag", "variable", "used"])
def test_a_plane_that_is_named_and_not_there_is_never_replaced_by_another(
    planes: Identities, how: str
) -> None:
    planes.save(plane("only"))
    if how == "used":
        planes.save(plane("gone"))
        planes.use("gone")
        planes.path("gone").unlink()
    with pytest.raises(NotFound, match="'gone'") as caught:
        planes.resolve("gone" if how == "flag" else "", "gone" if how == "variable" else "")
    assert caught.value.why == "there are: only"


def test_a_used_plane_must_exist(planes: Identities) -> None:
    with pytest.raises(NotFound) as caught:
        planes.use("nowhere")
    assert caught.value.fix == "capi-llm bootstrap --name nowhere"
    assert planes.used() == ""


def test_removing_the_used_plane_frees_the_choice(planes: Identities) -> None:
    planes.save(plane("a"))
    planes.save(plane("b"))
    planes.use("a")
    planes.remove("b")
    assert planes.used() == "a"
    planes.remove("a")
    assert planes.used() == ""
    planes.remove("a")
    assert planes.names() == []


@pytest.mark.parametrize(
    "name", ["..", "../../elsewhere", "/etc/passwd", "a/b", "A", "a b", "x" * 300, "a\n"]
)
def test_what_can_not_be_a_name_never_becomes_a_path(planes: Identities, name: str) -> None:
    planes.save(plane("only"))
    for act in (
        planes.find,
        planes.use,
        lambda name: planes.resolve(name, ""),
        lambda name: planes.resolve("", name),
    ):
        with pytest.raises(BadInput, match="not a valid name"):
            act(name)


def test_a_file_that_can_not_be_a_plane_is_not_one(planes: Identities) -> None:
    planes.save(plane("good"))
    write(planes, "Copy of good", "{}")
    write(planes, ".hidden", "{}")
    assert planes.names() == ["good"]
    assert [item.name for item in planes.all()] == ["good"]


def test_a_choice_that_is_not_text_is_no_choice(planes: Identities, tmp_path: Path) -> None:
    planes.save(plane("only"))
    (tmp_path / "state" / "plane").write_bytes(b"\xff\xfe")
    assert planes.resolve("", "").name == "only"


# The file


def test_a_saved_plane_comes_back_equal(planes: Identities) -> None:
    saved = plane("demo", uid="u", instance="word", loopback="127.0.0.3", ports={"etcd": 24100})
    planes.save(saved)
    assert planes.find("demo") == saved
    assert planes.find("other") is None


def test_a_plane_file_is_private_and_so_is_a_folder_made_for_it(planes: Identities) -> None:
    planes.save(plane("demo"))
    planes.use("demo")
    path = planes.path("demo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    planes.save(plane("demo"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reader_never_sees_half_a_file(planes: Identities) -> None:
    long = plane("demo", ports={f"port-{number}": number for number in range(1, 2000)})
    short = plane("demo")
    planes.save(short)
    ended = threading.Event()
    seen: list[Identity | None] = []

    def read() -> None:
        while not ended.is_set() or len(seen) < 20:
            seen.append(planes.find("demo"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(60):
            planes.save(long if number % 2 else short)
    finally:
        ended.set()
        reader.join()
    assert all(item in (long, short) for item in seen)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "half\udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


_BEGINS = """
import os, sys, time
from pathlib import Path
from capi_llm import files
os.fsync = lambda handle: (print("begun", flush=True), time.sleep(600))
files.write_private(Path(sys.argv[1]), "secret")
"""


def test_what_a_killed_writer_has_begun_is_removed_and_nothing_of_one_that_lives(tmp_path: Path) -> None:
    target, other = tmp_path / "file", tmp_path / "other"
    writers = {}
    for path in (target, other):
        writers[path] = subprocess.Popen(
            [sys.executable, "-c", _BEGINS, str(path)], stdout=subprocess.PIPE, text=True
        )
        stdout = writers[path].stdout
        assert stdout is not None
        assert stdout.readline() == "begun\n"
    try:
        writers[target].kill()
        writers[target].wait()
        assert len(list(tmp_path.iterdir())) == 2
        (mine,) = tmp_path.glob(".file.*")
        assert stat.S_IMODE(mine.stat().st_mode) == 0o600
        write_private(target, "new")
        (its,) = set(tmp_path.iterdir()) - {target}
        assert its.name.startswith(".other.")
        sweep(tmp_path)
        assert its.exists()
        writers[other].kill()
        writers[other].wait()
        (tmp_path / ".other.notes").touch()
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"file", ".other.notes"}
    finally:
        for writer in writers.values():
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()


def test_sweeping_all_the_time_takes_nothing_from_writers(tmp_path: Path) -> None:
    ended = threading.Event()

    def write_all() -> None:
        for number in range(300):
            write_private(tmp_path / "state" / "file", str(number))

    def clean() -> None:
        while not ended.is_set():
            sweep(tmp_path / "state")
            with contextlib.suppress(OSError):
                (tmp_path / "state" / "file").unlink()
            with contextlib.suppress(OSError):
                (tmp_path / "state").rmdir()

    with ThreadPoolExecutor(2) as threads:
        cleaning, writing = threads.submit(clean), threads.submit(write_all)
        try:
            writing.result()
        finally:
            ended.set()
        cleaning.result()


def test_a_damaged_plane_hides_no_other(planes: Identities) -> None:
    planes.save(plane("good"))
    for name, text in (("bad", "{"), ("newer", json.dumps({"schema_version": SCHEMA_VERSION + 1}))):
        planes.path(name).write_text(text)
    good, damaged = planes.sorted_out()
    assert [item.name for item in good] == [item.name for item in planes.all()] == ["good"]
    assert set(damaged) == {"bad", "newer"}
    assert planes.names() == ["bad", "good", "newer"]


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CapiLlmError, match="can not be written") as caught:
        write_private(tmp_path / "file" / "below", "")
    assert caught.value.on.endswith("below")
    assert caught.value.fix


@pytest.mark.parametrize("content", ["", "{", "not json", '{"name": "de', b"\xff\xfe\x00"])
def test_a_corrupt_file_is_refused_and_the_way_out_named(planes: Identities, content: Any) -> None:
    path = write(planes, "demo", "")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Refused, match="can not be read") as caught:
        planes.find("demo")
    assert caught.value.on == str(path)
    assert "destroy --name demo" in caught.value.fix


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        "text",
        {},
        {"schema_version": "1"},
        {"schema_version": None},
    ],
)
def test_json_that_is_not_ours_is_refused(planes: Identities, content: Any) -> None:
    write(planes, "demo", json.dumps(content))
    with pytest.raises(Refused, match="not one of ours"):
        planes.find("demo")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": None},
        {"kubeconfig": 5},
        {"cli_version": None},
        {"uid": ["a"]},
        {"ports": None},
        {"ports": [24100]},
        {"ports": {"etcd": "24100"}},
        {"name": 7},
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_name(planes: Identities, change: dict[str, Any]) -> None:
    write(planes, "demo", stored("demo", change))
    with pytest.raises(Refused, match="incomplete") as caught:
        planes.find("demo")
    assert next(iter(change)).removesuffix("s") in caught.value.why


def test_a_missing_value_is_refused_by_its_name(planes: Identities) -> None:
    data = stored("demo")
    del data["kubeconfig"]
    write(planes, "demo", data)
    with pytest.raises(Refused, match="kubeconfig"):
        planes.find("demo")


def test_a_newer_schema_is_refused_and_the_version_to_install_named(planes: Identities) -> None:
    write(planes, "demo", {"schema_version": SCHEMA_VERSION + 1, "cli_version": "9.1.0", "anything": {}})
    with pytest.raises(Refused, match="newer capi-llm") as caught:
        planes.find("demo")
    assert "9.1.0" in caught.value.fix


def test_values_that_a_newer_version_added_within_the_schema_are_left_aside(planes: Identities) -> None:
    write(planes, "demo", stored("demo", {"added_later": {"a": 1}}))
    assert planes.find("demo") == plane("demo")


def test_a_file_copied_to_another_name_is_refused(planes: Identities) -> None:
    write(planes, "copy", stored("demo"))
    with pytest.raises(Refused, match="another plane's name"):
        planes.find("copy")


# What a plane allows


@pytest.mark.parametrize("version", [versions.CLI, "0.0.1", f"v{versions.CLI}"])
def test_a_plane_of_this_or_an_older_version_may_be_written_to(version: str) -> None:
    writable(plane("demo", cli_version=version))


@pytest.mark.parametrize("version", ["99.0.0", "0.1.1", "0.2.0-rc.1", "tomorrow", ""])
def test_a_plane_of_a_newer_or_unreadable_version_is_only_read(version: str) -> None:
    with pytest.raises(Refused, match="newer capi-llm"):
        writable(plane("demo", cli_version=version))


def test_another_cluster_at_the_same_address_is_refused() -> None:
    check_uid(plane("new"), "anything")
    check_uid(plane("demo", uid="mine"), "mine")
    for other in ("other", ""):
        with pytest.raises(Refused, match="another cluster") as caught:
            check_uid(plane("demo", uid="mine"), other)
        assert "mine" in caught.value.why
        assert "destroy --name demo" in caught.value.fix


# Names


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63, "1-2"])
def test_a_label_is_a_name(name: str) -> None:
    assert check_name(name, "plane name") == name


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("My_Plane", "use 'my-plane'"),
        ("-a-", "use 'a'"),
        ("a.b", "use 'a-b'"),
        ("a" * 62 + "--b", "use " + repr("a" * 62)),
        ("demo\n", "use 'demo'"),
        ("Ünï", "use 'n'"),
        ("___", "choose another name"),
        ("", "choose another name"),
    ],
)
def test_what_is_no_label_is_refused_with_a_name_that_is_one(name: str, suggestion: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_name(name, "cluster name")
    assert caught.value.what.startswith("cluster name")
    assert caught.value.fix == suggestion
    if suggestion.startswith("use "):
        check_name(suggestion.removeprefix("use ").strip("'"), "cluster name")
