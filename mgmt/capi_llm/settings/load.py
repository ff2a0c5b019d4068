"""All sources in their order, as one :class:`Settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capi_llm import fields, versions
from capi_llm.errors import BadInput
from capi_llm.fields import HostNetwork
from capi_llm.settings import kinds, sources
from capi_llm.settings.models import Model
from capi_llm.settings.providers import Provider, placed
from capi_llm.settings.secret import Secret
from capi_llm.settings.sources import Layer, Said, Source
from capi_llm.settings.table import BY_PATH, CONFIG, PARTS, SETTINGS, XDG, Setting
from capi_llm.settings.words import CLUSTER


@dataclass(frozen=True)
class Found:
    """One setting as it is: the value, and where it came from. None is nobody said it and no default."""

    setting: Setting
    value: Any
    source: Source
    where: str = ""
    """The place for a message: ``capi-llm.yaml:7: cluster.pods``."""
    place: str = ""
    """The place for ``config``: ``capi-llm.yaml:7``, ``CAPI_LLM_PLANE``."""


@dataclass(frozen=True)
class Settings:
    """What one run of the command line works with. All paths are absolute."""

    state: Path
    cache: Path
    kubeconfigs: Path
    plane: str = ""
    parts_dir: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False
    kind: str = ""
    """Kind of plane to make; empty where nobody said one."""

    host_networks: tuple[str, ...] | None = None
    """Networks to keep away from; None: those that this machine is in."""

    cluster: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of new-cluster that were said, by the fields of ``clusters.spec.Given``."""

    apps: tuple[str, ...] | None = None
    """Apps of new clusters; None: all that fit."""

    app_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    app_values_at: str = "apps.values"
    """The place where they were said."""

    bundle_dir: Path | None = None
    delivery: str = ""
    """How apps come to clusters; empty where nobody said it."""

    provider_keys: Mapping[str, Secret] = field(default_factory=dict)
    """Keys of model providers that are there, by variable."""

    gateway_key: Secret | None = None
    """What a gateway at an address of its own is shown."""

    models: tuple[Model, ...] | None = None
    """Models that were said; None: the default ones."""

    models_at: str = "models"
    """The place where they were said."""

    client_keys: bool = False
    shared_limits: bool = False
    management: str = ""
    """Name of a kind plane's cluster; empty where nobody said it."""

    images: tuple[str, ...] = ()
    """More images that are loaded into a kind plane's node."""

    providers: tuple[Provider, ...] = ()
    """More providers of Cluster API."""

    provider_environment: Mapping[str, Secret] = field(default_factory=dict)
    """What of their variables is there."""

    rancher_hostname: str = ""
    rancher_version: str = versions.RANCHER
    rancher_password: Secret | None = None
    """The first password of Rancher's user admin, where somebody gave one."""

    charts: str = ""
    """A chart repository that is used in place of the publishers' own."""

    ngrok_api_key: Secret | None = None
    ngrok_authtoken: Secret | None = None
    file: Path | None = None
    """The settings file that was read."""

    found: tuple[Found, ...] = field(default=(), compare=False, repr=False)
    """Every setting of the table, with where it came from."""

    def said(self, path: str) -> Found | None:
        """What somebody said of the setting ``path``; None where nobody did."""
        return next(
            (item for item in self.found if item.setting.path == path and item.source != "default"), None
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """:func:`load` without flags. With ``environ``, it alone is read, and no ``.env``."""
        return load(environ=environ)

    def networks_to_avoid(self) -> tuple[HostNetwork, ...]:
        """The networks that pods and Services of a cluster should not overlap with."""
        if self.host_networks is None:
            from capi_llm.settings import host

            return host.networks()
        where = next((item.place for item in self.found if item.setting.path == "host.networks"), "")
        return tuple(
            HostNetwork(text, f"to be kept away from, says {where or 'host.networks'}")
            for text in self.host_networks
        )

    def check_apart(self) -> None:
        """Raise BadInput where ``cluster.pods`` or ``.services``, if said, overlap with those networks."""
        found = {item.setting.path: item for item in self.found}
        for word, other in (("pods", "services"), ("services", "pods")):
            item, beside = found[f"cluster.{word}"], found[f"cluster.{other}"].value
            if item.source != "default":
                hosts = self.networks_to_avoid()
                fields.apart(item.value, item.where, hosts, pod=word == "pods", beside=beside)

    @property
    def cluster_places(self) -> dict[str, str]:
        """Field of ``cluster`` → the place where it was said."""
        where = {item.setting.path: item.where for item in self.found}
        return {
            word.field: where.get(f"cluster.{word.word}", "")
            for word in CLUSTER
            if word.field in self.cluster
        }


def load(
    config: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> Settings:
    """Every setting: default, then capi-llm.yaml, ``.env``, environment, flags; the later wins.

    ``config`` is the file of ``--config``. ``flags`` are pairs of flag and value by the paths of
    settings. With ``environ``, it is read in place of the environment and of ``.env``, and a file
    only if one is named. Raises BadInput with the place, whatever source is wrong, also where
    another one wins; NotFound where a file that was named is not there.
    """
    own = os.environ if environ is None else environ
    dotenv, named = sources.of_dotenv() if environ is None else ({}, None)
    from_environment = sources.of_environment(own)
    if config is None:
        config = Path(own[CONFIG]) if own.get(CONFIG) else named
    file = sources.find_file(config) if environ is None else config
    layers: list[Layer] = [sources.of_file(file) if file else {}, dotenv, from_environment]
    layers.append(
        {
            path: Said(BY_PATH[path], value, flag, "flag", flag)
            for path, (flag, value) in (flags or {}).items()
        }
    )
    home = _home(own)
    said = {path: _checked(item, home) for layer in layers for path, item in layer.items()}
    found = {setting.path: said.get(setting.path) or _default(setting, own, home) for setting in SETTINGS}
    for item in found.values():
        if item.setting.kind is kinds.FOLDER:
            _check_folder(item)
    _check_networks(found)
    settings = _settings(found, file)
    if not settings.providers:
        return settings
    given = sources.everything() if environ is None else environ
    wanted = {name for provider in settings.providers for name in provider.environment}
    secrets = {name: Secret(given[name]) for name in sorted(wanted) if given.get(name)}
    return replace(settings, provider_environment=secrets)


def _settings(found: Mapping[str, Found], file: Path | None) -> Settings:
    def value(path: str) -> Any:
        return found[path].value

    def said(path: str) -> Any:
        return None if found[path].source == "default" else found[path].value

    parts = {name: value(f"parts.executables.{name}") for name in PARTS}
    cluster = {word.field: said(f"cluster.{word.word}") for word in CLUSTER}
    return Settings(
        state=value("folders.state"),
        cache=value("folders.cache"),
        kubeconfigs=value("folders.kubeconfigs"),
        plane=value("plane.name") or "",
        parts_dir=value("parts.dir"),
        parts={name: path for name, path in parts.items() if path is not None},
        offline=value("parts.offline"),
        kind=said("plane.kind") or "",
        host_networks=value("host.networks"),
        cluster={name: item for name, item in cluster.items() if item is not None},
        apps=value("apps.wanted"),
        app_values=value("apps.values") or {},
        app_values_at=found["apps.values"].where,
        bundle_dir=value("apps.bundleDir"),
        delivery=value("apps.delivery") or "",
        provider_keys={
            item.setting.variable: item.value
            for item in found.values()
            if item.setting.kind is kinds.API_KEY and item.value
        },
        gateway_key=value("gateway.key"),
        models=value("models"),
        models_at=found["models"].where,
        client_keys=value("gateway.clientKeys"),
        shared_limits=value("gateway.sharedLimits"),
        management=value("management.name") or "",
        images=value("management.images") or (),
        providers=value("providers") or (),
        rancher_hostname=value("rancher.hostname") or "",
        rancher_version=value("rancher.version"),
        rancher_password=value("rancher.bootstrapPassword"),
        charts=value("charts.mirror") or "",
        ngrok_api_key=value("ngrok.apiKey"),
        ngrok_authtoken=value("ngrok.authtoken"),
        file=file,
        found=tuple(found.values()),
    )


def _checked(said: Said, home: Path) -> Found:
    value = said.setting.kind.check(said.value, said.where)
    if said.setting.kind in (kinds.FOLDER, kinds.FILE):
        value = _path(value, said, home)
    if said.setting.kind is kinds.PROVIDERS:
        value = placed(value, lambda path: _path(path, said, home))
    return Found(said.setting, value, said.source, said.where, said.place)


def _default(setting: Setting, env: Mapping[str, str], home: Path) -> Found:
    value, place = setting.default, ""
    if setting.path in XDG:
        variable, folder = XDG[setting.path]
        # The XDG base directory specification: relative values are to be ignored.
        xdg = Path(env.get(variable, ""))
        place = f"${variable}" if xdg.is_absolute() else ""
        value = (xdg if xdg.is_absolute() else home / folder) / "capi-llm"
    elif setting.path == "folders.kubeconfigs":
        value = _absolute("the folder", "kubeconfigs", None)
    return Found(setting, value, "default", place or setting.path, place)


def _check_networks(found: Mapping[str, Found]) -> None:
    pods, services = found["cluster.pods"], found["cluster.services"]
    if "default" not in (pods.source, services.source):
        fields.networks(pods.value, services.value, pods_at=pods.where, services_at=services.where)


def _home(env: Mapping[str, str]) -> Path:
    try:
        return _absolute("HOME", env["HOME"], None) if env.get("HOME") else Path.home()
    except RuntimeError as error:
        raise BadInput(
            "no home folder is known", why=str(error), fix="set HOME, or CAPI_LLM_STATE and CAPI_LLM_CACHE"
        ) from error


def _path(value: str, said: Said, home: Path) -> Path:
    """``value`` as an absolute path; ``~`` at its beginning is the home folder."""
    if not value or "\0" in value:
        raise BadInput(f"{said.where}: {value!r} is not a path", fix="name a file or folder, or leave it out")
    if value == "~" or value.startswith("~/"):
        return home / value[2:]
    return _absolute(said.where, value, said.base)


def _absolute(where: str, value: str, base: Path | None) -> Path:
    try:
        return Path(value) if Path(value).is_absolute() else (base or Path()).absolute() / value
    except OSError as error:  # a relative path, and the current folder is gone
        raise BadInput(
            f"{where} {value!r} leads nowhere",
            why=f"the current folder: {error.strerror or error}",
            fix="change to another folder",
        ) from error


def _check_folder(found: Found) -> None:
    path: Path | None = found.value
    if path is None or found.source == "default":
        return
    why = ""
    try:
        if path.exists() and not path.is_dir():
            why = "it is a file"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise BadInput(f"{found.where} must name a folder", on=str(path), why=why, fix="name another folder")
