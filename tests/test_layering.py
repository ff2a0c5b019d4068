"""Imports point down only, and each foreign library is imported in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mgmt" / "capi_llm"

LAYERS = (
    {"__main__"},
    {"cli"},
    {"rehearsal", "support"},
    {"doctor", "live"},
    {"plane"},
    {"forward"},
    {"steps"},
    {"apps", "models"},
    {"clusters"},
    {"gateway", "provider"},
    {"sandbox"},
    {"containers", "tools"},
    {"kube", "shell", "http"},
    {"contract", "identity", "locks", "waiting", "settings"},
    {
        "certificates",
        "checks",
        "compatibility",
        "fields",
        "documents",
        "files",
        "backends",
        "secret_names",
        "versions",
        "errors",
    },
)
"""From the top down. A layer imports from layers below it; tools of one layer may know each other."""

ONLY_IN = {
    "kubernetes": {"kube"},
    "urllib3": {"kube"},
    "httpx": {"http"},
    "subprocess": {"shell"},
    "click": {"cli"},
    "rich": {"cli"},
    "supervisor": {"sandbox"},
    "psutil": {"sandbox", "settings"},
    "dotenv": {"settings"},
    "cryptography": {"certificates", "sandbox"},
    "asyncio": {"forward"},
    "websockets": {"forward"},
}

LONGEST = 325
"""Lines of one module."""


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def layer_of(name: str) -> int:
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    raise AssertionError(f"{name} is in no layer; add it to LAYERS in {__file__}")


def top(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module's dotted name with its line, wherever in the file it is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "capi_llm":
                yield from ((f"capi_llm.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module or "", node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = top(path)
    if own == "__init__":
        assert not list(imports(path))
        return
    wrong = []
    for name, line in imports(path):
        parts = name.split(".")
        if (
            parts[0] == "capi_llm"
            and len(parts) > 1
            and parts[1] != own
            and layer_of(parts[1]) < layer_of(own)
        ):
            wrong.append(f"{path.name}:{line} imports {name}, which is above {own}")
        if parts[0] in ONLY_IN and own not in ONLY_IN[parts[0]]:
            wrong.append(f"{path.name}:{line} imports {name}, which only {ONLY_IN[parts[0]]} may")
    assert not wrong


def test_every_file_is_in_a_layer() -> None:
    names = {
        path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()
    }
    for name in names - {"__init__", "__pycache__", "py.typed"}:
        layer_of(name)


def test_no_module_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules()
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long


def test_no_module_is_a_drawer() -> None:
    names = {path.stem for path in modules()}
    assert not names & {"helpers", "utils", "util", "manager", "common", "misc"}
