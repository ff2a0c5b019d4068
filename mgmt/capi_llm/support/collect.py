"""Every piece of the bundle. One that can not be had is named with the reason, and stops no other."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from capi_llm import plane, secret_names, versions
from capi_llm.clusters import events
from capi_llm.doctor.examine import as_json, examine
from capi_llm.errors import CapiLlmError, Unavailable
from capi_llm.identity import Identities, Identity
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.secret_names import GONE
from capi_llm.settings import Settings, everything
from capi_llm.steps.context import Plane
from capi_llm.support import objects
from capi_llm.support.redact import Redactor

_LOG_BYTES = 2 * 1024 * 1024
"""Of a log, at most so much from its end."""

_LOG_LINES = 5000

_DOCTOR_KINDS = ("sandbox", "kind")
"""Not ``existing``: a cluster that has nothing to do with the plane is not called."""

Report = Callable[[str], None]


@dataclass
class Bundle:
    """Files by their path in the bundle, notes on them, and what is missing with the reason."""

    plane: str
    files: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def index(self) -> dict[str, Any]:
        """What ``index.json`` says."""
        return {
            "apiVersion": versions.API_VERSION,
            "capiLlm": versions.CLI,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "plane": self.plane,
            "secrets": f"taken out; {GONE} stands where one was, or might have been",
            "files": [
                {"path": path, "bytes": len(text.encode())}
                | ({"note": self.notes[path]} if path in self.notes else {})
                for path, text in sorted(self.files.items())
            ],
            "missing": [{"path": path, "why": why} for path, why in sorted(self.missing.items())],
        }


def collect(
    settings: Settings,
    *,
    name: str = "",
    status: Callable[[], Mapping[str, Any]],
    report: Report = lambda text: None,
) -> Bundle:
    """Gather what there is.

    ``status`` gives what ``status -o json`` says; ``report`` hears which piece is under way.
    Works without a plane and with a broken one. Raises BadInput and Refused where ``name``
    is no plane's, or several are there and none was named. Takes no lock, writes nothing.
    """
    name = plane.choose_name(settings, name)
    return _Collector(settings, name, report).run(status)


class _Collector:
    def __init__(self, settings: Settings, name: str, report: Report) -> None:
        self.settings = settings
        self.report = report
        self.redactor = Redactor(
            [*_known(), *(secret.reveal() for secret in settings.provider_environment.values())]
        )
        self.bundle = Bundle(name)

    def run(self, status: Callable[[], Mapping[str, Any]]) -> Bundle:
        # Secrets first: what they hold is taken out of everything else.
        with contextlib.ExitStack() as stack:
            identity = self._try("plane.json", self._identity)
            api = self._try("objects", lambda: self._connect(identity, stack)) if identity else None
            if api is not None:
                self._try("secrets.json", lambda: self._secrets(api))
                self._try("crds.json", lambda: self._json("crds.json", {"crds": objects.definitions(api)}))
                self._try("objects", lambda: self._objects(api))
        self._try("version.json", lambda: self._json("version.json", _versions()))
        self._try("settings.json", lambda: self._json("settings.json", _settings(self.settings)))
        self._try("status.json", lambda: self._json("status.json", dict(status())))
        self._try("doctor.json", self._doctor)
        if identity is None or identity.kind == "sandbox":
            self._try("logs", self._logs)
        for part in MANAGERS if identity is not None and identity.kind != "sandbox" else ():
            self._try(f"logs/{part}.log", partial(self._manager, identity, part))
        return self.bundle

    def _manager(self, identity: Identity, part: str) -> None:
        with contextlib.closing(Plane(Identities(self.settings.state), identity)) as here:
            lines = plane.log_lines(here, part, tail=_LOG_LINES, follow=False)
            self.bundle.files[f"logs/{part}.log"] = self.redactor.text("\n".join(lines) + "\n")

    def _try(self, path: str, job: Callable[[], Any]) -> Any:
        self.report(path)
        try:
            return job()
        except CapiLlmError as error:
            why = error.brief
        except Exception as error:  # half a bundle is better than none
            why = f"{type(error).__name__}: {error}"
        self.bundle.missing[path] = self.redactor.text(why)
        return None

    def _json(self, path: str, value: Mapping[str, Any]) -> None:
        body = self.redactor.value({"apiVersion": versions.API_VERSION, **value})
        self.bundle.files[path] = json.dumps(body, indent=2) + "\n"

    def _identity(self) -> Identity:
        identities = Identities(self.settings.state)
        identity = identities.resolve(self.bundle.plane, "")
        self._json("plane.json", {"plane": dataclasses.asdict(identity)})
        return identity

    def _connect(self, identity: Identity, stack: contextlib.ExitStack) -> Api:
        api = Api.from_kubeconfig(Path(identity.kubeconfig), identity.context, retry_for=0)
        stack.callback(api.close)
        answer = api.ready()
        if not answer.ready:
            raise Unavailable("the API server can not be asked", on=api.server, why=answer.message)
        return api

    def _secrets(self, api: Api) -> None:
        found = objects.all_secrets(api)
        self.redactor.know(objects.secret_values(found))
        body = {"apiVersion": versions.API_VERSION, "secrets": objects.secret_names(found)}
        self.bundle.files["secrets.json"] = json.dumps(body, indent=2) + "\n"

    def _objects(self, api: Api) -> None:
        own: list[Object] = []
        for kind in objects.ours(api):
            found = self._try(f"objects/{kind}", partial(api.list, kind)) or []
            own += found
            self._add(f"{kind}", found)
        for kind in objects.cluster_wide(api):
            self._add(f"{kind}", self._try(f"objects/{kind}", partial(api.list, kind)) or [])
        beside = objects.beside(api)
        for namespace in objects.namespaces(own):
            for kind in beside:
                path = f"objects/{namespace}/{kind}"
                self._add(f"{kind}", self._try(path, partial(api.list, kind, namespace)) or [])
        found = self._try("events.json", lambda: events.everywhere(api)) or []
        self._json("events.json", {"events": [vars(event) for event in found]})

    def _add(self, kind: str, found: Iterable[Object]) -> None:
        groups: dict[str, list[Any]] = {}
        for obj in found:
            namespace = (obj.get("metadata") or {}).get("namespace") or "_cluster"
            groups.setdefault(namespace, []).append(self.redactor.value(objects.bare(obj)))
        for namespace, bodies in groups.items():
            self.bundle.files[f"objects/{namespace}/{kind}.yaml"] = yaml.dump_all(
                bodies, Dumper=_DUMPER, sort_keys=False, explicit_start=True
            )

    def _doctor(self) -> None:
        found = examine(self.settings, kinds=_DOCTOR_KINDS, name=self.bundle.plane)
        self._json("doctor.json", {"planes": as_json(found)})

    def _logs(self) -> None:
        folder = layout(self.settings.state, self.bundle.plane).logs
        found = sorted(folder.glob("*.log*"))
        if not found:
            raise CapiLlmError("there are none", on=str(folder))
        for path in found:
            self._try(f"logs/{path.name}", partial(self._log, path))

    def _log(self, path: Path) -> None:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_BYTES))
            text = file.read(_LOG_BYTES).decode(errors="replace")
        if size > _LOG_BYTES:
            # Half a line could be half a key, whose beginning is not seen.
            text = text.partition("\n")[2]
            self.bundle.notes[f"logs/{path.name}"] = f"the last {_LOG_BYTES} of {size} bytes"
        self.bundle.files[f"logs/{path.name}"] = self.redactor.text(text)


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _known() -> list[str]:
    """The values of variables that are secret by their name, and of passwords in addresses."""
    found = []
    for name, value in everything().items():
        if secret_names.secret(name):
            found.append(value)
        if "://" in value:
            with contextlib.suppress(ValueError):
                parts = urlsplit(value)
                found += [word for word in (parts.password, unquote(parts.password or "")) if word]
    return found


def _versions() -> dict[str, Any]:
    return {
        "versions": versions.installed() | {"python": platform.python_version()},
        "platform": platform.platform(),
    }


def _settings(settings: Settings) -> dict[str, Any]:
    """Every setting with where it came from; the redactor takes out secrets by their names."""
    return {
        item.setting.path: {"value": _plain(item.value), "source": item.source, "place": item.place}
        for item in settings.found
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON has it. What is neither data nor a path is not shown: it may hide a secret."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else GONE
