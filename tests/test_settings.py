"""What the environment may ask for, and what it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capi_llm import settings
from capi_llm.errors import BadInput
from capi_llm.settings import Settings


def read(**env: str) -> Settings:
    return Settings.from_environment({"HOME": "/home/me", **env})


def test_without_variables_everything_has_its_usual_place() -> None:
    found = read()
    assert found.state == Path("/home/me/.local/state/capi-llm")
    assert found.cache == Path("/home/me/.cache/capi-llm")
    assert found.kubeconfigs == Path.cwd() / "kubeconfigs"
    assert (found.plane, found.parts_dir, dict(found.parts), found.offline) == ("", None, {}, False)


def test_own_variables_come_before_those_of_xdg(tmp_path: Path) -> None:
    xdg = {"XDG_STATE_HOME": "/xdg/state", "XDG_CACHE_HOME": "/xdg/cache"}
    assert read(**xdg).state == Path("/xdg/state/capi-llm")
    assert read(**xdg).cache == Path("/xdg/cache/capi-llm")
    own = read(**xdg, CAPI_LLM_STATE=str(tmp_path / "state"), CAPI_LLM_CACHE=str(tmp_path / "cache"))
    assert own.state == tmp_path / "state"
    assert own.cache == tmp_path / "cache"


def test_a_relative_xdg_folder_is_ignored_as_its_specification_says() -> None:
    found = read(XDG_STATE_HOME="state", XDG_CACHE_HOME="./cache")
    assert found.state == Path("/home/me/.local/state/capi-llm")
    assert found.cache == Path("/home/me/.cache/capi-llm")


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = ("STATE", "CACHE", "KUBECONFIGS", "PLANE", "PARTS_DIR", "PART_ETCD", "OFFLINE")
    assert read(**{f"CAPI_LLM_{name}": "" for name in names}) == read()


def test_every_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings.from_environment(
        {
            "HOME": "home",
            "CAPI_LLM_STATE": "state",
            "CAPI_LLM_KUBECONFIGS": ".",
            "CAPI_LLM_PARTS_DIR": "../parts",
            "CAPI_LLM_PART_ETCD": "bin/etcd",
        }
    )
    assert found.parts_dir is not None
    for path in (found.state, found.cache, found.kubeconfigs, found.parts_dir, *found.parts.values()):
        assert path.is_absolute()
    assert found.cache == tmp_path / "home/.cache/capi-llm"
    assert found.parts == {"etcd": tmp_path / "bin/etcd"}


def test_a_tilde_is_the_home_folder_for_folders_and_for_executables() -> None:
    found = read(
        CAPI_LLM_STATE="~/s",
        CAPI_LLM_CACHE="~",
        CAPI_LLM_PARTS_DIR="~nobody-of-this-name/x",
        CAPI_LLM_PART_KUBE_APISERVER="~/bin/kube-apiserver",
    )
    assert found.state == Path("/home/me/s")
    assert found.cache == Path("/home/me")
    assert found.parts == {"kube-apiserver": Path("/home/me/bin/kube-apiserver")}
    assert found.parts_dir == Path.cwd() / "~nobody-of-this-name/x"


@pytest.mark.parametrize("name", ["STATE", "CACHE", "KUBECONFIGS", "PARTS_DIR"])
def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadInput, match=f"CAPI_LLM_{name} must name a folder") as caught:
        read(**{f"CAPI_LLM_{name}": str(file)})
    assert caught.value.on == str(file)


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(BadInput, match="CAPI_LLM_STATE"):
        read(CAPI_LLM_STATE="/" + "x" * 300)


def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(BadInput, match="leads nowhere") as caught:
        read()
    assert caught.value.fix


@pytest.mark.parametrize("value", ["1", "true", "YES", "On"])
def test_a_switch_is_on(value: str) -> None:
    assert read(CAPI_LLM_OFFLINE=value).offline


@pytest.mark.parametrize("value", ["0", "false", "No", "off", ""])
def test_a_switch_is_off(value: str) -> None:
    assert not read(CAPI_LLM_OFFLINE=value).offline


@pytest.mark.parametrize("value", ["2", "maybe", "-", "offline"])
def test_a_switch_that_is_neither_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="CAPI_LLM_OFFLINE must be 1 or 0") as caught:
        read(CAPI_LLM_OFFLINE=value)
    assert value in caught.value.on


def test_parts_get_nothing_of_the_environment_that_could_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NGROK_AUTHTOKEN", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "PYTHONPATH", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("TZ", "UTC")
    found = settings.child_environment()
    assert "hunter2" not in found.values()
    assert found["TZ"] == "UTC"
    assert found["PATH"] == os.environ["PATH"]
    assert settings.command_environment(KUBECONFIG="/k")["KUBECONFIG"] == "/k"


def test_this_machine_has_a_name() -> None:
    assert settings.hostname()
