"""The throwaway sandbox of one rehearsal, in a state folder of its own.

It lives in ``rehearsals/ID`` of the state folder and holds the lock ``rehearsals/ID.lock``
while its command runs. So no other command sees it, and whoever finds one whose lock is free
knows that its command was killed, and removes it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capi_llm import locks, plane
from capi_llm.errors import CapiLlmError, Invalid, NotFound, Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CRDS, NAMESPACES, Object, Ref, Resource
from capi_llm.rehearsal.findings import Finding
from capi_llm.rehearsal.mapping import DEV_MACHINE_TEMPLATES, INFRASTRUCTURE, ORIGINAL
from capi_llm.rehearsal.world import template_schema
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.parts import PROVIDER
from capi_llm.settings import Settings
from capi_llm.steps.classes import ClusterClasses
from capi_llm.steps.context import Report
from capi_llm.steps.kwok_provider import ProviderKinds
from capi_llm.waiting import Status, Waiter, pending, ready, until

NAME = "rehearsal"
"""The sandbox's name in its own state folder."""

_FOLDER = "rehearsals"
_KEPT = "kept"
_RECIPE = tuple(
    step
    for step in plane.SANDBOX
    if not isinstance(step, ClusterClasses | ProviderKinds) and step.name != PROVIDER
)
_KINDS = ("devmachinetemplates", "devclustertemplates", "devmachines", "devclusters")
_MUTATING = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration", namespaced=False,
)  # fmt: skip
_PREPARED_SECONDS = 60.0
_TRIAL = "Trial"

Kinds = Mapping[tuple[str, str], str]
"""(apiVersion, kind) of an infrastructure template → ``machine`` or ``cluster``."""


@dataclass(frozen=True)
class Stage:
    """A sandbox that is ready, to be prepared. ``settings`` are those with which it is a plane."""

    settings: Settings
    api: Api

    @property
    def kubeconfig(self) -> Path:
        return layout(self.settings.state, NAME).admin_kubeconfig


@contextlib.contextmanager
def stage(
    settings: Settings, *, keep: bool = False, report: Report | None = None, command: str = "rehearse"
) -> Iterator[Stage]:
    """A throwaway sandbox; gone when the block ends, however it ends, unless ``keep``.

    Those of killed rehearsals are removed first. Raises as :func:`capi_llm.plane.bootstrap`.
    """
    clean(settings)
    folder = settings.state / _FOLDER
    word = secrets.token_hex(2)
    own = replace(settings, state=folder / word, plane=NAME)
    try:
        with locks.hold(folder, word, command=command):
            try:
                if keep:
                    own.state.mkdir(mode=0o700, parents=True)
                    (own.state / _KEPT).touch(mode=0o600)
                plane.bootstrap(own, name=NAME, kind="sandbox", report=report, recipe=_RECIPE)
                with plane.connected(own, NAME) as here:
                    yield Stage(own, here.api())
            finally:
                if not keep:
                    _remove(own)
    finally:
        if not keep:
            _forget(folder, word)


def clean(settings: Settings) -> list[str]:
    """Remove what killed rehearsals left; returns their names. Those at work and those kept stay."""
    folder = settings.state / _FOLDER
    gone = []
    for path in sorted(folder.glob("*")):
        if not path.is_dir() or ((path / _KEPT).exists() and (path / "planes").exists()):
            continue
        try:
            with locks.hold(folder, path.name, command="rehearse"):
                _remove(replace(settings, state=path, plane=NAME))
        except Refused:
            continue  # at work
        _forget(folder, path.name)
        gone.append(path.name)
    with contextlib.suppress(OSError):  # not empty, or not there
        folder.rmdir()
    return gone


def _remove(own: Settings) -> None:
    with contextlib.suppress(NotFound):
        plane.destroy(own, name=NAME)
    shutil.rmtree(own.state, ignore_errors=True)


def _forget(folder: Path, word: str) -> None:
    locks.remove(folder, word)
    with contextlib.suppress(OSError):  # not empty: another rehearsal is at work
        folder.rmdir()


