"""A record of an apply holds as long as all that was applied is there, on a real API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from capi_llm.kube import record
from capi_llm.kube.apply import Applied, apply
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CONFIGMAPS, NAMESPACES, SECRETS, Object, Ref
from control_plane import ControlPlane

RECORD = Ref(CONFIGMAPS, "what-is-there", "kube-system")


def objects(namespace: str) -> list[Object]:
    data = {"a": "1", "b": "2"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }
        for name in ("one", "two")
    ] + [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-more", "labels": data}},
    ]


@pytest.fixture
def recorded(api: Api, namespace: str) -> list[Applied]:
    applied = apply(api, objects(namespace))
    record.write(api, RECORD.name, "key", applied)
    assert record.holds(api, RECORD.name, "key") == 3
    return applied


def test_without_a_record_nothing_is_known(api: Api) -> None:
    assert record.holds(api, "never-written", "key") == 0


def test_another_key_is_another_thing(api: Api, recorded: list[Applied]) -> None:
    assert record.holds(api, RECORD.name, "key2") == 0


def test_a_second_record_writes_nothing(
    api: Api, namespace: str, recorded: list[Applied], control_plane: ControlPlane
) -> None:
    before = len(control_plane.writes())
    record.write(api, RECORD.name, "key", apply(api, objects(namespace)))
    assert control_plane.writes()[before:] == []


def as_user(api: Api, ref: Ref, patch: Any) -> None:
    """As kubectl patch would, with another field manager."""
    api.request(
        "PATCH",
        ref.path,
        body=patch,
        content_type="application/merge-patch+json",
        query={"fieldManager": "kubectl-patch"},
    )


CHANGES: dict[str, Callable[[Api, str], Any]] = {
    "a value": lambda api, space: as_user(api, Ref(CONFIGMAPS, "one", space), {"data": {"a": "9"}}),
    "a field is removed": lambda api, space: as_user(
        api, Ref(CONFIGMAPS, "one", space), {"data": {"b": None}}
    ),
    "a label": lambda api, space: as_user(
        api, Ref(NAMESPACES, f"{space}-more"), {"metadata": {"labels": {"a": "9"}}}
    ),
    "deleted": lambda api, space: api.delete(Ref(CONFIGMAPS, "two", space)),
    "made anew": lambda api, space: (
        api.delete(Ref(CONFIGMAPS, "two", space)),
        api.create(CONFIGMAPS, objects(space)[1]),
    ),
    "deleted and applied again": lambda api, space: (
        api.delete(Ref(CONFIGMAPS, "two", space)),
        apply(api, objects(space)),
    ),
    "by apply of somebody else": lambda api, space: api.server_side_apply(
        Ref(CONFIGMAPS, "one", space), objects(space)[0] | {"data": {"a": "9"}}, manager="kubectl"
    ),
    "fewer fields by ourselves": lambda api, space: apply(api, [objects(space)[0] | {"data": {"a": "1"}}]),
    "the notes themselves": lambda api, space: as_user(
        api, Ref(CONFIGMAPS, "one", space), {"metadata": {"managedFields": [{}]}}
    ),
    "the record": lambda api, space: as_user(api, RECORD, {"data": {"objects": "[1]"}}),
    "the record is gone": lambda api, space: api.delete(RECORD),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_of_it_the_record_does_not_hold(
    change: str, api: Api, namespace: str, recorded: list[Applied]
) -> None:
    CHANGES[change](api, namespace)
    assert record.holds(api, RECORD.name, "key") == 0


def test_what_others_add_does_not_matter(api: Api, namespace: str, recorded: list[Applied]) -> None:
    as_user(api, Ref(CONFIGMAPS, "one", namespace), {"data": {"c": "3"}, "metadata": {"labels": {"x": "y"}}})
    api.create(SECRETS, {"metadata": {"name": "one", "namespace": namespace}})
    assert record.holds(api, RECORD.name, "key") == 3
    assert {item.action for item in apply(api, objects(namespace), dry_run=True)} == {"unchanged"}
