"""Charts of a repository: pulled once, kept by their bytes, checked by the bundle's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart_repository import publish, served
from small_bundles import release

from capi_llm.apps import fleetfile
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.helm import Facts, Helm
from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.sandbox import executables
from capi_llm.settings import Settings
from file_server import FileServer


@pytest.fixture(scope="module")
def program() -> Path:
    return executables.one(Settings.from_environment(), "helm")


@pytest.fixture
def repository(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with served(tmp_path / "repository", monkeypatch) as found:
        publish(program, found, tmp_path, a="1")
        yield found


def bundle(folder: Path, repository: FileServer, version: str = "0.1.0", *, schema: object = None) -> Bundle:
    folder.mkdir(exist_ok=True)
    helm = {"chart": "theirs", "repo": repository.url, "version": version}
    (folder / "fleet.yaml").write_text(json.dumps({"name": "theirs", "helm": helm}))
    if schema:
        (folder / "values.schema.json").write_text(json.dumps(schema))
    return fleetfile.read(folder)


def test_pulled_once_and_known_by_its_bytes(program: Path, repository: FileServer, tmp_path: Path) -> None:
    helm, own = Helm(program, tmp_path / "cache"), bundle(tmp_path / "theirs", repository)
    assert "name: theirs" in helm.template(release(own), Facts())
    asked = len(repository.asked)
    assert asked >= 2
    helm.template(release(own), Facts())
    assert len(repository.asked) == asked, "the second time from the cache"
    assert "name: theirs" in Helm(program, tmp_path / "cache", offline=True).template(release(own), Facts())

    # Half of it is not it: it is pulled again, and is the same.
    (archive,) = (tmp_path / "cache" / "charts").glob("*.tgz")
    archive.write_bytes(archive.read_bytes()[:50])
    helm.template(release(own), Facts())
    assert len(repository.asked) > asked

    # The same version with other bytes is refused.
    publish(program, repository, tmp_path, a="2")
    archive.unlink()
    with pytest.raises(CapiLlmError, match=r"chart theirs 0.1.0 from .* is not what it was .*SHA-256"):
        helm.template(release(own), Facts())


def test_what_can_not_be_had(program: Path, repository: FileServer, tmp_path: Path) -> None:
    with pytest.raises(CapiLlmError, match=r"is not in the cache.*the network is not to be used"):
        Helm(program, tmp_path / "cache", offline=True).template(
            release(bundle(tmp_path / "a", repository)), Facts()
        )
    helm = Helm(program, tmp_path / "cache")
    with pytest.raises(CapiLlmError, match=r"chart theirs 9.9.9 .* can not be had") as caught:
        helm.template(release(bundle(tmp_path / "b", repository, "9.9.9")), Facts())
    assert "fleet.yaml:1: helm" in str(caught.value)


def test_its_values_are_checked_by_the_schema_of_the_bundle(
    program: Path, repository: FileServer, tmp_path: Path
) -> None:
    schema = {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}}
    own = bundle(tmp_path / "theirs", repository, schema=schema)
    helm = Helm(program, tmp_path / "cache")
    assert "n: '2'" in helm.template(release(own, n=2), Facts())
    with pytest.raises(BadInput, match="the value does not fit app theirs: Additional property m"):
        helm.template(release(own, m=2), Facts())
