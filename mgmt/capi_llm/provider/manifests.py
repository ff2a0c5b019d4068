"""CRDs of our kinds, and what the provider and Cluster API may do with them. Pure."""

from __future__ import annotations

from typing import Any

from capi_llm.kube.resources import Object, Resource
from capi_llm.provider.kinds import KWOK_CLUSTERS, KWOK_CONTROL_PLANES, KWOK_MACHINES, OURS
from capi_llm.sandbox.parts import PROVIDER
from capi_llm.sandbox.pki import manager_user
from capi_llm.versions import GROUP

_RBAC = "rbac.authorization.k8s.io"
_ROLE = f"capi-llm-{PROVIDER}"

Schema = dict[str, Any]


def _object(description: str = "", required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    if description:
        found["description"] = description
    if required:
        found["required"] = list(required)
    return found


def _of(kind: str, description: str = "", **more: Any) -> Schema:
    return {"type": kind} | ({"description": description} if description else {}) | more


_TEXT, _NUMBER, _YES_OR_NO = _of("string"), _of("integer", format="int32"), _of("boolean")

_CONDITION = _object(
    "",
    ("type", "status", "reason", "message", "lastTransitionTime"),
    type=_TEXT,
    status=_of("string", enum=["True", "False", "Unknown"]),
    reason=_TEXT,
    message=_TEXT,
    lastTransitionTime=_of("string", format="date-time"),
    observedGeneration=_of("integer", format="int64"),
)
_CONDITIONS = _object(
    "",
    conditions={
        "type": "array",
        "items": _CONDITION,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    },
)

_SPECS: dict[Resource, Schema] = {
    KWOK_CLUSTERS: _object(
        controlPlaneEndpoint=_object(
            "Where the API server listens; written by the provider.",
            ("host", "port"),
            host=_TEXT,
            port=_NUMBER,
        )
    ),
    KWOK_CONTROL_PLANES: _object(
        version=_of(
            "string",
            "Kubernetes that the topology asks for. Status repeats it; the API server that really runs "
            "is the sandbox's, status.serverVersion.",
        ),
        replicas=_of(
            "integer", "Always 1: one API server and one etcd.", format="int32", minimum=1, maximum=1
        ),
    ),
    KWOK_MACHINES: _object(
        providerID=_of("string", "Written by the provider: kwok://NAMESPACE/NAME."),
        capacity=_of(
            "object",
            "What the simulated node says that it has: resource to quantity.",
            additionalProperties={"anyOf": [_of("integer"), _TEXT], "x-kubernetes-int-or-string": True},
        ),
    ),
}
_SPECS[KWOK_CONTROL_PLANES]["required"] = ["version"]

_STATUS: dict[Resource, Schema] = {
    KWOK_CLUSTERS: _object(ready=_YES_OR_NO, v1beta2=_CONDITIONS),
    KWOK_CONTROL_PLANES: _object(
        initialized=_YES_OR_NO,
        ready=_YES_OR_NO,
        version=_TEXT,
        serverVersion=_of("string", "Version of the API server that really runs."),
        kubeSystemUID=_of("string", "UID of the workload cluster's kube-system namespace."),
        externalManagedControlPlane=_YES_OR_NO,
        replicas=_NUMBER,
        readyReplicas=_NUMBER,
        updatedReplicas=_NUMBER,
        unavailableReplicas=_NUMBER,
        observedGeneration=_of("integer", format="int64"),
        v1beta2=_CONDITIONS,
    ),
    KWOK_MACHINES: _object(
        ready=_YES_OR_NO,
        addresses=_of("array", items=_object("", ("type", "address"), type=_TEXT, address=_TEXT)),
        v1beta2=_CONDITIONS,
    ),
}


def objects() -> list[Object]:
    """Everything to be applied to the sandbox's API server."""
    crds = [_crd(kind, _SPECS[kind], _STATUS[kind]) for kind in OURS]
    templates = [_template(kind) for kind in OURS]
    return [*crds, *templates, *_rbac()]


def _template(kind: Resource) -> Object:
    metadata = _object(
        labels=_of("object", additionalProperties=_TEXT),
        annotations=_of("object", additionalProperties=_TEXT),
    )
    body = dict(_SPECS[kind])
    body.pop("required", None)  # a template leaves to the topology what differs
    template = _object("", ("spec",), metadata=metadata, spec=body)
    name = f"{kind.kind}Template"
    resource = Resource(kind.group, kind.version, f"{name.lower()}s", name)
    return _crd(resource, _object("", ("template",), template=template))


def _crd(resource: Resource, spec: Schema, status: Schema | None = None) -> Object:
    properties = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _of("object"), "spec": spec}
    version: Object = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "additionalPrinterColumns": [_column("Cluster", r".metadata.labels.cluster\.x-k8s\.io/cluster-name")],
    }
    if status is not None:
        properties["status"] = status
        version["subresources"] = {"status": {}}
        version["additionalPrinterColumns"].append(_column("Ready", ".status.ready", "boolean"))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{resource.group}",
            # By this Cluster API knows which contract each of our versions keeps.
            "labels": {"cluster.x-k8s.io/v1beta1": resource.version, "cluster.x-k8s.io/provider": PROVIDER},
        },
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "categories": ["cluster-api"],
            },
            "versions": [version],
        },
    }


def _column(name: str, path: str, kind: str = "string") -> Object:
    return {"name": name, "type": kind, "jsonPath": path}


def _rbac() -> list[Object]:
    user = {"apiGroup": _RBAC, "kind": "User", "name": manager_user(PROVIDER)}
    read, write = ["get", "list", "watch"], ["create", "update", "patch", "delete"]
    return [
        _role(
            _ROLE,
            _rule("", ["secrets"], ["get", "create", "patch"]),
            _rule("cluster.x-k8s.io", ["clusters", "machines"], read),
            _rule("bootstrap.cluster.x-k8s.io", ["kubeadmconfigs"], ["get"]),
            _rule(GROUP, [kind.plural for kind in OURS], [*read, "update", "patch"]),
            _rule(GROUP, [f"{kind.plural}/status" for kind in OURS], ["update", "patch"]),
        ),
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _ROLE},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": _ROLE},
            "subjects": [user],
        },
        # What Cluster API's own manager may do with kinds of other groups: it collects such roles.
        _role(
            f"{_ROLE}-for-cluster-api",
            _rule(GROUP, ["*"], [*read, *write]),
            labels={"cluster.x-k8s.io/aggregate-to-manager": "true"},
        ),
    ]


def _role(name: str, *rules: Object, labels: dict[str, str] | None = None) -> Object:
    metadata: Object = {"name": name} | ({"labels": labels} if labels else {})
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": list(rules),
    }


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
