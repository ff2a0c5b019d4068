"""Providers that the settings add, on a plane without Rancher: their manifests, applied as clusterctl does.

The manifests are a file whose SHA-256 is known; nothing is fetched without one. Variables are filled in from
the provider's Secret, in memory only. What is there in another version than the settings say is left as it is
without an upgrade, a newer one always. What a newer version has no more of is not taken away.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from capi_llm import documents, http, versions
from capi_llm.contract import workloads
from capi_llm.errors import BadInput, CapiLlmError, Refused
from capi_llm.kube.apply import MANAGER, Applied, apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CONFIGMAPS, DEPLOYMENTS, SECRETS, Object, Ref
from capi_llm.sandbox.components import ours
from capi_llm.settings import Provider
from capi_llm.settings.secret import MASK
from capi_llm.steps import budgets, components, providers, webhook_certs
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Recipe, Step
from capi_llm.waiting import Status, pending, ready

_SHORTEST = 4
"""Characters of a value that is looked for in messages; a shorter one is in every other word."""


def without_rancher(
    wanted: Sequence[Provider], *, needs: tuple[str, ...], own_certificates: bool, upgrade: bool = False
) -> Recipe:
    """The steps of ``wanted``. Raises BadInput for one whose manifests are not known by their bytes.

    With ``own_certificates`` those of their webhooks are ours, else cert-manager's.
    """
    for one in wanted:
        if not one.components or not one.sha256:
            raise BadInput(
                f"providers: {one.name!r} has no `{'sha256' if one.components else 'components'}`",
                why="without Rancher its manifests are a file whose SHA-256 is known",
                fix="components: FILE or https://…/infrastructure-components.yaml, and sha256: of it",
            )
    before = providers.secrets(wanted, needs)
    after = (*needs, *(step.name for step in before))
    return (
        *before,
        *(
            ProviderManifests(one, after, own_certificates=own_certificates, upgrade=upgrade)
            for one in wanted
        ),
    )


class ProviderManifests(Step):
    """The objects of one provider are as its manifests have them, and its managers are available."""

    interval = 1.0
    timeout = budgets.PROVIDER

    def __init__(
        self, provider: Provider, needs: tuple[str, ...], *, own_certificates: bool, upgrade: bool = False
    ) -> None:
        self.name = providers.step_name(provider)
        self.needs = needs
        self.version = provider.version
        self._provider = provider
        self._own_certificates = own_certificates
        self._upgrade = upgrade
        self._parsed: tuple[dict[str, str], list[Object]] | None = None
        """For which values, and what the file says with them."""

        self._record = Ref(CONFIGMAPS, f"capi-llm-{self.name}", "kube-system")

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        """A file that is not there or has other bytes; one of the web where the network is not to be used."""
        path = self._path(ctx)
        if self._provider.from_web and not path.exists():
            if ctx.settings.offline:
                yield Problem(
                    f"the manifests of provider {self._provider.name} are not here",
                    f"fetch {self._provider.components} and name the file as its `components:`",
                )
            return
        try:
            self._bytes(ctx)
        except CapiLlmError as error:
            yield Problem(error.brief, error.fix)

    def probe(self, ctx: Context) -> Status:
        api = ctx.api()
        have = (api.find(self._record) or {}).get("data") or {}
        if self._kept(have):
            status = _available(api, [_ref(text) for text in have.get("deployments", "").split()])
            version = str(have.get("version"))
            note = f"{version} is there; the settings say {self.version}"
            return ready(note) if status.ready else status
        if not self._path(ctx).exists():
            return pending(f"{self.version} is to be fetched")
        every = self._all(ctx)
        deployments = _deployments(every)
        if not have:
            self._check_nobody_elses(api, deployments)
        bad = self._certificates_to_make(ctx, every)
        if bad:
            return pending(f"certificates to make: {', '.join(map(str, bad))}")
        in_place = unapplied(self._apply(ctx, self._trusting(ctx, every), dry_run=True))
        if not in_place.ready:
            return in_place
        if have != self._written(deployments):
            return pending("its version is to be recorded")
        return _available(api, deployments)

    def apply(self, ctx: Context) -> None:
        api = ctx.api()
        if self._kept((api.find(self._record) or {}).get("data") or {}):
            return
        path = self._path(ctx)
        if not path.exists():
            ctx.report.progress(self.name, f"fetching {self._provider.components}")
            http.download(self._provider.components, path, sha256=self._provider.sha256, cancel=ctx.cancel)
        every = self._all(ctx)
        self._apply(ctx, [item for item in every if item["kind"] == "Namespace"])
        for ref, hosts in self._certificates_to_make(ctx, every).items():
            apply(api, [webhook_certs.serving(api, ref, hosts)])
        self._apply(ctx, self._trusting(ctx, every))  # an authority may be new
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._record.name, "namespace": self._record.namespace},
            "data": self._written(_deployments(every)),
        }
        apply(api, [body])

    def _apply(self, ctx: Context, objects: Sequence[Object], *, dry_run: bool = False) -> list[Applied]:
        """Apply; an API server that quotes a value which it refuses is not repeated."""
        try:
            return apply(ctx.api(), objects, dry_run=dry_run, cancel=ctx.cancel)
        except CapiLlmError as error:
            values = [value for value in self._values(ctx).values() if len(value) >= _SHORTEST]
            for value in sorted(values, key=len, reverse=True):
                for word in (value, base64.b64encode(value.encode()).decode()):
                    error.what, error.on = error.what.replace(word, MASK), error.on.replace(word, MASK)
                    error.why, error.fix = error.why.replace(word, MASK), error.fix.replace(word, MASK)
            raise

    def _kept(self, have: Object) -> bool:
        """Whether what is there stays as it is."""
        version = str(have.get("version") or "")
        if not version or (version, have.get("sha256")) == (self.version, self._provider.sha256):
            return False
        return not self._upgrade or versions.newer(version, self.version)

    def _written(self, deployments: Sequence[Ref]) -> dict[str, str]:
        return {
            "version": self.version,
            "sha256": self._provider.sha256,
            "deployments": " ".join(sorted(f"{ref.namespace}/{ref.name}" for ref in deployments)),
        }

    def _check_nobody_elses(self, api: Api, deployments: Sequence[Ref]) -> None:
        """Raise Refused where another tool has installed it: nothing is ever there twice."""
        for ref in deployments:
            live = api.find(ref)
            managers = {
                entry.get("manager") for entry in (live or {}).get("metadata", {}).get("managedFields", ())
            }
            if live is not None and MANAGER not in managers:
                raise Refused(
                    f"provider {self._provider.name} is there already, of another tool",
                    on=str(ref),
                    why="a second one would work on the same objects",
                    fix="take it out of `providers:` to use the one that is there",
                )

    def _path(self, ctx: Context) -> Path:
        if self._provider.from_web:
            return ctx.settings.cache / "providers" / f"{self._provider.sha256}.yaml"
        return Path(self._provider.components)

    def _bytes(self, ctx: Context) -> bytes:
        path = self._path(ctx)
        try:
            found = path.read_bytes()
        except OSError as error:
            raise BadInput(
                f"the manifests of provider {self._provider.name} can not be read",
                on=str(path),
                why=error.strerror or str(error),
                fix="correct `components:` of the provider",
            ) from error
        digest = hashlib.sha256(found).hexdigest()
        if digest != self._provider.sha256:
            raise BadInput(
                f"the manifests of provider {self._provider.name} are not those of the settings",
                on=str(path),
                why=f"their SHA-256 is {digest}, and `sha256:` says {self._provider.sha256}",
                fix="get the right file, or correct `sha256:` where you trust this one",
            )
        return found

    def _trusting(self, ctx: Context, every: list[Object]) -> list[Object]:
        """What is to be applied of ``every``, its webhooks trusting our authority where it is ours."""
        if not self._own_certificates:
            return every
        authority = webhook_certs.authority(ctx.api())
        return [item for item in every if components.with_authority(item, authority)]

    def _all(self, ctx: Context) -> list[Object]:
        """What the file says, to be changed. No error has anything of a variable's value."""
        name, text = self._provider.name, self._bytes(ctx).decode(errors="replace")
        values = {**components.VARIABLES, **self._values(ctx)}
        asked = components.variables(text)
        absent = sorted(asked - values.keys())
        if absent:
            raise BadInput(
                f"the manifests of provider {name} ask for {', '.join(absent)}",
                why="they have no default there, and the provider's Secret has none of it",
                fix="name them as `environment:` of the provider, or put them into its Secret",
            )
        if self._parsed is None or self._parsed[0] != values:
            try:
                found = documents.manifests(components.substitute(text, values))
            except yaml.YAMLError as error:
                raise BadInput(
                    f"the manifests of provider {name} are no YAML once their variables are filled in",
                    why=documents.problem(error).partition(": ")[0],  # the rest may quote a value
                    fix="look at the values: they are put in as they are, without quotes",
                ) from None
            self._parsed = values, list(_flat(found))
        return [_plain(ours(item)) for item in self._parsed[1]]

    def _values(self, ctx: Context) -> dict[str, str]:
        if not self._provider.secret:
            return {}
        obj = ctx.api().find(Ref(SECRETS, self._provider.secret, self._provider.namespace))
        found = {}
        for name, value in ((obj or {}).get("data") or {}).items():
            try:
                found[name] = base64.b64decode(value).decode()
            except (binascii.Error, ValueError):
                continue  # no text, so nothing that manifests could hold
        return found

    def _certificates_to_make(self, ctx: Context, every: Sequence[Object]) -> dict[Ref, tuple[str, ...]]:
        """Secrets of certificates that are absent, not ours or about to expire, with their hosts."""
        if not self._own_certificates:
            return {}
        wanted = {}
        for item in every:
            if item["kind"] == "Certificate":
                spec = item["spec"]
                ref = Ref(SECRETS, spec["secretName"], item["metadata"].get("namespace") or "default")
                wanted[ref] = tuple(spec.get("dnsNames") or ())
        return {
            ref: hosts for ref, hosts in wanted.items() if not webhook_certs.serves(ctx.api(), ref, hosts)
        }


