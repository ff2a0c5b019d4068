"""Which objects belong to an app, as the cluster itself knows: an ApplySet of KEP-3659.

https://github.com/kubernetes/enhancements/blob/master/keps/sig-cli/3659-kubectl-apply-prune/README.md

Every object of an app has the label ``applyset.kubernetes.io/part-of``; a parent, here a ConfigMap in
kube-system, says by annotations of which kinds and in which namespaces they are. Other tools can
list them, and see by the tooling annotation that they are not theirs to change. The parent is widened
before anything is applied and narrowed after the rest was pruned, so that a command that was
killed in between leaves nothing that the next one does not find.

Besides, the parent has what a look needs: the objects by name with our notes on them (see
:mod:`capi_llm.kube.record`), and the key of what they were made from.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capi_llm import versions
from capi_llm.errors import Refused
from capi_llm.kube.resources import CONFIGMAPS, Object, Ref, Resource

PART_OF = "applyset.kubernetes.io/part-of"
ID = "applyset.kubernetes.io/id"
TOOLING = "applyset.kubernetes.io/tooling"
KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"

TOOL = f"{versions.GROUP}/v1"
"""Our word in the tooling annotation, with the version of how we keep an ApplySet."""

APP = f"{versions.GROUP}/app"
CLUSTER = f"{versions.GROUP}/cluster"
CLUSTER_NAMESPACE = f"{versions.GROUP}/cluster-namespace"
HOME = "kube-system"
"""Namespace of the parents: what an app's own namespace holds may go with it, the inventory does not."""


@dataclass(frozen=True)
class Member:
    """One object of an app as the parent remembers it, with our note on it right after the apply."""

    ref: Ref
    note: str = ""


@dataclass(frozen=True)
class Parent:
    """The parent of one app. ``whole`` says that the last apply has come to its end."""

    name: str
    labels: Mapping[str, str]
    kinds: frozenset[tuple[str, str]] = frozenset()
    """Group and kind of the members."""

    namespaces: frozenset[str] = frozenset()
    whole: bool = False
    key: str = ""
    version: str = ""
    """Of the chart that was applied last."""

    members: tuple[Member, ...] = ()

    @property
    def app(self) -> str:
        return self.labels[APP]

    @property
    def id(self) -> str:
        """What the members' label says, as the KEP makes it from the parent's own name."""
        text = f"{self.name}.{HOME}.{CONFIGMAPS.kind}.{CONFIGMAPS.group}"
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        return f"applyset-{digest.decode().rstrip('=')}-v1"

    @property
    def ref(self) -> Ref:
        return Ref(CONFIGMAPS, self.name, HOME)

    def widened(self, objects: Iterable[Object]) -> Parent:
        """This parent, with the kinds and namespaces of ``objects`` too, and without an inventory."""
        new = list(objects)
        return Parent(
            self.name,
            self.labels,
            self.kinds | {group_kind(obj) for obj in new},
            self.namespaces | {_namespace(obj) for obj in new} - {""},
        )

    def narrowed(self, members: Sequence[Member], key: str, version: str) -> Parent:
        """This parent, with nothing but ``members``."""
        return Parent(
            self.name,
            self.labels,
            frozenset((item.ref.resource.group, item.ref.resource.kind) for item in members),
            frozenset(item.ref.namespace or "" for item in members) - {""},
            True,
            key,
            version,
            tuple(members),
        )

    def manifest(self) -> Object:
        """The ConfigMap."""
        kinds = sorted(".".join(filter(None, (kind, group))) for group, kind in self.kinds)
        annotations = {
            TOOLING: TOOL,
            KINDS: ",".join(kinds),
            NAMESPACES: ",".join(sorted(self.namespaces - {HOME})),
        }
        obj: Object = {
            "apiVersion": CONFIGMAPS.api_version,
            "kind": CONFIGMAPS.kind,
            "metadata": {
                "name": self.name,
                "namespace": HOME,
                "labels": {**self.labels, ID: self.id},
                "annotations": annotations,
            },
        }
        if self.whole:
            members = [_member_as_json(item) for item in self.members]
            obj["data"] = {
                "for": self.key,
                "version": self.version,
                "objects": json.dumps(members, separators=(",", ":")),
            }
        return obj


def of_workload(app: str) -> Parent:
    """The parent of an app in its own cluster, with nothing in it yet."""
    return Parent(f"capi-llm-app.{app}", {APP: app})


def of_management(app: str, cluster: str, namespace: str) -> Parent:
    """The parent of an app on the management side, where there is one for each cluster."""
    labels = {APP: app, CLUSTER: cluster, CLUSTER_NAMESPACE: namespace}
    return Parent(f"capi-llm-app.{namespace}.{cluster}.{app}", labels)


def read(obj: Object) -> Parent:
    """A parent as the cluster has it. Raises Refused where another tool keeps it, or a newer capi-llm."""
    metadata = obj["metadata"]
    labels = {
        key: value
        for key, value in (metadata.get("labels") or {}).items()
        if key in (APP, CLUSTER, CLUSTER_NAMESPACE)
    }
    annotations = metadata.get("annotations") or {}
    tool = annotations.get(TOOLING, "")
    if tool != TOOL:
        raise Refused(
            "the inventory of an app is kept by another tool",
            on=f"ConfigMap {HOME}/{metadata['name']}",
            why=f"{TOOLING} is {tool!r}, ours is {TOOL!r}",
            fix="use the tool, or the capi-llm, that has made it",
        )
    data = obj.get("data") or {}
    members = _members(data.get("objects", ""))
    kinds = (text.partition(".") for text in annotations.get(KINDS, "").split(",") if text)
    spaces = {text for text in annotations.get(NAMESPACES, "").split(",") if text}
    return Parent(
        metadata["name"],
        labels,
        frozenset((group, kind) for kind, _, group in kinds),
        frozenset(spaces | {HOME}),
        members is not None,
        str(data.get("for", "")),
        str(data.get("version", "")),
        members or (),
    )


def labelled(obj: Object, parent: Parent) -> Object:
    """``obj`` as a member of ``parent``."""
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), PART_OF: parent.id}}}


def belongs_to(obj: Object) -> str:
    """The ApplySet that an object says that it is part of; empty where it is of none."""
    return str((obj["metadata"].get("labels") or {}).get(PART_OF, ""))


def group_kind(obj: Object) -> tuple[str, str]:
    """The group and kind of an object."""
    return str(obj["apiVersion"]).rpartition("/")[0], str(obj["kind"])


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "")


def _member_as_json(member: Member) -> list[Any]:
    ref = member.ref
    resource = ref.resource
    return [resource.api_version, resource.plural, resource.kind, ref.namespace or "", ref.name, member.note]


def _members(text: str) -> tuple[Member, ...] | None:
    """The inventory; None where there is none, or somebody's own text."""
    try:
        return tuple(_member(*item) for item in json.loads(text))
    except (ValueError, TypeError, AttributeError):
        return None


def _member(api_version: str, plural: str, kind: str, namespace: str, name: str, note: str) -> Member:
    group, _, version = api_version.rpartition("/")
    return Member(Ref(Resource(group, version, plural, kind, bool(namespace)), name, namespace or None), note)
