"""The kinds of Fleet, of API group ``fleet.cattle.io``."""

from __future__ import annotations

from capi_llm.kube.resources import CONFIGMAPS, Ref, Resource

_GROUP, _VERSION = "fleet.cattle.io", "v1alpha1"

BUNDLES = Resource(_GROUP, _VERSION, "bundles", "Bundle")
BUNDLE_DEPLOYMENTS = Resource(_GROUP, _VERSION, "bundledeployments", "BundleDeployment")
HELM_OPS = Resource(_GROUP, _VERSION, "helmops", "HelmOp")
FLEET_CLUSTERS = Resource(_GROUP, _VERSION, "clusters", "Cluster")
CLUSTER_GROUPS = Resource(_GROUP, _VERSION, "clustergroups", "ClusterGroup")

BUNDLE_NAME = f"{_GROUP}/bundle-name"
BUNDLE_NAMESPACE = f"{_GROUP}/bundle-namespace"
CLUSTER_NAME = f"{_GROUP}/cluster"
CLUSTER_NAMESPACE = f"{_GROUP}/cluster-namespace"
"""Labels of a BundleDeployment: of which Bundle it is, and on which Fleet Cluster."""

CONFIG = Ref(CONFIGMAPS, "fleet-controller", "cattle-fleet-system")
"""What Fleet's controller is configured with; Rancher and Fleet's chart use this place."""
