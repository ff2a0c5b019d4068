"""Small catalogues: a published file on a local server, and a Go module on a file-system proxy."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from hostile import Hostile

from capi_llm.tools.parts import Graph, Part, Release, Source

ELF = b"\x7fELF" + b"a program" * 5000
MODULE = "example.test/tiny"
FILES = {
    "go.mod": f"module {MODULE}\n\ngo 1.24\n",
    "shared/shared.go": 'package shared\n\nvar Version = "none"\n',
    "cmd/hello/main.go": (
        f'package main\n\nimport "{MODULE}/shared"\n\nfunc main() {{ println("hello " + shared.Version) }}\n'
    ),
    "v2/cmd/hello/main.go": 'package main\n\nfunc main() { println("the other hello") }\n',
    "cmd/kubectl/main.go": (
        'package main\n\nimport "os"\n\nfunc main() {\n'
        '\tdata, err := os.ReadFile(os.Args[2] + "/base.yaml")\n\tif err != nil {\n\t\tpanic(err)\n\t}\n'
        "\tos.Stdout.Write(data)\n}\n"
    ),
    "cmd/broken/main.go": "package main\n\nfunc main() { undefined() }\n",
    "config/default/base.yaml": "apiVersion: v1\nkind: Namespace\n",
}


def release_part(server: Hostile, name: str = "etcd", checksums: bool = True, member: str = "") -> Part:
    return Part(
        name,
        "v1.0.0",
        releases={
            name: Release(
                server.url(f"/{{version}}/{{os}}/{{arch}}/{name}"),
                checksums=server.url(f"/{{version}}/{{os}}/{{arch}}/{name}.sha256") if checksums else "",
                member=member,
            )
        },
    )


def _h1(names: dict[str, bytes]) -> str:
    """The digest that go.sum has of a set of files."""
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(names.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def graph(folder: Path) -> Graph:
    """Publish MODULE v1.0.0 below ``folder``/proxy and return a graph that requires it."""
    proxy = folder / "proxy" / MODULE / "@v"
    proxy.mkdir(parents=True)
    # Every graph's code is its own, so that nothing of it is in a cache that tests share.
    own = f"\n// {folder}\n"
    packed = {
        f"{MODULE}@v1.0.0/{name}": (text + own if name.endswith(".go") else text).encode()
        for name, text in FILES.items()
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in packed.items():
            archive.writestr(name, content)
    (proxy / "v1.0.0.zip").write_bytes(data.getvalue())
    (proxy / "v1.0.0.info").write_text('{"Version": "v1.0.0"}')
    (proxy / "v1.0.0.mod").write_text(FILES["go.mod"])
    (proxy / "list").write_text("v1.0.0\n")
    pins = folder / "pins"
    pins.mkdir()
    (pins / "go.mod").write_text(f"module capi-llm.dev/tiny\n\ngo 1.24\n\nrequire {MODULE} v1.0.0\n")
    (pins / "go.sum").write_text(
        f"{MODULE} v1.0.0 {_h1(packed)}\n{MODULE} v1.0.0/go.mod {_h1({'go.mod': FILES['go.mod'].encode()})}\n"
    )
    return Graph("tiny", pins, {f"{MODULE}/shared.Version": "v1.0.0"})


def go_part(name: str, graph: Graph, path: str) -> Part:
    return Part(name, "v1.0.0", sources={name: Source(graph, MODULE, path)})


def go_catalogue(folder: Path) -> dict[str, Part]:
    made = graph(folder)
    components = Part(
        "components",
        "v1.0.0",
        sources={"core.yaml": Source(made, MODULE, "config/default")},
        folder=True,
        needs=("kubectl",),
    )
    parts = [
        go_part("hello", made, "cmd/hello"),
        go_part("other", made, "v2/cmd/hello"),
        go_part("kubectl", made, "cmd/kubectl"),
        components,
    ]
    return {part.name: part for part in parts}
