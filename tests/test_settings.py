"""What the settings file, .env and the environment may ask for, and what they may not."""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capi_llm import settings
from capi_llm.errors import BadInput, NotFound
from capi_llm.plane import KINDS
from capi_llm.settings import Secret, Settings, load
from capi_llm.settings.kinds import PLANE_KINDS
from capi_llm.settings.table import BY_VARIABLE, PARTS, SETTINGS
from capi_llm.tools.catalogue import CATALOGUE


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
    monkeypatch.setenv("GOGC", "200")
    found = settings.child_environment()
    assert "hunter2" not in found.values()
    assert (found["TZ"], found["GOGC"]) == ("UTC", "200")
    assert found["PATH"] == os.environ["PATH"]
    assert settings.command_environment(KUBECONFIG="/k")["KUBECONFIG"] == "/k"


def test_this_machine_has_a_name() -> None:
    assert settings.hostname()


# The file, .env and the environment, in their order


HEAD = "apiVersion: capi-llm.dev/v1alpha1\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without a word about capi-llm."""
    for name in [name for name in os.environ if name in BY_VARIABLE or name.startswith("CAPI_LLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def origin(found: Settings, path: str) -> tuple[str, str]:
    item = next(item for item in found.found if item.setting.path == path)
    return item.source, item.place


def test_each_source_wins_over_the_one_before(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "cluster.workers"

    def now(**flags: tuple[str, Any]) -> tuple[str, tuple[str, str]]:
        found = load(flags={path: flags["flag"]} if flags else None)
        return str(found.cluster.get("workers")), origin(found, path)

    assert now() == ("None", ("default", ""))
    (here / "capi-llm.yaml").write_text(f"{HEAD}# a comment\ncluster:\n  workers: 2..3\n")
    assert now() == ("2..3", ("file", "capi-llm.yaml:4"))
    (here / ".env").write_text("OTHER='x y'\n\nCAPI_LLM_CLUSTER_WORKERS=3..4\n")
    assert now() == ("3..4", (".env", ".env:3 CAPI_LLM_CLUSTER_WORKERS"))
    monkeypatch.setenv("CAPI_LLM_CLUSTER_WORKERS", "4..5")
    assert now() == ("4..5", ("environment", "CAPI_LLM_CLUSTER_WORKERS"))
    assert now(flag=("--workers", "5..6")) == ("5..6", ("flag", "--workers"))
    monkeypatch.setenv("CAPI_LLM_CLUSTER_WORKERS", "")  # empty is not set
    assert now()[0] == "3..4"


def test_the_file_is_that_of_the_flag_then_of_the_variable_then_of_the_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("capi-llm", "variable", "dotenv", "flag"):
        (here / f"{name}.yaml").write_text(f"{HEAD}kind: Settings\nplane: {{name: {name}}}\n")
    assert load().plane == "capi-llm"
    (here / ".env").write_text("CAPI_LLM_CONFIG=dotenv.yaml\n")
    assert load().plane == "dotenv"
    monkeypatch.setenv("CAPI_LLM_CONFIG", "variable.yaml")
    assert load().plane == "variable"
    assert load(Path("flag.yaml")).plane == "flag"
    assert str(load(Path("flag.yaml")).file) == "flag.yaml"
    with pytest.raises(NotFound, match=r"none\.yaml"):
        load(Path("none.yaml"))


def test_paths_in_the_file_begin_at_its_folder(here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "my.yaml").write_text(
        f"{HEAD}folders: {{state: s, cache: ~/c, kubeconfigs: /k}}\n"
        f"parts: {{executables: {{etcd: bin/etcd}}}}\n"
    )
    found = load(Path("sub/my.yaml"))
    assert (found.state, found.kubeconfigs) == (here / "sub/s", Path("/k"))
    assert found.cache == Path.home() / "c"
    assert found.parts == {"etcd": here / "sub/bin/etcd"}


def test_the_former_names_work_from_the_environment_and_from_dotenv(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text(
        "RANCHER_HOSTNAME=rancher.example.com\nNGROK_API_KEY=abcdefgh12\nPATH=/nowhere\n"
    )
    monkeypatch.setenv("RANCHER_VERSION", "2.13.1")
    monkeypatch.setenv("NGROK_AUTHTOKEN", "token-12345")
    found = load()
    assert (found.rancher_hostname, found.rancher_version) == ("rancher.example.com", "v2.13.1")
    assert found.management == ""  # nobody said it
    assert found.ngrok_api_key == Secret("abcdefgh12")
    assert found.ngrok_authtoken is not None
    assert found.ngrok_authtoken.reveal() == "token-12345"
    monkeypatch.setenv("CLUSTER_NAME", "hub")
    assert load().management == "hub"
    assert "name" not in load().cluster


def test_lines_of_other_programs_in_dotenv_do_not_matter(here: Path) -> None:
    (here / ".env").write_text("this is no line\nDATABASE=1\nexport CAPI_LLM_PLANE='demo' # mine\n")
    assert load().plane == "demo"
    (here / ".env").unlink()
    (here / ".env").mkdir()  # a virtual environment of that name
    assert load().plane == ""


BAD_FILES = [
    ("cluster:\n  worker: 1..3", "capi-llm.yaml:3: 'cluster.worker' is", "did you mean 'cluster.workers'?"),
    ("workers: 1..3", "capi-llm.yaml:2: 'workers' is not known", "did you mean 'cluster.workers'?"),
    ("cluster: {control-plane: 3}", "'cluster.control-plane' is not known", "'cluster.controlPlane'"),
    ("clusters: {}", "'clusters' is not known", "did you mean 'cluster'?"),
    ("cluster.workers: 2", "'cluster.workers' is not known", "cluster"),
    ("cluster: [1]", "capi-llm.yaml:2: cluster: it has to be a map", "word: value"),
    ("cluster:\n\n  workers: 3..1", "capi-llm.yaml:4: cluster.workers: 3..1", "use 1..3"),
    ("cluster: {workers: true}", "cluster.workers: True is not a text", "in quotes"),
    ("cluster: {workers: 1, workers: 2}", "capi-llm.yaml:2: 'cluster.workers' is there twice", "remove one"),
    ("cluster: {namespace: Team_A}", "cluster.namespace: 'Team_A'", "use 'team-a'"),
    ("cluster: {namespace: 7}", "cluster.namespace: 7 is read as a number", "'7'"),
    ("cluster: {class: a/b/c}", "cluster.class: 'a/b/c'", "use 'c'"),
    ("cluster: {pods: 10.0.0.1/8}", "cluster.pods: '10.0.0.1/8'", "use '10.0.0.0/8'"),
    ("cluster: {pods: 10.0.0.0/8, services: 10.96.0.0/24}", "cluster.services overlap", "--services"),
    ("cluster: {pods: 16.0.0.0/4, services: 192.168.0.0/24}", "is too large", "at least /8"),
    ("cluster: {services: 127.0.0.0/16}", "cluster.services: '127.0.0.0/16'", "192.168.0.0/16"),
    ("cluster: {version: v1.40.0}", "cluster.version: Kubernetes v1.40.0 is not supported", "use v1.33.0"),
    ("cluster: {version: 1.33}", "cluster.version: 1.33 is read as a number", "in quotes"),
    ("cluster: {controlPlane: 2}", "cluster.controlPlane: 2", "use 3"),
    ("cluster: {controlPlane: '3'}", "cluster.controlPlane: '3' is not a number", "use 1 or 3"),
    ("cluster: {cpu: two}", "cluster.cpu: 'two'", "use '2'"),
    ("cluster: {memory: 4}", "cluster.memory: '4'", "use '4Gi'"),
    ("cluster: {serviceDomain: A_B}", "cluster.serviceDomain: 'A_B'", "use 'a-b'"),
    ("cluster: {labels: [a]}", "cluster.labels: it has to be a map", "word: value"),
    ("cluster: {labels: {team: a b}}", "cluster.labels.team: 'a b'", "use 'a-b'"),
    ("cluster: {variables: calico}", "cluster.variables: it has to be a map", "word: value"),
    ("plane: {name: A}", "plane.name: 'A'", "use 'a'"),
    ("plane: {kind: sandbx}", "plane.kind: plane kind 'sandbx'", "did you mean 'sandbox'?"),
    ("folders: {state: 1}", "folders.state: 1 is read as a number", "'1'"),
    ('folders: {state: "a\\0"}', "folders.state: 'a\\x00' is not a path", "name a file or folder"),
    ("parts: {offline: 'yes'}", "parts.offline: 'yes' is neither true nor false", "true or false"),
    ("parts: {executables: {etdc: /x}}", "'parts.executables.etdc'", "'parts.executables.etcd'?"),
    ("host: {networks: 10.0.0.0/8}", "host.networks: '10.0.0.0/8' is not a list", "[10.0.0.0/8]"),
    ("host: {networks: [10.0.0.0/8, x]}", "host.networks[1]: 'x' is not a network", "192.168.0.0/16"),
    ("apps: {wanted: ollama}", "apps.wanted: 'ollama' is not a list", "[ollama, litellm]"),
    ("apps: {wanted: [Ollama]}", "apps.wanted[0]: 'Ollama'", "use 'ollama'"),
    ("apps:\n  values:\n    ollama: 1", "capi-llm.yaml:3: apps.values.ollama: it has to be", "word: value"),
    ("models: {a: b}", "capi-llm.yaml:2: models: {'a': 'b'} is not a list of models", "- name:"),
    ("gateway: {clientKeys: 1}", "gateway.clientKeys: 1 is neither true nor false", "true or false"),
    ("gateway: {sharedLimits: yep}", "gateway.sharedLimits: 'yep' is neither true nor", "true or"),
    ("gateway: {key: sk-hunter2hunter2}", "gateway.key: a secret does not belong", "CAPI_LLM_GATEWAY_KEY"),
    ("apps: {delivery: fleeet}", "apps.delivery: delivery 'fleeet' is not known", "did you mean 'fleet'?"),
    ("apps: {bundleDir: 1}", "apps.bundleDir: 1 is read as a number", "'1'"),
    ("apps: {openaiApiKey: hunter2}", "capi-llm.yaml:2: apps.openaiApiKey: a secret", "OPENAI_API_KEY"),
    ("gateway: {key: hunter2hunter2}", "capi-llm.yaml:2: gateway.key: a secret", "CAPI_LLM_GATEWAY_KEY"),
    ("management: {name: A}", "management.name: 'A'", "use 'a'"),
    ("management: {rancher: 'no'}", "management.rancher: 'no' is neither true nor false", "true or false"),
    ("management: {webhookCerts: own}", "management.webhookCerts: source of certificates 'own'", ""),
    ("management: {expose: nrgok}", "management.expose: exposure 'nrgok' is not known", "'ngrok'?"),
    ("management: {kubernetes: v1.34.0}", "does not run on Kubernetes v1.34.0", "use v1.33.1"),
    ("management: {kubernetes: '1.33'}", "management.kubernetes: '1.33' is not a version", "v1.33.1"),
    ("management: {nodeImage: 'A B'}", "management.nodeImage: 'A B' is not the name of an image", "redis"),
    ("management: {kubeconfig: 1}", "management.kubeconfig: 1 is read as a number", "'1'"),
    ("management: {images: redis}", "management.images: 'redis' is not a list", "redis:7"),
    ("management: {images: ['a@sha256:1']}", "management.images[0]", "without"),
    ("management: {context: 'a b'}", "management.context: 'a b' is not the name of a context", "kubectl"),
    ("providers: {name: a}", "providers: {'name': 'a'} is not a list of providers", "- name:"),
    ("providers: [{name: aws}]", "providers[0]: `version` is missing", "version:"),
    ("providers: [{name: aws, version: '2.8'}]", "providers[0].version: '2.8' is not a version", "v1.0.3"),
    ("providers: [{name: aws, version: latest}]", "providers[0].version: 'latest'", "v1.0.3"),
    ("providers: [{name: docker, version: v1.10.7}]", "'docker' of type infrastructure is the planes'", ""),
    ("providers: [{name: a, version: v1.0.0, type: cloud}]", "providers[0].type: 'cloud'", "infrastructure"),
    ("providers: [{name: A, version: v1.0.0}]", "providers[0].name: 'A' is not a valid name", "use 'a'"),
    ("providers: [{name: a, version: v1.0.0, environment: TOKEN}]", "'TOKEN' is not a list", "["),
    ("providers: [{name: a, version: v1.0.0, environment: [CAPI_LLM_PLANE]}]", "capi-llm's own", ""),
    ("providers: [{name: a, version: v1.0.0, secret: A_B}]", "providers[0].secret: 'A_B'", "use 'a-b'"),
    ("providers: [{name: a, version: v1.0.0, namespace: A}]", "providers[0].namespace: 'A'", "use 'a'"),
    ("providers: [{name: a, version: v1.0.0, sha256: 1}]", "providers[0].sha256: 1 is not a text", "quotes"),
    ("providers: [{name: a, version: v1.0.0, components: a, sha256: ab}]", "'ab' is not a SHA-256", "256sum"),
    (f"providers: [{{name: a, version: v1.0.0, sha256: {'a' * 64}}}]", "it is of no file", "components"),
    (
        "providers: [{name: a, version: v1.0.0, components: 'https://me:hunter2@example.com/a.yaml'}]",
        "'https://****@example.com/a.yaml' is not an address of the web",
        "https://example.com/v1.0.3/",
    ),
    ("providers: [{name: a, version: v1.0.0, environment: [hunter2]}]", "**** is not the name", "HCLOUD"),
    (
        "providers: [{name: a, version: v1.0.0}, {name: a, version: v1.0.0}]",
        "providers[1].name: provider 'a' of type infrastructure is there twice",
        "take one",
    ),
    ("rancher: {version: v2.12.3}", "rancher.version: Rancher 'v2.12.3' is not supported", "use v2.13.0"),
    ("rancher: {version: latest}", "rancher.version: 'latest' is not a version", "use v2.13.0"),
    ("rancher: {hostname: 'https://r.example.com:443/x'}", "rancher.hostname", "use 'r.example.com'"),
    ("rancher: {ingressClass: A}", "rancher.ingressClass: 'A'", "use 'a'"),
    ("rancher: {certificate: A_B}", "rancher.certificate: 'A_B'", ""),
    ("rancher: {bootstrapPassword: x}", "rancher.bootstrapPassword", "RANCHER_BOOTSTRAP_PASSWORD"),
    ("charts: {mirror: 'ftp://x'}", "charts.mirror: 'ftp://x' is not an address of the web", "https://"),
    ("charts: {mirror: 'https://me:hunter2@x.example'}", "charts.mirror: 'https://****@x", "https://"),
    ("rancher: {hostname: rancher}", "it has no domain", "rancher.example.com"),
    ("ngrok: {apiKey: hunter2hunter2}", "capi-llm.yaml:2: ngrok.apiKey: a secret", "NGROK_API_KEY"),
    ("a: [", "capi-llm.yaml:3: this is not YAML", "correct it"),
    ("--- {}", "it has to hold one document", "begin it with"),
    ("kind: ClusterSpec", "capi-llm.yaml:2: kind is 'ClusterSpec'", "write `kind: Settings`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "fix"), BAD_FILES)
def test_a_bad_file_is_refused_with_the_place_and_the_fix(here: Path, text: str, what: str, fix: str) -> None:
    (here / "capi-llm.yaml").write_text(f"{HEAD}{text}\n")
    with pytest.raises(BadInput, match=r"capi-llm\.yaml") as caught:
        load()
    assert what in str(caught.value)
    assert fix in caught.value.fix
    assert "hunter2" not in str(caught.value)


def test_apps_and_keys_of_providers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load().apps, load().app_values, load().delivery) == (None, {}, "")
    (here / "capi-llm.yaml").write_text(
        f"{HEAD}apps:\n  wanted: [ollama]\n  values: {{ollama: {{scale: {{min: 2}}}}}}\n  delivery: direct\n"
    )
    found = load()
    assert (found.apps, found.delivery) == (("ollama",), "direct")
    assert found.app_values == {"ollama": {"scale": {"min": 2}}}
    assert found.app_values_at == "capi-llm.yaml:4: apps.values"
    monkeypatch.setenv("CAPI_LLM_APPS", "litellm, openwebui")
    assert load().apps == ("litellm", "openwebui")
    # Other programs use these too: what is in them is nobody's mistake here.
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert {name: key.reveal() for name, key in load().provider_keys.items()} == {"OPENAI_API_KEY": "x"}
    assert "'x'" not in repr(load().provider_keys)


def test_providers_and_what_is_in_their_variables(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "capi-llm.yaml").write_text(
        f"{HEAD}providers:\n- {{name: hetzner, version: v1.0.3, environment: [HCLOUD_TOKEN, OTHER]}}\n"
        "- {name: own, type: ipam, version: v0.1.0-rc.1, namespace: x, components: own.yaml}\n"
    )
    (here / ".env").write_text("HCLOUD_TOKEN=from-the-file\nUNASKED=x\n")
    found = load()
    hetzner, own = found.providers
    assert (hetzner.type, hetzner.namespace, hetzner.secret) == (
        "infrastructure",
        "hetzner-system",
        "hetzner",
    )
    assert (own.namespace, own.secret, own.components) == ("x", "", str(here / "own.yaml"))
    assert {name: key.reveal() for name, key in found.provider_environment.items()} == {
        "HCLOUD_TOKEN": "from-the-file"
    }
    monkeypatch.setenv("HCLOUD_TOKEN", "from-the-environment")
    assert load().provider_environment["HCLOUD_TOKEN"].reveal() == "from-the-environment"
    assert "from-the" not in repr(load())


def test_every_setting_of_the_file_has_a_test_that_it_is_refused() -> None:
    wrong = " ".join(what + fix for _, what, fix in BAD_FILES)
    sections = {setting.path for setting in SETTINGS if not setting.path.startswith("parts.executables.")}
    same_check = {
        "folders.cache",
        "folders.kubeconfigs",
        "parts.dir",
        "ngrok.authtoken",
        "apps.deepseekApiKey",
    }
    assert {path for path in sections - same_check if path not in wrong} == set()


@pytest.mark.parametrize("text", ["kind: Settings\n", "apiVersion: v1\n", "", "just text", "- a\n"])
def test_a_file_of_another_form_is_refused(here: Path, text: str) -> None:
    (here / "capi-llm.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"capi-llm\.yaml") as caught:
        load()
    assert caught.value.fix


def test_nothing_behind_a_colon_is_as_good_as_left_out(here: Path) -> None:
    (here / "capi-llm.yaml").write_text(f"{HEAD}cluster:\nplane:\n  name:\nparts: {{executables: }}\n")
    assert load() == replace(load(environ=os.environ), file=Path("capi-llm.yaml"))


@pytest.mark.parametrize(
    ("name", "value", "what", "fix"),
    [
        ("CAPI_LLM_STAET", "x", "CAPI_LLM_STAET is not a variable", "did you mean CAPI_LLM_STATE?"),
        ("CAPI_LLM_PART_ECTD", "x", "CAPI_LLM_PART_ECTD", "did you mean CAPI_LLM_PART_ETCD?"),
        ("CAPI_LLM_XYZZY_PLUGH", "x", "CAPI_LLM_XYZZY_PLUGH", "unset CAPI_LLM_XYZZY_PLUGH"),
        ("CAPI_LLM_CLUSTER_PODS", "lan", "CAPI_LLM_CLUSTER_PODS: 'lan'", "192.168.0.0/16"),
        ("CAPI_LLM_CLUSTER_CONTROL_PLANE", "two", "CAPI_LLM_CLUSTER_CONTROL_PLANE: 'two'", "use 1 or 3"),
        ("CAPI_LLM_HOST_NETWORKS", "10.0.0.0/8,x", "CAPI_LLM_HOST_NETWORKS[1]: 'x'", "192.168.0.0/16"),
        ("CAPI_LLM_PLANE", "My_Plane", "CAPI_LLM_PLANE: 'My_Plane'", "use 'my-plane'"),
        ("CLUSTER_NAME", "My_Hub", "CLUSTER_NAME: 'My_Hub'", "use 'my-hub'"),
        ("RANCHER_VERSION", "2.14.0", "RANCHER_VERSION: Rancher '2.14.0'", "use v2.13.8"),
        ("NGROK_API_KEY", "hunter2 hunter2", "NGROK_API_KEY: ****", "copy it again"),
        ("NGROK_AUTHTOKEN", "short", "NGROK_AUTHTOKEN: ****", "copy it again"),
        ("CAPI_LLM_GATEWAY_KEY", "sk-a key", "CAPI_LLM_GATEWAY_KEY: ****", "copy it again"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_refused_from_both_places(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str, fix: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        with pytest.raises(BadInput) as caught:
            load()
    assert what in str(caught.value)
    assert fix in caught.value.fix
    assert value not in str(caught.value) or "****" not in what
    (here / ".env").write_text(f"\n{name}='{value}'\n")
    with pytest.raises(BadInput, match=r"\.env:2: ") as caught:
        load()
    assert what in str(caught.value)


def test_a_line_of_dotenv_about_capi_llm_that_can_not_be_read_is_refused(here: Path) -> None:
    (here / ".env").write_text("A=1\nCAPI_LLM_STATE='open\n")
    with pytest.raises(BadInput, match=r"\.env:2: the line can not be read"):
        load()


def test_what_kubernetes_puts_into_containers_is_no_typing_error(monkeypatch: pytest.MonkeyPatch) -> None:
    links = (
        "CAPI_LLM_SERVICE_HOST",
        "CAPI_LLM_PORT",
        "CAPI_LLM_UI_PORT_80_TCP_ADDR",
        "CAPI_LLM_UI_SERVICE_PORT_HTTP",
    )
    assert read(**dict.fromkeys(links, "x")) == read()


def test_a_secret_shows_itself_to_nobody() -> None:
    key = "hunter2-hunter2"
    secret = Secret(key)
    found = read(NGROK_API_KEY=key)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!s:>20}", repr(found), repr(found.found)):
        assert "hunter2" not in shown
        assert "****" in shown or shown == repr(found)
    assert secret == Secret(key) != Secret("other")
    assert copy.deepcopy(secret).reveal() == key
    for leak in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            leak(secret)


def test_the_table_is_one(here: Path) -> None:
    assert set(PARTS) == set(CATALOGUE)
    assert set(PLANE_KINDS) == set(KINDS)
    assert len(BY_VARIABLE) == len([setting for setting in SETTINGS if setting.variable])
    assert all(setting.default is not None or setting.without for setting in SETTINGS)
    for setting in SETTINGS:
        if setting.default is not None:
            setting.kind.check(setting.default, setting.path)


# Networks of the host


def test_networks_of_interfaces_are_found_without_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def address(family: int, text: str, mask: str | None) -> Any:
        return SimpleNamespace(family=family, address=text, netmask=mask)

    interfaces = {
        "lo": [
            address(socket.AF_INET, "127.0.0.1", "255.0.0.0"),
            address(socket.AF_INET6, "::1", "ffff:" * 7 + "ffff"),
        ],
        "eth0": [
            address(socket.AF_INET, "10.1.2.3", "255.255.0.0"),
            address(socket.AF_INET6, "fd00:1::5", "ffff:ffff:ffff:ffff::"),
            address(socket.AF_INET6, "fe80::1%eth0", "ffff:ffff:ffff:ffff::"),
            address(socket.AF_PACKET, "00:00:00:00:00:00", None),
        ],
        "tun0": [address(socket.AF_INET, "10.9.0.1", "255.255.255.255"), address(socket.AF_INET, "x", None)],
        "docker0": [address(socket.AF_INET, "172.17.0.1", "255.255.0.0")],
    }
    monkeypatch.setattr("psutil.net_if_addrs", lambda: interfaces)
    assert [item.cidr for item in read().networks_to_avoid()] == [
        "172.17.0.0/16",
        "10.1.0.0/16",
        "fd00:1::/64",
    ]
    assert "docker0" in read().networks_to_avoid()[0].whose


@pytest.mark.parametrize(("value", "count"), [("none", 0), ("10.0.0.0/8", 1), ("10.0.0.0/8, fd00::/8", 2)])
def test_networks_to_avoid_can_be_said(value: str, count: int) -> None:
    found = read(CAPI_LLM_HOST_NETWORKS=value).networks_to_avoid()
    assert len(found) == count
    assert all("CAPI_LLM_HOST_NETWORKS" in item.whose for item in found)


def test_cluster_networks_in_settings_keep_apart_from_the_host() -> None:
    hosts = {"CAPI_LLM_HOST_NETWORKS": "10.0.0.0/8,192.168.0.0/16"}
    read(**hosts).check_apart()  # the unsaid default is left alone
    read(**hosts, CAPI_LLM_CLUSTER_PODS="172.20.0.0/16").check_apart()
    with pytest.raises(BadInput, match=r"CAPI_LLM_CLUSTER_PODS: '10\.3\.0\.0/16' overlaps") as caught:
        read(**hosts, CAPI_LLM_CLUSTER_PODS="10.3.0.0/16").check_apart()
    assert caught.value.fix == "use 172.20.0.0/16"
    assert "10.0.0.0/8" in caught.value.why
