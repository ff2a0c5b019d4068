"""Providers of Cluster API that the settings add, and the Secrets with their variables.

With Rancher each is a CAPIProvider with a pinned version, and Turtles does the rest. A value of a variable is
written into its Secret and nowhere else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from capi_llm.errors import BadInput
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import SECRETS, Object, Ref
from capi_llm.settings import Provider
from capi_llm.steps import budgets, turtles
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Recipe, Step
from capi_llm.steps.objects import namespace, recorded
from capi_llm.waiting import Status, failed, pending, ready

SECRETS_STEP = "provider-secrets"


def step_name(provider: Provider) -> str:
    """``provider-hetzner``; with its type where that is not infrastructure."""
    return f"provider-{_object_name(provider)}"


def secrets(providers: Sequence[Provider], needs: tuple[str, ...]) -> Recipe:
    """The step of all their Secrets; none where no provider has one."""
    wanted = tuple(one for one in providers if one.secret)
    return (ProviderSecrets(wanted, needs),) if wanted else ()


def with_rancher(providers: Sequence[Provider], *, needs: tuple[str, ...], upgrade: bool = False) -> Recipe:
    """The steps of ``providers`` where Turtles runs. Raises BadInput for one that it can not install."""
    before = secrets(providers, needs)
    after = (*needs, *(step.name for step in before))
    return (*before, *(turtles.CapiProvider(_of(one), after, upgrade=upgrade) for one in providers))


def _of(provider: Provider) -> turtles.Provider:
    if provider.components and not provider.from_web:
        raise BadInput(
            f"providers: the manifests of {provider.name!r} are a file of this machine",
            on=provider.components,
            why="with Rancher, Turtles gets them itself, and does not see that file",
            fix="name the address of a release, such as "
            "https://github.com/OWNER/REPO/releases/VERSION/infrastructure-components.yaml",
        )
    return turtles.Provider(
        step=step_name(provider),
        name=_object_name(provider),
        namespace=provider.namespace,
        provider=provider.name,
        kind=provider.type,
        version=provider.version,
        secret=provider.secret,
        fetch=provider.components,
        pinned_by="the settings say",
    )


def _object_name(provider: Provider) -> str:
    return provider.name if provider.type == "infrastructure" else f"{provider.name}-{provider.type.lower()}"


class ProviderSecrets(Step):
    """Every Secret that a provider names is there, with the variables that it is to have.

    A value that is given replaces the one in the Secret; one that is not given stays as it is there.
    """

    name = SECRETS_STEP
    interval = 1.0
    timeout = budgets.SETTINGS

    def __init__(self, providers: Sequence[Provider], needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._variables: dict[Ref, dict[str, None]] = {}
        for one in providers:
            ref = Ref(SECRETS, one.secret, one.namespace)
            self._variables.setdefault(ref, {}).update(dict.fromkeys(one.environment))

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        """What neither is given nor in the plane already."""
        for ref in self._variables:
            absent = [name for name in self._variables[ref] if name not in ctx.settings.provider_environment]
            if absent and not recorded(ctx, ref, absent):
                yield Problem(
                    f"a provider of the settings needs {', '.join(absent)} for {ref}",
                    "put it into the environment or into .env",
                )

    def probe(self, ctx: Context) -> Status:
        for ref in self._variables:
            obj = ctx.api().find(ref)
            have = (obj or {}).get("data") or {}
            given = self._given(ctx, ref)
            wrong = [name for name, value in given.items() if have.get(name) != value]
            if wrong:
                return pending(f"{', '.join(wrong)} to be written to {ref}")
            absent = [name for name in self._variables[ref] if name not in have]
            if absent:
                return failed(
                    f"{ref} has no {', '.join(absent)}",
                    cause="it is not in the environment either",
                    fix="put it into the environment or into .env, and run bootstrap again",
                )
            if obj is None:
                return pending(
                    f"{ref} is not there",
                    cause="a provider of the settings names it, and no variables that are to be in it",
                    fix=f"kubectl -n {ref.namespace} create secret generic {ref.name} --from-env-file FILE, "
                    "or name its variables as `environment:` of the provider",
                )
        return ready(f"{len(self._variables)} in place")

    def apply(self, ctx: Context) -> None:
        objects: dict[str, Object] = {}
        for ref in self._variables:
            objects[f"Namespace {ref.namespace}"] = namespace(str(ref.namespace))
            given = self._given(ctx, ref)
            if given:
                objects[str(ref)] = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": ref.name, "namespace": ref.namespace},
                    "type": "Opaque",
                    "data": {**self._kept(ctx, ref), **given},
                }
        apply(ctx.api(), objects.values(), cancel=ctx.cancel)

    def _given(self, ctx: Context, ref: Ref) -> dict[str, str]:
        values = ctx.settings.provider_environment
        return {
            name: base64.b64encode(values[name].reveal().encode(errors="surrogateescape")).decode()
            for name in self._variables[ref]
            if name in values
        }

    def _kept(self, ctx: Context, ref: Ref) -> Mapping[str, str]:
        """What is there of variables that are not given now: an apply without them would take them out."""
        have = (ctx.api().find(ref) or {}).get("data") or {}
        return {name: have[name] for name in self._variables[ref] if name in have}
