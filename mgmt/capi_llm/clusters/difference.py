"""What differs between a cluster and what is asked for, and the command that makes it so. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm import secret_names
from capi_llm.clusters.spec import ClusterSpec, Pool
from capi_llm.clusters.topology import CPU, MEMORY, pool_entry
from capi_llm.kube.resources import CLUSTERS

_POOLS = "/spec/topology/workers/machineDeployments"


@dataclass(frozen=True)
class Difference:
    """One value that differs, and the ``command`` that makes ``have`` into ``want``."""

    field: str
    have: str
    want: str
    command: str

    def __str__(self) -> str:
        return f"{self.field} is {self.have}, asked for {self.want}"


def differences(have: ClusterSpec, want: ClusterSpec) -> list[Difference]:
    """What the user said in ``want`` that is otherwise in ``have``. What was not said never differs."""
    return [*_of_cluster(have, want), *_of_pools(have, want), *_of_maps(have, want)]


def _of_cluster(have: ClusterSpec, want: ClusterSpec) -> Iterator[Difference]:
    patch = _Patch(have)
    namespace, _, name = want.cluster_class.rpartition("/")
    asked = name if namespace == want.namespace else want.cluster_class
    again = f"{_capi_llm(want, 'delete-cluster')} --yes, then this command again"
    commands = {
        "cluster_class": patch.topology(
            {"class": name} | ({"classNamespace": namespace} if "/" in asked else {})
        ),
        "version": _upgrade(want),
        "control_plane": patch.topology({"controlPlane": {"replicas": want.control_plane}}),
        "pods": again,
        "services": again,
        "service_domain": again,
    }
    for field, command in commands.items():
        old = getattr(have, field)
        new = asked if field == "cluster_class" else getattr(want, field)
        if field in want.given and old != new:
            word = {"cluster_class": "class"}.get(field, field.replace("_", "-"))
            yield Difference(word, str(old) or "not set", str(new), command)


def _of_pools(have: ClusterSpec, want: ClusterSpec) -> Iterator[Difference]:
    patch = _Patch(have)
    first = want.pools[0].name
    for pool in want.pools:
        asked = f"pools.{pool.name}" in want.given or (pool.name == first and "workers" in want.given)
        old = have.pool(pool.name)
        if old is not None:
            where = f"{_POOLS}/{have.pools.index(old)}"
            yield from _of_pool(old, pool, want, patch, where, asked)
        elif asked:
            command = patch.add(f"{_POOLS}/-", pool_entry(pool))
            yield Difference(f"pool {pool.name}", "not there", str(pool.range), command)
    for index, pool in enumerate(have.pools):
        if "pools" in want.given and want.pool(pool.name) is None:
            yield Difference(f"pool {pool.name}", str(pool.range), "none", patch.remove(f"{_POOLS}/{index}"))


def _of_pool(
    have: Pool, want: Pool, spec: ClusterSpec, patch: _Patch, where: str, asked: bool
) -> Iterator[Difference]:
    name = want.name
    if f"pools.{name}.class" in spec.given and have.worker_class != want.worker_class:
        # Cluster API does not change a pool's class; the pool has to be made anew.
        command = f"{patch.remove(where)}, then this command again"
        yield Difference(f"class of pool {name}", have.worker_class, want.worker_class, command)
        return
    if asked and have.range != want.range:
        which = "" if name == spec.pools[0].name else f" --pool {name}"
        command = f"{_capi_llm(spec, 'scale')} --workers {want.range}{which}"
        yield Difference(f"workers of pool {name}", str(have.range), str(want.range), command)
    for word, key, old, new in (
        ("cpu", CPU, have.cpu, want.cpu),
        ("memory", MEMORY, have.memory, want.memory),
    ):
        if old != new and (word in spec.given or f"pools.{name}.{word}" in spec.given):
            command = patch.add(f"{where}/metadata/annotations/{key.replace('/', '~1')}", new)
            yield Difference(f"{word} of pool {name}", old or "not set", new, command)


def _of_maps(have: ClusterSpec, want: ClusterSpec) -> Iterator[Difference]:
    patch = _Patch(have)
    for key, value in want.labels.items():
        if f"labels.{key}" in want.defaulted:
            continue
        if have.labels.get(key) != value:
            old = have.labels.get(key, "not set")
            yield Difference(f"label {key}", old, value, patch.label(key, value))
    for key, value in want.variables.items():
        if f"variables.{key}" in want.defaulted:
            continue
        now = have.variables.get(key)
        if not _within(value, now):
            new = {**now, **value} if isinstance(now, dict) and isinstance(value, dict) else value
            shown = (_short(now), _short(new)) if not _hidden(key, now, new) else ("another value", "another")
            yield Difference(f"variable {key}", *shown, patch.variable(key, new))


class _Patch:
    """Command lines that change a Cluster: kubectl, run against the management plane by capi-llm."""

    def __init__(self, have: ClusterSpec) -> None:
        self._have = have

    def topology(self, change: Mapping[str, Any]) -> str:
        return self._kubectl("patch", "--type", "merge", "-p", _json({"spec": {"topology": change}}))

    def add(self, path: str, value: Any) -> str:
        return self._json_patch({"op": "add", "path": path, "value": value})

    def remove(self, path: str) -> str:
        return self._json_patch({"op": "remove", "path": path})

    def label(self, key: str, value: str) -> str:
        return self._kubectl("label", "--overwrite", f"{key}={value}")

    def variable(self, name: str, value: Any) -> str:
        # A merge patch replaces a list, so all of it has to be there.
        whole = {**self._have.variables, name: value}
        if any(_hidden(key, item) for key, item in whole.items()):
            return self._kubectl("edit")  # a command line is no place for a secret
        return self.topology({"variables": [{"name": key, "value": item} for key, item in whole.items()]})

    def _json_patch(self, operation: Mapping[str, Any]) -> str:
        return self._kubectl("patch", "--type", "json", "-p", _json([operation]))

    def _kubectl(self, verb: str, *options: str) -> str:
        command = ["kubectl", "-n", self._have.namespace, verb, str(CLUSTERS), self._have.name, *options]
        return "capi-llm kubeconfig --management -- " + shlex.join(command)


def _capi_llm(spec: ClusterSpec, verb: str) -> str:
    return f"capi-llm {verb} {spec.name}{_in(spec)}"


def _upgrade(spec: ClusterSpec) -> str:
    return f"capi-llm upgrade cluster {spec.name} --to {spec.version}{_in(spec)}"


def _in(spec: ClusterSpec) -> str:
    return "" if spec.namespace == "default" else f" --namespace {spec.namespace}"


def _hidden(name: str, *values: Any) -> bool:
    """Whether the variable ``name`` holds a secret, as its name or that of a key in it says."""
    if secret_names.secret(name):
        return True
    return any(
        _hidden(str(key), item)
        for value in values
        if isinstance(value, dict | list)
        for key, item in (value.items() if isinstance(value, dict) else (("", item) for item in value))
    )


def _within(want: Any, have: Any) -> bool:
    """Whether ``want`` is what ``have`` says; a map may have more keys, which defaults filled in."""
    if isinstance(want, dict) and isinstance(have, dict):
        return all(key in have and _within(value, have[key]) for key, value in want.items())
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(map(_within, want, have))
    return bool(want == have and type(want) is type(have))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _short(value: Any) -> str:
    return "not set" if value is None else _json(value)
