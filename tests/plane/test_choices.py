"""What a plane was asked to be: written down once, kept, and never changed in passing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capi_llm import plane, versions
from capi_llm.errors import BadInput, Refused
from capi_llm.identity import Identities, Identity
from capi_llm.plane import making, recipes
from capi_llm.plane.making import Chosen
from capi_llm.settings import Settings, load
from capi_llm.steps import choices, engine
from capi_llm.steps.choices import Choices

OPTIONS = {
    "management.rancher": "--without-rancher",
    "management.nodeImage": "--node-image",
    "management.name": "CLUSTER_NAME",
}


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """Settings with an empty state folder and what is given by setting."""

    def make(**given: Any) -> Settings:
        paths = {path.replace("__", "."): value for path, value in given.items()}
        flags = {path: (OPTIONS.get(path, f"--{path}"), value) for path, value in paths.items()}
        return load(environ={"CAPI_LLM_STATE": str(tmp_path / "state"), "HOME": str(tmp_path)}, flags=flags)

    return make


def kind_plane(settings: Settings, name: str = "kind") -> Identity:
    return making.identity(settings, Chosen(name, "kind"))


def test_the_defaults_of_a_kind_plane(said: Any) -> None:
    made = Choices.of(kind_plane(said()))
    assert made == Choices(
        rancher=versions.RANCHER,
        expose="docker",
        webhook_certs="self",
        delivery="fleet",
        cluster="llm-rancher",
        kubernetes=versions.NODE_KUBERNETES,
        node_image=versions.NODE_IMAGES[versions.NODE_KUBERNETES],
    )
    without = Choices.of(kind_plane(said(management__rancher=False), "second"))
    assert (without.rancher, without.delivery, without.expose) == ("", "direct", "")
    assert without.cluster == "second"  # two planes are two clusters


def test_a_node_image_says_its_kubernetes(said: Any) -> None:
    made = Choices.of(kind_plane(said(management__nodeImage="mine/node:v1.32.9")))
    assert (made.node_image, made.kubernetes) == ("mine/node:v1.32.9", "v1.32.9")
    made = Choices.of(kind_plane(said(management__nodeImage="mine/node:latest")))
    assert made.kubernetes == versions.NODE_KUBERNETES
    made = Choices.of(kind_plane(said(management__kubernetes="v1.31.4")))
    assert made.node_image == "kindest/node:v1.31.4"


def test_a_plane_resumes_with_its_choices(said: Any) -> None:
    first = said(management__rancher=False, management__webhookCerts="cert-manager")
    made = kind_plane(first)
    Identities(first.state).save(made)
    assert plane.choose(said()) == Chosen("kind", "kind")
    assert kind_plane(said()) == made
    assert kind_plane(first) == made


@pytest.mark.parametrize(
    ("again", "word"),
    [
        ({"management__rancher": True}, "it is without Rancher"),
        ({"management__webhookCerts": "cert-manager"}, "says cert-manager, it has self"),
        ({"management__kubernetes": "v1.32.0"}, "says v1.32.0, it has v1.33.1"),
        ({"management__name": "other"}, "CLUSTER_NAME says other, it has llm-rancher"),
        ({"apps__delivery": "fleet"}, "says fleet, it has direct"),
    ],
)
def test_other_choices_than_recorded_are_refused(said: Any, again: dict[str, Any], word: str) -> None:
    first = said(management__rancher=False)
    Identities(first.state).save(kind_plane(first))
    with pytest.raises(Refused, match="made with other choices") as caught:
        kind_plane(said(**again))
    assert word in caught.value.why
    assert "--upgrade" in caught.value.fix


def test_what_is_said_of_rancher_is_no_change_without_it(said: Any) -> None:
    first = said(management__rancher=False)
    Identities(first.state).save(kind_plane(first))
    kind_plane(said(rancher__version="v2.13.2", rancher__hostname="rancher.example.com"))


def test_an_exposure_without_rancher_is_refused(said: Any) -> None:
    with pytest.raises(BadInput, match="no Rancher to expose"):
        kind_plane(said(management__rancher=False, management__expose="docker"))


def test_existing_needs_an_explicit_context(said: Any, tmp_path: Path) -> None:
    chosen = Chosen("shared", "existing")
    file = str(tmp_path / "config")
    for given in ({}, {"management__kubeconfig": file}, {"management__context": "a"}):
        with pytest.raises(BadInput, match="needs --kubeconfig and --context"):
            making.identity(said(**given), chosen)
    settings = said(management__kubeconfig=file, management__context="a", management__rancher=False)
    made = making.identity(settings, chosen)
    assert (made.kubeconfig, made.context, made.kind) == (file, "a", "existing")
    Identities(settings.state).save(made)
    assert making.identity(said(), chosen) == made
    with pytest.raises(Refused, match="is another cluster"):
        making.identity(said(management__context="b"), chosen)


def test_the_choice_of_a_kind(said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no docker
    assert plane.choose(said()) == Chosen("sandbox", "sandbox", making._kind_here()[1])
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 27.1.0\n")  # simulated: it only says its version
    docker.chmod(0o755)
    chosen = plane.choose(said())
    assert (chosen.name, chosen.kind) == ("kind", "kind")
    assert "Docker 27.1.0" in chosen.why
    docker.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
    assert plane.choose(said()).kind == "sandbox"
    assert plane.choose(said(), kind="kind") == Chosen("kind", "kind")
    with pytest.raises(BadInput, match="no plane kind 'vm'"):
        plane.choose(said(), kind="vm")


def test_a_sandbox_has_no_choices(said: Any) -> None:
    made = choices.new(said(), "sandbox", "sandbox", "sandbox")
    assert set(made.as_mapping().values()) == {""}
    sandbox = Identity("a", "sandbox", "", "")
    choices.check_same(sandbox, said(management__rancher=False))


def test_a_recipe_for_every_combination(said: Any) -> None:
    for wanted in (True, False):
        made = kind_plane(said(management__rancher=wanted))
        for kind in ("kind", "existing"):
            recipe = recipes.of(replace(made, kind=kind))
            engine.check(recipe)
            names = [step.name for step in recipe]
            assert {"management-cluster", "cluster-classes"} <= set(names)
            assert ("docker" in names) == (kind == "kind")
    with pytest.raises(BadInput, match="nothing says how Rancher is to be reached"):
        recipes.of(replace(made, kind="existing", choices=Choices(rancher=versions.RANCHER).as_mapping()))
    with pytest.raises(Refused, match="does not know"):
        recipes.of(replace(made, kind="vm"))


def test_the_option_is_named_as_it_was_typed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "capi_llm", "bootstrap", "--plane", "sandbox", "--without-rancher"]
    done = subprocess.run(
        command, env={**os.environ, "CAPI_LLM_STATE": str(tmp_path)}, text=True, capture_output=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --without-rancher is not for a sandbox")
