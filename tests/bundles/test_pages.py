"""Each bundle has its page, with the values that its schema has."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from types import ModuleType

import pytest
from charts import NAMES, ROOT, read

from capi_llm import versions

PAGES = ROOT / "docs" / "bundles"


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("docs_bundles", str(ROOT / "scripts" / "docs-bundles"))
    spec = importlib.util.spec_from_loader("docs_bundles", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_every_bundle_has_a_page() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_its_values_are_those_of_the_schema(docs: ModuleType, name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert docs.page(text, name) == text, "run scripts/docs-bundles"


def test_the_overview_says_which_version_is_for_which_kubernetes() -> None:
    lines = (ROOT / "docs" / "bundles.md").read_text().split("## Which Kubernetes")[1].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line)
    told = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows if row[0] in NAMES}
    minors = [f"1.{minor}" for minor in range(28, versions.WORKLOAD_MINORS[1] + 1)]
    assert told == {
        name: {minor: older.get(minor, versions.BUNDLES[name]) for minor in minors}
        for name, older in versions.BUNDLES_BEFORE.items()
    }


def test_the_overview_says_where_each_fits() -> None:
    text = (ROOT / "docs" / "bundles.md").read_text()
    for name in NAMES:
        (row,) = (line for line in text.splitlines() if line.startswith(f"| [{name}]"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        fleet = read(name, "fleet.yaml")
        labels = fleet["labels"]
        assert cells[2] == labels["capi-llm.dev/planes"].replace(".", ", "), name
        assert cells[3] == f"`{fleet['defaultNamespace']}`" or labels["capi-llm.dev/place"] == "management"
        assert cells[4] == (", ".join(item["name"] for item in fleet.get("dependsOn", [])) or "–"), name