def _deployments(objects: Iterable[Object]) -> list[Ref]:
    return [DEPLOYMENTS.ref(item) for item in objects if item["kind"] == "Deployment"]


def _flat(items: Iterable[object]) -> list[Object]:
    found: list[Object] = []
    for item in items:
        if isinstance(item, dict) and item.get("kind") == "List":
            found += _flat(item.get("items") or [])
        elif isinstance(item, dict) and item.get("kind") and isinstance(item.get("metadata"), dict):
            found.append(item)
    return found


def _plain(item: Object) -> Object:
    """A Secret's ``stringData`` as ``data``: only that can be compared with what is there."""
    if item["kind"] == "Secret" and item.get("stringData"):
        texts = item.pop("stringData")
        data = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
        item["data"] = {**(item.get("data") or {}), **data}
    return item


def _ref(text: str) -> Ref:
    namespace, _, name = text.partition("/")
    return Ref(DEPLOYMENTS, name, namespace)


def _available(api: Api, deployments: Sequence[Ref]) -> Status:
    for ref in deployments:
        live = api.find(ref)
        if live is None:
            return pending(f"{ref} is not there")
        status = workloads.of(live)
        if not status.ready:
            return pending(f"{ref}: {status.message}", cause=status.cause, fix=status.fix)
    return ready(f"{len(deployments)} managers available" if len(deployments) != 1 else "available")