def prepare(api: Api, infrastructure: Kinds, schemas: Mapping[tuple[str, str], Any]) -> list[Finding]:
    """Make the in-memory kinds carry the spec of the templates that they stand for, unharmed.

    Their defaulting webhooks go, as they drop every field that they do not know and default
    nothing that the mapping has not set; validation stays. A kind whose schema is known, from
    ``schemas`` or as the sandbox has it itself, is checked and defaulted by it.
    """
    for configuration in api.list(_MUTATING):
        kept = [hook for hook in configuration["webhooks"] if not _for_dev_kinds(hook)]
        if len(kept) < len(configuration["webhooks"]):
            api.merge_patch(Ref(_MUTATING, configuration["metadata"]["name"]), {"webhooks": kept})
    known = {**_own_schemas(api, infrastructure), **schemas}
    findings = []
    for sort in ("machine", "cluster"):
        wanted = {
            names: known[names]
            for names in infrastructure
            if infrastructure[names] == sort and names in known
        }
        try:
            _carry(api, sort, {kind: schema for (_, kind), schema in wanted.items()})
        except Invalid as error:
            _carry(api, sort, {})
            kinds = ", ".join(sorted(kind for _, kind in wanted))
            findings.append(
                Finding("note", "schema-unusable", kinds, "is carried without its schema", error.why)
            )
    for names in sorted(infrastructure.keys() - known.keys()):
        findings.append(
            Finding("note", "schema-unknown", names[1], "is carried without its schema",
                    "what the provider defaults, and fields that it does not have, are not seen",
                    "rehearse against the management cluster that has its CustomResourceDefinition")
        )  # fmt: skip
    until(
        lambda: _carried(api),
        what="preparing the sandbox",
        timeout=_PREPARED_SECONDS,
        waiter=Waiter(interval=0.1),
    )
    return findings


def _own_schemas(api: Api, infrastructure: Kinds) -> dict[tuple[str, str], Any]:
    found = {}
    for crd in api.list(CRDS):
        for version in crd["spec"]["versions"]:
            names = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
            schema = template_schema(crd, version["name"]) if names in infrastructure else None
            if schema:
                found[names] = schema
    return found


def _carry(api: Api, sort: str, schemas: Mapping[str, Any]) -> None:
    """Have the in-memory kinds for machines or clusters carry originals of these kinds, and of others."""
    original = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {_TRIAL: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}, **schemas},
    }
    group = INFRASTRUCTURE.partition("/")[0]
    for plural in (f"dev{sort}templates", f"dev{sort}s"):
        ref = Ref(CRDS, f"{plural}.{group}")
        versions = api.get(ref)["spec"]["versions"]
        for version in versions:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            if "template" in spec:
                spec = spec["template"]["properties"]["spec"]["properties"]
            spec[ORIGINAL] = original
        api.merge_patch(ref, {"spec": {"versions": versions}})


def have_namespaces(api: Api, names: set[str]) -> None:
    """Make the namespaces that are not there."""
    for name in sorted(names):
        if api.find(Ref(NAMESPACES, name)) is None:
            api.create(NAMESPACES, {"metadata": {"name": name}})


def _carried(api: Api) -> Status:
    """Whether a template that is applied comes back with its original, webhooks and schema included."""
    trial: Object = {
        "metadata": {"name": "trial", "namespace": "default"},
        "spec": {"template": {"spec": {"backend": {"inMemory": {}}, ORIGINAL: {_TRIAL: {"is": ["kept"]}}}}},
    }
    try:
        answer = api.server_side_apply(
            Ref(DEV_MACHINE_TEMPLATES, "trial", "default"), trial, manager="capi-llm", dry_run=True
        )
    except CapiLlmError as error:
        return pending(error.brief)
    kept = answer["spec"]["template"]["spec"].get(ORIGINAL) == {_TRIAL: {"is": ["kept"]}}
    return ready() if kept else pending("its originals are dropped still")


def _for_dev_kinds(hook: Object) -> bool:
    return any(
        resource in _KINDS for rule in hook.get("rules") or [] for resource in rule.get("resources") or []
    )
