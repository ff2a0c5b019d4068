"""The secrets of apps: they go straight into the cluster, never into a chart, a Bundle or a file.

Generated ones are made once and never overwritten: whoever puts a key of their own there first, or
changes it later, keeps it. Keys of providers come from the environment and follow it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm import versions
from capi_llm.apps.bundle import Bundle
from capi_llm.apps.engine import Release
from capi_llm.errors import Conflict, Refused
from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SECRETS, Object, Ref
from capi_llm.settings import Secret

APP = f"{versions.GROUP}/app"
MASTER = ("litellm", "master-key")
PROVIDERS = "litellm-providers"
"""Secret with what LiteLLM shows to providers of models, by the names of its variables."""

_BYTES = 32


@dataclass(frozen=True)
class Key:
    """One generated key: of which app, in which Secret, and where the values can name another Secret."""

    app: str
    secret: str
    key: str
    make: Callable[[], str]
    named_by: tuple[str, ...]
    when: tuple[str, ...] = ()
    """The value that says whether it is needed; always, where there is none."""


def _word() -> str:
    return secrets.token_urlsafe(_BYTES)


KEYS = (
    Key("litellm", *MASTER, lambda: f"sk-{_word()}", ("masterKey", "secretName")),
    Key(
        "litellm", "litellm-salt", "salt-key", lambda: f"sk-{_word()}", ("database", "saltSecret"),
        ("database", "enabled"),
    ),
    Key("redis", "redis", "password", _word, ("secret", "name")),
    Key("postgresql", "postgresql", "password", _word, ("secret", "name")),
    Key("openwebui", "openwebui", "webui-secret-key", _word, ("secret", "name")),
)  # fmt: skip
"""LiteLLM's keys begin with ``sk-`` (https://docs.litellm.ai/docs/proxy/virtual_keys)."""

_SHARED = Key("openwebui", "openwebui", "openai-api-key", _word, ("secret", "name"))
"""What Open WebUI shows to LiteLLM: LiteLLM's own key."""


def ensure(api: Api, releases: Iterable[Release], providers: Mapping[str, Secret]) -> list[Ref]:
    """Have every Secret that ``releases`` refer to, in their namespaces; returns those that were written.

    ``providers`` are keys of model providers by variable, such as ``OPENAI_API_KEY``. Raises Refused
    where Open WebUI has another key than LiteLLM.
    """
    written: list[Ref] = []
    by_app = {release.app: release for release in releases}
    for key in KEYS:
        release = by_app.get(key.app)
        if release is not None and _ours(release, key):
            _have(api, release.namespace, key, key.make, written)
    webui = by_app.get(_SHARED.app)
    if webui is not None and _ours(webui, _SHARED):
        _share(api, webui.namespace, written)
    if "litellm" in by_app and providers:
        written += _put(api, by_app["litellm"].namespace, providers)
    return written


def missing(api: Api, releases: Iterable[Release]) -> list[Ref]:
    """The Secrets that :func:`ensure` would make."""
    found: dict[Ref, None] = {}
    for release in releases:
        for key in (*KEYS, _SHARED):
            ref = Ref(SECRETS, key.secret, release.namespace)
            if release.app == key.app and _ours(release, key) and not _read(api.find(ref), key.key):
                found[ref] = None
    return list(found)


def of_cluster(
    api: Api, bundles: Iterable[Bundle], providers: Mapping[str, Secret]
) -> dict[str, dict[str, Any]]:
    """Values by app that lead to what is there: LiteLLM's to the keys of providers."""
    for bundle in bundles:
        if (
            bundle.name == "litellm"
            and bundle.knows("providerKeys")
            and (providers or api.find(Ref(SECRETS, PROVIDERS, bundle.namespace)) is not None)
        ):
            return {bundle.name: {"providerKeys": {"secretName": PROVIDERS}}}
    return {}


def provider_names(api: Api, bundles: Iterable[Bundle], providers: Mapping[str, Secret]) -> frozenset[str]:
    """Variables of providers whose key is there: said now, or in the cluster from earlier."""
    found = set(providers)
    for bundle in bundles:
        if bundle.name == "litellm":
            live = api.find(Ref(SECRETS, PROVIDERS, bundle.namespace))
            found |= {name for name, value in ((live or {}).get("data") or {}).items() if value}
    return frozenset(found)


def _have(api: Api, namespace: str, key: Key, make: Callable[[], str], written: list[Ref]) -> str:
    """The key as it is in the cluster, made where it is missing."""
    ref = Ref(SECRETS, key.secret, namespace)
    for _ in range(2):
        live = api.find(ref)
        if found := _read(live, key.key):
            return found
        fresh = make()
        data = {key.key: base64.b64encode(fresh.encode()).decode()}
        metadata = {"name": ref.name, "namespace": namespace, "labels": {APP: key.app}}
        try:
            if live is None:
                api.create(SECRETS, {"metadata": metadata, "type": "Opaque", "data": data})
            else:
                version = live["metadata"]["resourceVersion"]
                api.merge_patch(ref, {"metadata": {"resourceVersion": version}, "data": data})
        except Conflict:
            continue  # somebody else was here in between, and theirs counts
        if ref not in written:
            written.append(ref)
        return fresh
    return _read(api.get(ref), key.key)


def _share(api: Api, namespace: str, written: list[Ref]) -> None:
    master = _have(api, namespace, KEYS[0], KEYS[0].make, written)
    shown = _have(api, namespace, _SHARED, lambda: master, written)
    if not secrets.compare_digest(master.encode(), shown.encode()):
        raise Refused(
            "Open WebUI has another key than LiteLLM",
            on=f"Secret {namespace}/{_SHARED.secret}, key {_SHARED.key}",
            why=f"LiteLLM's is in Secret {namespace}/{MASTER[0]}, key {MASTER[1]}, and was changed",
            fix=f"delete Secret {namespace}/{_SHARED.secret} and run this command again; sessions end then",
        )


def _put(api: Api, namespace: str, providers: Mapping[str, Secret]) -> list[Ref]:
    obj: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PROVIDERS, "namespace": namespace, "labels": {APP: "litellm"}},
        "type": "Opaque",
        "data": {
            name: base64.b64encode(value.reveal().encode()).decode() for name, value in providers.items()
        },
    }
    return [item.ref for item in apply(api, [obj]) if item.action != "unchanged"]


def _ours(release: Release, key: Key) -> bool:
    """Whether the values want the Secret, leave it to us, and name none of the user's own."""
    if key.when and not _at(release.values, key.when):
        return False
    return _at(release.values, key.named_by) in (None, "", key.secret)


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _read(secret: Object | None, key: str) -> str:
    try:
        return base64.b64decode(((secret or {}).get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
