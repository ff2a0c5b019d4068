"""The sandbox's supervisor: PyPI's ``supervisor``, detached, on a unix socket of mode 0600.

It starts parts when told to, restarts one that dies, and stops them. It starts nothing
by itself: after a restart of the machine, ``bootstrap`` starts what is missing, in order.
"""

from __future__ import annotations

import configparser
import hashlib
import http.client
import io
import shlex
import socket
import sys
import time
import xmlrpc.client
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from capi_llm import shell
from capi_llm.errors import BadInput, CapiLlmError
from capi_llm.files import private_folder, write_private
from capi_llm.sandbox.layout import WHY_NOT, Layout, can_hold
from capi_llm.sandbox.parts import POD_IP, Part
from capi_llm.settings import child_environment

INSTANCE_MARK = "CAPI_LLM_SANDBOX"
"""Environment variable of every process of a sandbox; its value is the sandbox's instance word."""

PART_MARK = "CAPI_LLM_SANDBOX_PART"
"""Environment variable that says which part a process is."""

CERTIFICATES_MARK = "CAPI_LLM_SANDBOX_CERTIFICATES"
"""Environment variable of every part: which certificates it was started with."""

SUPERVISOR = "supervisor"
"""The supervisor's own name as a part."""

_LOG_BYTES = 10 * 1024 * 1024
_ANSWER_SECONDS = 20.0
"""Longest wait for an answer; stopping a part takes longest."""

_SPAWN_ERROR, _ALREADY_STARTED, _NOT_RUNNING = 50, 60, 70  # supervisor.xmlrpc.Faults


class Supervisor:
    """Talks to the supervisor of one sandbox. Every call raises CapiLlmError where it does not answer."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._applied = layout.config / "supervisord.applied"

    def configured(self, parts: tuple[Part, ...], instance: str) -> bool:
        """Whether the supervisor was last started or reloaded with the configuration for ``parts``."""
        try:
            return self._applied.read_text() == _digest(configuration(self._layout, parts, instance))
        except OSError:
            return False

    def configure(self, parts: tuple[Part, ...], instance: str) -> None:
        """Start the supervisor with the configuration for ``parts``, or make a running one read it.

        Parts whose command changed are stopped, and start with the new one when told to.
        """
        text = configuration(self._layout, parts, instance)
        write_private(self._layout.supervisor_config, text)
        if self.running():
            self._reload()
        else:
            self._start(instance)
        # Last, so that a kill before this makes the next run do it again.
        write_private(self._applied, _digest(text))

    def _start(self, instance: str) -> None:
        private_folder(self._layout.logs)
        # The supervisor opens its own log before it sets its umask.
        self._layout.log(SUPERVISOR).touch(mode=0o600)
        shell.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._layout.supervisor_config)],
            env={**child_environment(), INSTANCE_MARK: instance, PART_MARK: SUPERVISOR},
            cwd=self._layout.root,
            timeout=30,
        )

    def running(self) -> bool:
        """Whether the supervisor answers."""
        try:
            self._call("getState")
        except CapiLlmError:
            return False
        return True

    def states(self) -> dict[str, str]:
        """Part name → supervisor's state: RUNNING, STARTING, STOPPED, BACKOFF, FATAL, EXITED …"""
        return {item["name"]: item["statename"] for item in self._call("getAllProcessInfo")}

    def why(self, part: str) -> str:
        """What the supervisor knows about a part that does not run."""
        info = self._call("getProcessInfo", part)
        return str(info.get("spawnerr") or info.get("description") or info["statename"])

    def start_part(self, name: str) -> None:
        """Start ``name``; nothing happens if it runs already. One that keeps ending is tried at once, and
        again by the supervisor: that it has ended is :meth:`states`'s to say, however soon that was."""
        if self._call("getProcessInfo", name)["statename"] == "BACKOFF":
            self.stop_part(name)  # the supervisor's own pauses grow without end
        self._call("startProcess", name, False, tolerate=(_ALREADY_STARTED, _SPAWN_ERROR))

    def stop_part(self, name: str) -> None:
        """Stop ``name``; nothing happens if it does not run."""
        self._call("stopProcess", name, True, tolerate=(_NOT_RUNNING,))
        # Whoever told it to stop may have been killed meanwhile: that is refused, too, until it has ended.
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._call("getProcessInfo", name)["statename"] == "STOPPING" and time.monotonic() < deadline:
            time.sleep(0.05)

    def _reload(self) -> None:
        ((added, changed, removed),) = self._call("reloadConfig")
        for name in changed + removed:
            self.stop_part(name)
            self._call("removeProcessGroup", name)
        for name in changed + added:
            self._call("addProcessGroup", name)

    def _call(self, method: str, *args: Any, tolerate: Collection[int] = ()) -> Any:
        transport = _Transport(self._layout.socket)
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*args)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in tolerate:
                return None
            raise CapiLlmError(
                f"the supervisor refused {method}", on=" ".join(map(str, args)), why=fault.faultString
            ) from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise CapiLlmError(
                "the sandbox's supervisor does not answer",
                on=str(self._layout.socket),
                why=str(error),
                fix="capi-llm bootstrap",
            ) from error


