"""What has Turtles import clusters, and Cluster API's add-on provider make Fleet Clusters of them."""

from __future__ import annotations

from capi_llm.contract import rancher
from capi_llm.kube.apply import apply
from capi_llm.kube.resources import NAMESPACES, Object, Ref
from capi_llm.steps import budgets
from capi_llm.steps.cluster_api import unapplied
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.objects import namespace
from capi_llm.waiting import Status

ADDON_CONFIG = "fleet-addon-config"
_WORKSPACE = "field.cattle.io/allow-fleetworkspace-creation-for-existing-namespace"


class ImportNamespaces(Step):
    """Clusters of these namespaces are imported into Rancher, and Fleet may have a workspace in them."""

    name = "import-namespaces"
    interval = 1.0
    timeout = budgets.SETTINGS

    def __init__(self, names: tuple[str, ...], needs: tuple[str, ...] = ()) -> None:
        self.needs = needs
        self._names = names

    def probe(self, ctx: Context) -> Status:
        return unapplied(apply(ctx.api(), self._objects(), dry_run=True))

    def apply(self, ctx: Context) -> None:
        apply(ctx.api(), self._objects(), cancel=ctx.cancel)

    def remove(self, ctx: Context) -> None:
        for name in self._names:
            ref = Ref(NAMESPACES, name)
            labels = ((ctx.api().find(ref) or {}).get("metadata") or {}).get("labels") or {}
            if rancher.AUTO_IMPORT in labels:
                ctx.api().merge_patch(ref, {"metadata": {"labels": {rancher.AUTO_IMPORT: None}}})

    def _objects(self) -> list[Object]:
        return [imported_namespace(name) for name in self._names]


def imported_namespace(name: str) -> Object:
    """A Namespace whose clusters Turtles imports."""
    obj = namespace(name, labels={rancher.AUTO_IMPORT: "true"})
    obj["metadata"]["annotations"] = {_WORKSPACE: "true"}
    return obj


ADDON_MANIFESTS = f"""\
apiVersion: addons.cluster.x-k8s.io/v1alpha1
kind: FleetAddonConfig
metadata:
  name: {ADDON_CONFIG}
spec:
  config:
    featureGates:
      experimentalOciStorage: true
      experimentalHelmOps: true
      configMap:
        ref:
          apiVersion: v1
          kind: ConfigMap
          name: rancher-config
          namespace: cattle-system
  clusterClass:
    patchResource: true
    setOwnerReferences: true
  cluster:
    agentNamespace: cattle-fleet-system
    applyClassGroup: true
    patchResource: true
    setOwnerReferences: true
    hostNetwork: true
    selector:
      matchLabels:
        {rancher.AUTO_IMPORT}: "true"
      matchExpressions:
      - key: {rancher.NO_FLEET}
        operator: DoesNotExist
    namespaceSelector:
      matchLabels:
        {rancher.AUTO_IMPORT}: "true"
      matchExpressions:
      - key: {rancher.NO_FLEET}
        operator: DoesNotExist
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: caapf-controller-psa
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: fleet-controller-psa
subjects:
- kind: ServiceAccount
  name: caapf-controller-manager
  namespace: fleet-addon-system
"""
"""What the add-on provider is told (charts/rancher-turtles-providers/templates/addon-fleet.yaml at v0.25.6):
Fleet Clusters for all that Rancher imports, in their own namespaces. ``install`` is left out, as Fleet is
Rancher's."""
