"""What is installed has everything that it reads: wheel, editable and plain installs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BUNDLES = ROOT / "bundles"
OF_BUNDLES = sorted(
    path for fleet in BUNDLES.glob("*/fleet.yaml") for path in fleet.parent.rglob("*") if path.is_file()
)

DATA = (
    "capi_llm/py.typed",
    "capi_llm/clusterclasses/docker-llm/class.yaml",
    "capi_llm/clusterclasses/in-memory-llm/class.yaml",
    *(f"capi_llm/bundles/{path.relative_to(BUNDLES)}" for path in OF_BUNDLES),
    "capi_llm/sandbox/kwok.yaml",
    "capi_llm/tools/go/sandbox/go.mod",
    "capi_llm/tools/go/sandbox/go.sum",
    "capi_llm/tools/go/kwok/go.mod",
    "capi_llm/tools/go/kwok/go.sum",
    "capi_llm/tools/go/helm/go.mod",
    "capi_llm/tools/go/helm/go.sum",
    "capi_llm/tools/go/kind/go.mod",
    "capi_llm/tools/go/kind/go.sum",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.Path(path)


@pytest.mark.parametrize("name", DATA)
def test_the_wheel_has_its_data(wheel: zipfile.Path, name: str) -> None:
    assert (wheel / name).is_file()


def test_the_wheel_has_every_module(wheel: zipfile.Path) -> None:
    for path in (ROOT / "mgmt/capi_llm").rglob("*.py"):
        assert (wheel / "capi_llm" / str(path.relative_to(ROOT / "mgmt/capi_llm"))).is_file(), path


def test_the_wheel_says_its_licence_and_command(wheel: zipfile.Path) -> None:
    (info,) = (item for item in wheel.iterdir() if item.name.endswith(".dist-info"))
    assert "capi-llm = capi_llm.cli.main:main" in (info / "entry_points.txt").read_text()
    assert "Apache-2.0" in (info / "METADATA").read_text()


@pytest.mark.parametrize("name", DATA)
def test_this_install_finds_its_data(name: str) -> None:
    package, _, rest = name.removeprefix("capi_llm/").partition("/")
    if rest:
        assert resources.files(f"capi_llm.{package}").joinpath(rest).is_file()
    else:
        assert resources.files("capi_llm").joinpath(package).is_file()
