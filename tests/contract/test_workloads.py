"""Readiness of single objects, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from capi_llm.contract import workloads
from capi_llm.waiting import State


def obj(api_version: str, kind: str, status: Any = None, *, generation: int = 1, **spec: Any) -> Any:
    found: dict[str, Any] = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": spec,
    }
    return found if status is None else found | {"status": status}


def condition(kind: str, status: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "message": message, **more}


def deployment(**status: Any) -> Any:
    return obj("apps/v1", "Deployment", {"observedGeneration": 1, **status}, replicas=2)


READY, PENDING, FAILED = State.READY, State.PENDING, State.FAILED
FULL = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
NODES = {
    "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
    "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (deployment(), PENDING, "0 of 2 pods are of the newest form"),
        (deployment(**FULL), READY, "2 of 2"),
        (deployment(**FULL | {"availableReplicas": 1}), PENDING, "1 of 2 pods are ready"),
        (deployment(**FULL | {"replicas": 3}), PENDING, "1 old pods are still there"),
        (
            deployment(**FULL, conditions=[condition("Available", "False", "too few")]),
            PENDING,
            "too few",
        ),
        (
            deployment(
                conditions=[condition("Progressing", "False", "late", reason="ProgressDeadlineExceeded")]
            ),
            FAILED,
            "late",
        ),
        (
            deployment(conditions=[condition("ReplicaFailure", "True", 'pods "x" is forbidden: quota')]),
            PENDING,
            "quota",
        ),
        (obj("apps/v1", "Deployment", {"observedGeneration": 1}, generation=2), PENDING, "newest form"),
        (
            obj("apps/v1", "StatefulSet", {"replicas": 1, "readyReplicas": 1, "currentRevision": "a",
                "updateRevision": "a"}),
            READY,
            "1 of 1",
        ),
        (
            obj("apps/v1", "StatefulSet", {"replicas": 1, "readyReplicas": 1, "currentRevision": "a",
                "updateRevision": "b"}),
            PENDING,
            "newest form",
        ),
        (obj("apps/v1", "StatefulSet", {"replicas": 1}), PENDING, "0 of 1"),
        (
            obj("apps/v1", "StatefulSet", {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1},
                replicas=3, updateStrategy={"rollingUpdate": {"partition": 2}}),
            READY,
            "3 of 3",
        ),
        (obj("apps/v1", "DaemonSet", {}), PENDING, "not counted"),
        (obj("apps/v1", "DaemonSet", NODES), READY, "2 of 2"),
        (obj("apps/v1", "DaemonSet", NODES | {"numberReady": 1}), PENDING, "1 of 2 nodes"),
        (obj("apps/v1", "ReplicaSet", {"replicas": 1, "availableReplicas": 1}), READY, "1 of 1"),
        (obj("batch/v1", "Job", {}), PENDING, "not started"),
        (obj("batch/v1", "Job", {"startTime": "t", "failed": 1}), PENDING, "1 have failed"),
        (obj("batch/v1", "Job", {"conditions": [condition("Complete", "True")]}), READY, "completed"),
        (obj("batch/v1", "Job", {"conditions": [condition("Suspended", "True")]}), READY, "suspended"),
        (
            obj("batch/v1", "Job", {"conditions": [condition("Failed", "True", "backoff limit")]}),
            FAILED,
            "backoff limit",
        ),
        (obj("batch/v1", "CronJob", {}), READY, ""),
        (obj("v1", "PersistentVolumeClaim", {"phase": "Pending"}), PENDING, "no volume"),
        (obj("v1", "PersistentVolumeClaim", {"phase": "Bound"}), READY, "bound"),
        (obj("v1", "PersistentVolumeClaim", {"phase": "Lost"}), FAILED, "lost"),
        (obj("v1", "Service", {}, type="LoadBalancer"), PENDING, "no address"),
        (obj("v1", "Service", {}, type="LoadBalancer", clusterIP="10.0.0.1"), READY, ""),
        (obj("v1", "Service", {}, type="ClusterIP"), READY, ""),
        (obj("v1", "ConfigMap"), READY, ""),
        (obj("v1", "Namespace", {"phase": "Terminating"}), PENDING, "terminating"),
        (obj("v1", "Namespace", {"phase": "Active"}), READY, ""),
        (obj("policy/v1", "PodDisruptionBudget", {"observedGeneration": 1}), READY, ""),
        (obj("policy/v1", "PodDisruptionBudget", {"observedGeneration": 0}), PENDING, "newest form"),
        (
            obj("autoscaling/v2", "HorizontalPodAutoscaler",
                {"conditions": [condition("ScalingActive", "False", "no metrics")]}),
            READY,
            "does not scale: no metrics",
        ),
        (
            obj("autoscaling/v2", "HorizontalPodAutoscaler",
                {"conditions": [condition("AbleToScale", "False", "no such target")]}),
            PENDING,
            "no such target",
        ),
        (obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}), PENDING, "not established"),
        (
            obj("apiextensions.k8s.io/v1", "CustomResourceDefinition",
                {"conditions": [condition("Established", "True")]}),
            READY,
            "",
        ),
        (
            obj("apiextensions.k8s.io/v1", "CustomResourceDefinition",
                {"conditions": [condition("NamesAccepted", "False", "taken")]}),
            FAILED,
            "taken",
        ),
        (
            obj("apiregistration.k8s.io/v1", "APIService",
                {"conditions": [condition("Available", "False", "no endpoints")]}),
            PENDING,
            "no endpoints",
        ),
        (obj("serving.knative.dev/v1", "Service"), PENDING, "not reported"),
        (
            obj("serving.knative.dev/v1", "Service",
                {"observedGeneration": 1, "conditions": [condition("Ready", "True")]}),
            READY,
            "",
        ),
        (
            obj("serving.knative.dev/v1", "Service",
                {"observedGeneration": 1, "conditions": [
                    condition("Ready", "False"),
                    condition("ConfigurationsReady", "False", "Unable to fetch image", reason="R"),
                ]}),
            PENDING,
            "configurations: Unable to fetch image",
        ),
        (
            obj("serving.knative.dev/v1", "Service",
                {"observedGeneration": 1, "conditions": [condition("Ready", "True")]}, generation=2),
            PENDING,
            "newest form",
        ),
        (obj("serving.knative.dev/v1", "Route"), PENDING, "not reported"),
        (obj("serving.knative.dev/v1", "Configuration"), PENDING, "not reported"),
        (
            obj("operator.knative.dev/v1beta1", "KnativeServing",
                {"conditions": [condition("Ready", "False", "waiting on deployments")]}),
            PENDING,
            "waiting on deployments",
        ),
        (obj("example.com/v1", "Thing"), READY, ""),
        (obj("example.com/v1", "Thing", {"observedGeneration": 0}), PENDING, "newest form"),
        (
            obj("example.com/v1", "Thing", {"conditions": [condition("Ready", "Unknown", reason="GoingUp")]}),
            PENDING,
            "going up",
        ),
        (
            obj("example.com/v1", "Thing",
                {"conditions": [condition("Ready", "True", observedGeneration=1)]}, generation=2),
            PENDING,
            "newest form",
        ),
        (
            obj("example.com/v1", "Thing", {"conditions": [condition("Stalled", "True", "bad spec")]}),
            FAILED,
            "bad spec",
        ),
        (
            obj("example.com/v1", "Thing", {"conditions": [condition("Reconciling", "True", "at it")]}),
            PENDING,
            "at it",
        ),
    ],
)  # fmt: skip
def test_rules(found: Any, state: State, words: str) -> None:
    status = workloads.of(found)
    assert status.state is state, status
    assert words in status.message


def test_what_is_being_deleted_is_never_ready() -> None:
    found = obj("v1", "ConfigMap")
    found["metadata"] |= {"deletionTimestamp": "t", "finalizers": ["a.b/c"]}
    assert workloads.of(found).message == "is being deleted, held by a.b/c"


def container(name: str, **state: Any) -> dict[str, Any]:
    last = state.pop("last", None)
    return {"name": name, "state": state} | ({"lastState": {"terminated": last}} if last else {})


@pytest.mark.parametrize(
    ("status", "state", "words", "fix"),
    [
        ({}, PENDING, "is pending", ""),
        ({"phase": "Running", "conditions": [condition("Ready", "True")]}, READY, "running", ""),
        (
            {"phase": "Running", "conditions": [condition("Ready", "False", "containers not ready: [a]")]},
            PENDING,
            "containers not ready: [a]",
            "",
        ),
        ({"phase": "Succeeded"}, READY, "completed", ""),
        ({"phase": "Failed", "reason": "Evicted"}, FAILED, "Evicted", ""),
        (
            {"conditions": [condition("PodScheduled", "False", "0/1 nodes are available")]},
            PENDING,
            "not scheduled: 0/1 nodes are available",
            "",
        ),
        (
            {"containerStatuses": [container("a", waiting={"reason": "ImagePullBackOff", "message": "no"})]},
            PENDING,
            "container a: ImagePullBackOff: no",
            "registry",
        ),
        (
            {
                "containerStatuses": [
                    container("a", waiting={"reason": "CrashLoopBackOff"}, last={"exitCode": 3})
                ]
            },
            PENDING,
            "exit code 3",
            "log",
        ),
        ({"containerStatuses": [container("a", waiting={"reason": "ContainerCreating"})]}, PENDING, "", ""),
        (
            {"initContainerStatuses": [container("i", terminated={"exitCode": 1, "reason": "Error"})]},
            PENDING,
            "container i ended with exit code 1: Error",
            "",
        ),
    ],
)
def test_pods(status: Any, state: State, words: str, fix: str) -> None:
    found = workloads.of(obj("v1", "Pod", status))
    assert found.state is state, found
    assert words in found.message
    assert fix in found.fix


def test_whose_pods_they_are() -> None:
    labels = {"app": "x"}
    assert workloads.selector(obj("apps/v1", "Deployment", selector={"matchLabels": labels})) == labels
    assert workloads.selector(obj("serving.knative.dev/v1", "Service")) == {
        "serving.knative.dev/service": "x"
    }
    assert workloads.selector(obj("batch/v1", "Job")) == {"batch.kubernetes.io/job-name": "x"}
    assert workloads.selector(obj("v1", "Service", selector=labels)) is None