class _Transport(xmlrpc.client.Transport):
    """XML-RPC on a unix socket, with a limit: a supervisor that was stopped would never answer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def configuration(layout: Layout, parts: tuple[Part, ...], instance: str) -> str:
    """The text of supervisord.conf. Raises BadInput for a path that it can not hold."""
    config = configparser.RawConfigParser()
    config["supervisord"] = {
        "logfile": _value(str(layout.log("supervisor"))),
        "logfile_maxbytes": str(_LOG_BYTES),
        "logfile_backups": "1",
        "pidfile": _value(str(layout.root / "supervisor.pid")),
        "childlogdir": _value(str(layout.logs)),
        "umask": "077",
        "minfds": "1024",
    }
    config["unix_http_server"] = {"file": _value(str(layout.socket)), "chmod": "0600"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    for part in parts:
        config[f"program:{part.name}"] = {
            "command": _value(shlex.join(part.argv)),
            "environment": _environment({**part.env, INSTANCE_MARK: instance, PART_MARK: part.name}),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",
            "stopsignal": "TERM",
            "stopwaitsecs": str(part.stop_seconds),
            "killasgroup": "true",
            # Supervisor takes the escapes out of this value twice.
            "stdout_logfile": _value(_value(str(layout.log(part.name)))),
            "redirect_stderr": "true",
            "stdout_logfile_maxbytes": str(_LOG_BYTES),
            "stdout_logfile_backups": "1",
        }
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def instance_of(layout: Layout) -> str:
    """The instance word in the supervisor's configuration, "" where there is none."""
    return _variable(layout, INSTANCE_MARK)


def loopback_of(layout: Layout) -> str:
    """The address of the simulated machines in the supervisor's configuration, "" where there is none."""
    return _variable(layout, POD_IP)


def _variable(layout: Layout, wanted: str) -> str:
    for section in _programs(layout).values():
        for word in section.get("environment", "").split(","):
            name, _, value = word.partition("=")
            if name == wanted:
                return value.strip('"')
    return ""


def commands_of(layout: Layout) -> dict[str, list[str]]:
    """Part → command line, as the supervisor's configuration has them; its executable comes first."""
    return {
        part: shlex.split(section["command"].replace("%%", "%"))
        for part, section in _programs(layout).items()
    }


def _programs(layout: Layout) -> dict[str, Mapping[str, str]]:
    config = configparser.RawConfigParser()
    try:
        config.read(layout.supervisor_config)
    except (configparser.Error, ValueError):
        return {}
    return {
        name.removeprefix("program:"): config[name]
        for name in config.sections()
        if name.startswith("program:") and config[name].get("command")
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _environment(values: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_quoted(value)}"' for key, value in sorted(values.items()))


def _quoted(text: str) -> str:
    if '"' in text:
        raise _unusable(text)
    return _value(text)


def _value(text: str) -> str:
    """``text`` as a value; supervisor's format has an escape for ``%`` only."""
    if not can_hold(text):
        raise _unusable(text)
    return text.replace("%", "%%")


def _unusable(text: str) -> BadInput:
    return BadInput(
        "a path can not be used in a sandbox", on=text, why=WHY_NOT, fix="rename the folder or the file"
    )
