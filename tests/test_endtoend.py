"""The end-to-end run: images of the same input are the same bytes, and what is reported is what was said."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def endtoend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.mark.usefixtures("endtoend")
class TestArchive:
    def test_layers_of_the_same_files_are_the_same_bytes(self, tmp_path: Path) -> None:
        from endtoend import archive

        program = tmp_path / "program"
        program.write_bytes(b"\x7fELF")
        layers = []
        for name in ("first.tar", "second.tar"):
            program.touch()
            files = {"/usr/local/bin/program": program, "/etc/some.conf": "text\n"}
            layers.append(archive.layer(tmp_path / name, files, {"/usr/local/bin/other": "program"}))
        assert layers[0].digest == layers[1].digest
        with tarfile.open(layers[0].tar) as tar:
            modes = {entry.name: entry.mode for entry in tar}
        assert modes["usr/local/bin/program"] == 0o755
        assert modes["etc/some.conf"] == 0o644
        assert "usr/local/bin/other" in modes

    def test_an_image_is_what_docker_load_reads(self, tmp_path: Path) -> None:
        from endtoend import archive

        shared = archive.layer(tmp_path / "shared.tar", {"/shared": "1"})
        own = archive.layer(tmp_path / "own.tar", {"/own": "2"})
        images = [
            archive.Image(["example/one:v1"], [shared], ["/shared"], {"PORT": "80"}, user="65532"),
            archive.Image(["example/two:v1"], [shared, own], ["/own"], stop_signal="SIGRTMIN+3"),
        ]
        with tarfile.open(archive.save(images, tmp_path / "saved.tar")) as tar:
            names = tar.getnames()
            texts = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
        manifest = json.loads(texts["manifest.json"])
        assert [item["RepoTags"] for item in manifest] == [["example/one:v1"], ["example/two:v1"]]
        assert len([name for name in names if name.endswith("layer.tar")]) == 2  # the shared one once
        for item in manifest:
            config = json.loads(texts[item["Config"]])
            digests = [f"sha256:{hashlib.sha256(texts[path]).hexdigest()}" for path in item["Layers"]]
            assert config["rootfs"]["diff_ids"] == digests
        first, second = (json.loads(texts[item["Config"]])["config"] for item in manifest)
        assert first["User"] == "65532"
        assert "PORT=80" in first["Env"]
        assert second["StopSignal"] == "SIGRTMIN+3"


@pytest.mark.usefixtures("endtoend")
def test_every_part_of_the_run_can_be_built() -> None:
    """Its module graphs are there, and pin what the catalogue builds."""
    from endtoend import binaries

    for part in binaries.CATALOGUE.values():
        (source,) = part.sources.values()
        texts = source.graph.texts()
        assert f"{source.module} v" in texts["go.mod"], part.name
        assert source.module in texts["go.sum"]
        assert source.package in texts["go.mod"], f"{part.name} is no tool of {source.graph.name}"


@pytest.mark.usefixtures("endtoend")
def test_a_node_takes_requests_while_it_is_ready_and_not_cordoned() -> None:
    from endtoend.traffic import _address

    def node(ready: str, **spec: bool) -> dict[str, object]:
        return {
            "spec": spec,
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "addresses": [
                    {"type": "Hostname", "address": "a"},
                    {"type": "InternalIP", "address": "10.0.0.1"},
                ],
            },
        }

    assert _address(node("True")) == "10.0.0.1"
    assert _address(node("False")) == ""
    assert _address(node("True", unschedulable=True)) == ""


@pytest.mark.usefixtures("endtoend")
def test_only_older_files_of_the_same_name_are_swept(tmp_path: Path) -> None:
    from endtoend import archive

    new, old = "node-v1.32.2-0123456789abcdef", "node-v1.32.2-fedcba9876543210"
    others = ["node-v1.33.13-fedcba9876543210.tar", "haproxy-fedcba9876543210.tar", "other.tar"]
    twin = "node-v1.32.2-00000000ffffffff"
    for name in (f"{twin}.tar", f"{new}.tar", f"{new}.sha256", f"{old}.tar", f"{old}.sha256", *others):
        (tmp_path / name).touch()
    archive.sweep(tmp_path, [tmp_path / f"{new}.tar", tmp_path / f"{twin}.tar"])
    assert {item.name for item in tmp_path.iterdir()} == {
        f"{twin}.tar",
        f"{new}.tar",
        f"{new}.sha256",
        *others,
    }


@pytest.mark.usefixtures("endtoend")
def test_the_steps_of_a_bootstrap_are_read_from_what_it_says() -> None:
    from endtoend.journey import steps

    said = (
        "… management-cluster: kind creates llm-rancher\n"
        "✓ management-cluster: llm-rancher answers (46.6 s)\n"
        "✓ executables: in place\n"
        "✓ loaded-images: 4 images in the node (43.0 s)\n"
    )
    assert steps(said) == {"management-cluster": 46.6, "loaded-images": 43.0}


@pytest.mark.usefixtures("endtoend")
def test_the_table_has_a_line_for_each_part_and_what_was_wrong() -> None:
    from endtoend.scenario import table

    seen = {
        "bootstrap": {"command": 60.5, "seconds": 62.0},
        "upgrade": {"wrong": "not within\n10 s", "seconds": 3.0},
    }
    first, second = table(seen).splitlines()
    assert first.split() == ["bootstrap", "62.0", "command", "60.5", "s"]
    assert second.split() == ["upgrade", "3.0", "WRONG:", "not", "within"]
