"""Whatever is typed or written: no traceback, a known exit code, the place is named, nothing is touched.

Hypothesis drives the command line in this process, over flags of every command and over the
contents of capi-llm.yaml, ``.env``, the environment and ClusterSpec files. The suite tries a
few hundred inputs; ``scripts/soak-properties`` tries 10,000. There is no plane, so what is well
formed ends at its absence. Two functions that would go on by making one are replaced.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from capi_llm import documents, plane, versions
from capi_llm.cli.main import cli, run
from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.sandbox import executables
from capi_llm.settings import kinds, schema, sources
from capi_llm.settings.table import BY_VARIABLE, SETTINGS
from capi_llm.settings.words import CLUSTER
from inputs import FRAGMENTS, GOOD, WORDS

INPUTS = int(os.environ.get("PROPERTY_INPUTS", "600"))
"""How many inputs all properties together try."""


def tries(share: float) -> Any:
    return hypothesis(
        max_examples=max(1, round(INPUTS * share)),
        deadline=None,
        suppress_health_check=[*HealthCheck],
        database=None,
    )


@dataclass
class Place:
    """A folder for one input: current folder, state and kubeconfigs."""

    folder: Path

    def write(self, name: str, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        (self.folder / name).write_bytes(data)

    def clear(self) -> None:
        for name in ("capi-llm.yaml", ".env", "spec.yaml"):
            (self.folder / name).unlink(missing_ok=True)


class Reached(CapiLlmError):
    """All was well formed; here a plane would be made, or executables be brought."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    def reached(*args: Any, **kwargs: Any) -> Any:
        raise Reached("it would begin now")

    def no_request(*args: Any) -> None:
        raise AssertionError("a request was made")

    for name in [name for name in os.environ if name in BY_VARIABLE or name.startswith("CAPI_LLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAPI_LLM_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CAPI_LLM_KUBECONFIGS", str(tmp_path / "kubeconfigs"))
    monkeypatch.setenv("CAPI_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CAPI_LLM_HOST_NETWORKS", "10.200.0.0/16,172.17.0.0/16")
    monkeypatch.setattr(plane, "bootstrap", reached)
    monkeypatch.setattr(executables, "bring", reached)
    monkeypatch.setattr(socket.socket, "connect", no_request)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Place(work)


def attempt(place: Place, *argv: str) -> tuple[int, str, str]:
    """Run the command line; what must hold for every input is checked here."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*argv])
    shown = f"{argv}\n{err.getvalue()}"
    assert code in (0, 1, 2, 3), shown
    assert "--debug" in argv or "Traceback" not in err.getvalue(), shown
    assert "itself failed" not in err.getvalue(), shown
    # What doctor finds is its data, not an error of its own.
    found = code == 3 and "doctor" in argv and out.getvalue()
    assert code == 0 or found or "Error: " in err.getvalue(), shown
    assert code != 2 or out.getvalue() == "", shown
    for name in ("state", "kubeconfigs", "cache"):
        assert not (place.folder.parent / name).exists(), shown
    return code, out.getvalue(), err.getvalue()


# Values: good ones, nearly good ones, and anything

# What can not be in argv or in the environment: NUL.
ARGUMENT = st.one_of(
    st.sampled_from(GOOD),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_characters="\0"), max_size=30),
)


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (*above, name), command
            yield from commands(command, *above, name)
        else:
            yield (*above, name), command


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    path, command = draw(st.sampled_from([*commands(cli)]))
    argv = list(path)
    for parameter in [*command.params, *cli.params]:
        if parameter.name in ("help", "version") or draw(st.integers(0, 3)):
            continue
        if isinstance(parameter, click.Option):
            name = draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts]))
            argv.append(name)
            if not parameter.is_flag:
                argv.append(draw(ARGUMENT))
        else:
            argv += draw(st.lists(ARGUMENT, max_size=2))
    if path == ("new-cluster",):
        argv += draw(st.sampled_from([["demo"], ["demo", "--dry-run"], []]))
    return argv + draw(st.lists(ARGUMENT, max_size=1)) * draw(st.booleans())


@tries(0.35)
@given(argv=command_lines())
def test_flags_of_every_command(argv: list[str], place: Place) -> None:
    place.clear()
    code, _, err = attempt(place, *argv)
    if code == 2:
        assert re.search(
            r"--?[a-z]|'[^']*'|NAME|PLANE|Missing|needs a confirmation|standard input"
            r"|no cluster|no name|plane",
            err,
        ), err


FLAGS = [
    "--workers",
    "--class",
    "--version",
    "--namespace",
    "--pods",
    "--services",
    "--service-domain",
    "--control-plane",
    "--pool",
    "--cpu",
    "--memory",
    "--label",
]


@tries(0.1)
@given(flag=st.sampled_from(FLAGS), value=ARGUMENT)
def test_a_flag_of_new_cluster_that_is_refused_is_named(flag: str, value: str, place: Place) -> None:
    place.clear()
    code, out, err = attempt(place, "new-cluster", "demo", "--dry-run", "-o", "json", f"{flag}={value}")
    if code == 0:
        assert json.loads(out)["kind"] == "Cluster"
    else:
        assert code == 2
        assert flag in err or "pool md-0: worker class" in err or "pool gpu: worker class" in err, err


# YAML

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10),
    st.integers(),
    st.floats(),
    st.sampled_from([word for word in WORDS if "\udcff" not in word]),
    st.sampled_from(GOOD),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
GOOD_OF = {
    kinds.NAME: "demo", kinds.CLASS: "docker-llm-clusterclass", kinds.DOMAIN: "cluster.local",
    kinds.HOST: "rancher.example.com", kinds.ADDRESS: "https://charts.example.com/mirror",
    kinds.KUBERNETES: "v1.32.0", kinds.RANCHER: "2.13.1", kinds.CPU: 4,
    kinds.MEMORY: "8Gi", kinds.WORKERS: "2..4", kinds.PLANE_KIND: "sandbox", kinds.CONTROL_PLANE: 3,
    kinds.SWITCH: True, kinds.FOLDER: "folder", kinds.FILE: "file", kinds.LABELS: {"team": "a"},
    kinds.VARIABLES: {"cni": "calico"}, kinds.NETWORKS: ["10.9.0.0/16"],
    kinds.NAMES: ["ollama", "litellm"], kinds.MAPS: {"ollama": {"models": ["tinyllama"]}},
    kinds.DELIVERY: "direct", kinds.WEBHOOK_CERTS_FROM: "self", kinds.EXPOSURE: "docker",
    kinds.NODE_KUBERNETES: "v1.33.1", kinds.IMAGE: "kindest/node:v1.33.1", kinds.CONTEXT: "kind-demo",
    kinds.IMAGES: ["docker.io/library/redis:7"],
    kinds.PROVIDERS: [
        {"name": "hetzner", "version": "v1.0.3", "environment": ["HCLOUD_TOKEN"], "namespace": "caph"},
        {
            "name": "k3s", "type": "bootstrap", "version": "v0.3.0", "secret": "k3s",
            "components": "k3s.yaml", "sha256": "a" * 64,
        },
    ],
    kinds.MODELS: [
        {"name": "ollama/tiny", "backends": [{"type": "ollama"}], "contextLength": 2048},
        {
            "name": "chat",
            "backends": [
                {"name": "primary", "type": "vllm", "model": "a/b", "weight": 90, "deploy": {"gpus": 1}},
                {
                    "name": "canary", "type": "openai-compatible", "url": "http://worker:8000/v1",
                    "weight": 10, "apiKey": {"secret": "keys", "key": "worker"},
                },
            ],
            "fallbacks": ["ollama/tiny"],
            "timeoutSeconds": 60,
        },
    ],
}  # fmt: skip
NETWORK_OF = {"pods": "10.8.0.0/16", "services": "10.97.0.0/24"}
RAW = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join),
    st.text(max_size=60),
    st.binary(max_size=40),
)  # fmt: skip


def put(data: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for word in above:
        if not isinstance(data.get(word), dict):
            data[word] = {}
        data = data[word]
    data[last] = copy.deepcopy(value)


def good_settings() -> dict[str, Any]:
    data: dict[str, Any] = {"apiVersion": versions.API_VERSION, "kind": "Settings"}
    for setting in SETTINGS:
        if not setting.secret:
            word = setting.path.rpartition(".")[2]
            put(data, setting.path, NETWORK_OF.get(word) or GOOD_OF[setting.kind])
    return data


def good_cluster() -> dict[str, Any]:
    head = {"apiVersion": versions.API_VERSION, "kind": "ClusterSpec", "name": "demo"}
    words = {word.word: NETWORK_OF.get(word.word) or GOOD_OF[word.kind] for word in CLUSTER}
    pools = [
        "gpu=0..2:gpu-worker",
        {"name": "big", "workers": 1, "cpu": 8, "memory": "1Gi", "class": "default-worker"},
    ]
    return head | words | {"pools": pools}


def paths(data: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*above, key))


@st.composite
def changed(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """``good`` with parts left out, values replaced, and words added or misspelt."""
    data: dict[str, Any] = json.loads(json.dumps(good))
    for path in draw(st.lists(st.sampled_from([*paths(good)]), max_size=4)):
        inner: Any = data
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]]
        except (LookupError, TypeError):
            continue
        match draw(st.sampled_from(["replace", "leave out", "add", "misspell"])):
            case "replace":
                inner[path[-1]] = draw(VALUES)
            case "leave out":
                del inner[path[-1]]
            case "add" if isinstance(inner, dict):
                inner[draw(st.text(max_size=6) | st.sampled_from(["worker", "name", "Pods"]))] = draw(VALUES)
            case "misspell" if isinstance(inner, dict):
                inner[f"{path[-1]}x"] = inner.pop(path[-1])
    return data


def agrees(text: str | bytes, refuses: Any, the_schema: dict[str, Any]) -> None:
    """What the loader took, the schema takes."""
    data = documents.load(text.decode() if isinstance(text, bytes) else text, "x")[0].data
    refuses(the_schema).validate(data)


VALIDATOR = jsonschema.Draft202012Validator
SETTINGS_SCHEMA = schema.settings()
CLUSTER_SCHEMA = schema.cluster()


@tries(0.2)
@given(content=changed(good_settings()).map(lambda data: yaml.safe_dump(data, sort_keys=False)) | RAW)
def test_a_settings_file(content: str | bytes, place: Place) -> None:
    place.clear()
    place.write("capi-llm.yaml", content)
    code, out, err = attempt(place, "config", "-o", "json")
    if code:
        assert code == 2
        assert "capi-llm.yaml" in err, err
    else:
        assert json.loads(out)["file"] == "capi-llm.yaml"
        agrees(content, VALIDATOR, SETTINGS_SCHEMA)
        attempt(place, "new-cluster", "demo", "--dry-run", "-o", "json")


@tries(0.15)
@given(content=changed(good_cluster()).map(lambda data: yaml.safe_dump(data, sort_keys=False)) | RAW)
def test_a_cluster_file(content: str | bytes, place: Place) -> None:
    place.clear()
    place.write("spec.yaml", content)
    code, out, err = attempt(place, "new-cluster", "-f", "spec.yaml", "--dry-run", "-o", "json")
    if code:
        assert code == 2
        assert re.search(r"spec\.yaml|worker class|variable|no name|NAME: |--pool|--workers", err), err
    else:
        assert json.loads(out)["kind"] == "Cluster"
        agrees(content, VALIDATOR, CLUSTER_SCHEMA)


LINES = st.tuples(
    st.sampled_from(["", "export ", " "]),
    st.sampled_from([*BY_VARIABLE, "CAPI_LLM_CONFIG", "CAPI_LLM_STAET", "CAPI_LLM_", "OTHER", "PATH"]),
    st.sampled_from(["=", " = ", " ", "", "=="]),
    ARGUMENT,
    st.sampled_from(["", "'", '"']),
).map(lambda parts: f"{parts[0]}{parts[1]}{parts[2]}{parts[4]}{parts[3]}{parts[4]}")


@tries(0.1)
@given(content=st.lists(LINES, max_size=5).map("\n".join) | RAW)
def test_a_dotenv_file(content: str | bytes, place: Place) -> None:
    place.clear()
    place.write(".env", content)
    code, _, err = attempt(place, "config")
    if code:
        assert re.search(r"\.env", err) or "does not exist" in err or "capi-llm.yaml" in err or code == 2, err
        assert code == 1 or ".env" in err or "can not be read" in err or re.search(r":\d+: ", err), err


@tries(0.1)
@given(data=st.data())
def test_the_environment(data: st.DataObject, place: Place) -> None:
    place.clear()
    names = st.sampled_from([*BY_VARIABLE, "CAPI_LLM_CONFIG", "CAPI_LLM_PLAN", "CAPI_LLM_PORT_80_TCP"])
    wanted = data.draw(st.dictionaries(names, ARGUMENT, min_size=1, max_size=3))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            with contextlib.suppress(UnicodeEncodeError):
                patch.setenv(name, value)
        code, _, err = attempt(place, "config")
    if code == 2:
        # A file that a variable names is named itself.
        assert (
            any(word in err for item in wanted.items() for word in item if word)
            or "can not be read" in err
            or re.search(r":\d+", err)
        ), err


# Secrets

KEYS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=12, max_size=40)


@tries(0.03)
@given(key=KEYS, broken=st.sampled_from(["", " x", "\n"]))
def test_a_secret_is_never_seen(key: str, broken: str, place: Place) -> None:
    place.clear()
    for name in ("NGROK_API_KEY", "NGROK_AUTHTOKEN"):
        place.write(".env", f"{name}='{key}{broken}'\n")
        for argv in (("config",), ("config", "-o", "json"), ("--debug", "planes", "list")):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                run([*argv])
            seen = out.getvalue() + err.getvalue()
            # A short key can be a word of a message by chance; eight characters of one can not.
            assert not any(key[at : at + 8] in seen for at in range(len(key) - 7))


# Words that nobody knows


@tries(0.07)
@given(data=st.data())
def test_an_unknown_word_is_refused_by_the_loader_and_by_the_schema(data: st.DataObject) -> None:
    good = good_settings()
    sections = [(), *(path for path in paths(good) if isinstance(_at(good, path), dict))]
    free = (("cluster", "labels"), ("cluster", "variables"), ("apps", "values"))
    known = [path for path in sections if not any(path[: len(some)] == some for some in free)]
    section = data.draw(st.sampled_from(known))
    word = data.draw(st.from_regex(r"[a-zA-Z.-]{1,12}", fullmatch=True))
    inner = _at(good, section)
    if word in inner or word in ("ngrok",):
        return
    inner[word] = data.draw(st.sampled_from([None, 1, "a", {}]))
    assert not VALIDATOR(SETTINGS_SCHEMA).is_valid(good)
    text = yaml.safe_dump(good)
    with pytest.raises(BadInput) as caught:
        read(text)
    assert word in str(caught.value)
    assert caught.value.fix


def read(text: str) -> None:
    for said in sources.of_document(documents.load(text, "x.yaml")[0]).values():
        said.setting.kind.check(said.value, said.where)


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def test_what_is_good_is_taken_by_both(place: Place) -> None:
    VALIDATOR.check_schema(SETTINGS_SCHEMA)
    VALIDATOR.check_schema(CLUSTER_SCHEMA)
    place.write("capi-llm.yaml", yaml.safe_dump(good_settings()))
    place.write("spec.yaml", yaml.safe_dump(good_cluster()))
    VALIDATOR(SETTINGS_SCHEMA).validate(good_settings())
    VALIDATOR(CLUSTER_SCHEMA).validate(good_cluster())
    assert attempt(place, "config")[0] == 0
    settings = good_settings()
    del settings["apps"]["bundleDir"]  # whoever makes a cluster looks into it
    place.write("capi-llm.yaml", yaml.safe_dump(settings))
    code, _, said = attempt(place, "new-cluster", "-f", "spec.yaml", "--dry-run")
    assert code == 0, said
