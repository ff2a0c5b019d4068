"""Completion in a real shell, and its silence where names can not be had."""

from __future__ import annotations

import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from capi_llm.cli.main import cli
from capi_llm.identity import Identities, Identity
from capi_llm.sandbox import pki
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings
from sandboxes import IN_MEMORY, Sandbox

PATIENCE = 60.0
PROGRAM = Path(sys.executable).parent


def completions(line: str, env: dict[str, str]) -> list[str]:
    """What bash is given for the last word of ``line``, which may be empty."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "capi_llm"],
        env={
            **env,
            "_CAPI_LLM_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.splitlines() if entry]


def completed(line: str, env: dict[str, str], expected: list[str]) -> None:
    """``expected`` is offered; asked again where a busy machine took longer than a person would wait."""
    deadline = time.monotonic() + PATIENCE
    while (found := completions(line, env)) == [] and time.monotonic() < deadline:
        pass
    assert found == expected, line


def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "CAPI_LLM_STATE": str(settings.state), "CAPI_LLM_PLANE": ""}


class Bash:
    """An interactive bash on a terminal of its own."""

    def __init__(self, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**env, "PATH": f"{PROGRAM}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"},
        )
        os.close(slave)
        self.shown = ""

    def type(self, keys: str, *, until: str) -> str:
        """Type ``keys``; returns what is shown after them, when ``until`` is in it."""
        begin = len(self.shown)
        os.write(self._master, keys.encode())
        deadline = time.monotonic() + PATIENCE
        while until not in self.shown[begin:]:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._master], [], [], 0.2)[0]:
                self.shown += os.read(self._master, 4096).decode(errors="replace")
        return self.shown[begin:]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.mark.sandbox
def test_a_real_bash_completes_commands_and_names(sandbox: Sandbox) -> None:
    bash = Bash(sandbox.env)
    try:
        bash.type("source <(capi-llm completion bash); echo so''urced\n", until="sourced")
        bash.type("capi-llm support-b\t", until="support-bundle ")
        # To the beginning of the line, so that it is printed and not run.
        assert "capi-llm support-bundle" in bash.type("\x01echo is \n", until="is capi-llm support-bundle")
        bash.type(f"capi-llm planes use {sandbox.name[:2]}\t", until=f"use {sandbox.name} ")
        bash.type("\x01echo is \n", until=f"is capi-llm planes use {sandbox.name}")
        bash.type("capi-llm classes show in-mem\t", until="in-memory-llm-clusterclass")
    finally:
        bash.close()


@pytest.mark.sandbox
def test_clusters_come_from_the_plane(sandbox: Sandbox, namespace: str) -> None:
    for name in ("apple", "apricot"):
        sandbox.cli("new-cluster", name, "-n", namespace, *IN_MEMORY, "--workers", "0", "--no-wait")
    env = sandbox.env
    for command in ("scale", "delete-cluster", "events", "kubeconfig", "wait cluster", "status"):
        completed(f"capi-llm {command} -n {namespace} ap", env, ["apple", "apricot"])
    completed(f"capi-llm --name {sandbox.name} scale -n {namespace} app", env, ["apple"])
    completed(f"capi-llm scale --name {sandbox.name} -n {namespace} app", env, ["apple"])
    assert completions(f"capi-llm scale --name other -n {namespace} app", env) == []
    assert completions("capi-llm scale -n kube-system ", env) == []


@pytest.mark.sandbox
def test_planes_classes_and_parts(sandbox: Sandbox) -> None:
    env = sandbox.env
    assert completions("capi-llm --name ", env) == [sandbox.name]
    assert completions("capi-llm status --name ", env) == [sandbox.name]
    assert completions("capi-llm new-cluster x --class in", env) == ["in-memory-llm-clusterclass"]
    assert completions("capi-llm logs kube-s", env) == ["kube-scheduler"]


def test_without_a_plane_nothing_is_completed_and_nothing_said(settings: Settings) -> None:
    env = environment(settings)
    assert completions("capi-llm scale ", env) == []
    assert completions("capi-llm --name ", env) == []
    assert "docker-llm-clusterclass" in completions("capi-llm classes show ", env)
    assert not settings.state.exists()


def test_what_a_plane_is_upgraded_to(settings: Settings) -> None:
    env = environment(settings)
    completed("capi-llm upgrade p", env, ["plane"])
    completed("capi-llm upgrade plane --rancher-version v2.13.8", env, ["v2.13.8"])


def test_an_api_server_that_hangs_is_not_waited_for(settings: Settings) -> None:
    files = layout(settings.state, "a")
    pki.ensure(files)
    with socket.create_server(("127.0.0.1", 0)) as server:
        identity = Identity(
            "a",
            "sandbox",
            str(files.admin_kubeconfig),
            "a",
            ports={"kube-apiserver": server.getsockname()[1]},
        )
        Identities(settings.state).save(identity)
        env = environment(settings)
        started = time.monotonic()
        assert completions("capi-llm --name ", env) == ["a"]
        without = time.monotonic() - started
        started = time.monotonic()
        assert completions("capi-llm scale ", env) == []
        assert time.monotonic() - started < without + 20  # not the 30 s of other requests
        server.settimeout(0)
        server.accept()[0].close()  # it was asked


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "capi_llm", "completion", shell], capture_output=True, text=True, check=True
    )
    assert "_CAPI_LLM_COMPLETE=" + shell in done.stdout
    assert done.stderr == ""
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([shell, "-n", str(script)], check=True)


def test_another_shell_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "capi_llm", "completion", "tcsh"], capture_output=True, text=True
    )
    assert done.returncode == 2


def arguments(command: click.Command, path: str = "capi-llm") -> Iterator[tuple[str, click.Argument]]:
    """Every argument of every command, with the command line up to it."""
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from arguments(sub, f"{path} {name}")
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield path, parameter


def test_every_argument_that_names_something_is_completed() -> None:
    """But for names that are new, keys (only the gateway knows them), and the command line after ``--``."""
    new = {"capi-llm new-cluster", "capi-llm models add", "capi-llm keys create", "capi-llm keys revoke"}
    names = [
        path for path, argument in arguments(cli) if argument.name in ("name", "part") and path not in new
    ]
    assert len(names) > 8
    without = [
        f"{path} {argument.name}"
        for path, argument in arguments(cli)
        if path in names and argument.name in ("name", "part") and not completes(argument)
    ]
    assert without == []


def completes(argument: click.Argument) -> bool:
    return argument._custom_shell_complete is not None
