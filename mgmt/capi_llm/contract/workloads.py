"""Whether an object does its work: the rules of kstatus, and where they are not enough, ours.

kstatus: https://github.com/kubernetes-sigs/cli-utils/blob/v0.37.2/pkg/kstatus/README.md, its rules by
kind in ``pkg/kstatus/status/core.go``. Ours differ in three: a Job is ready when it is complete and not when
it has started, as what comes after it needs what it does; an APIService when it is available; an autoscaler
that has no metrics is ready, as its pods serve, and its message says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from capi_llm.contract.conditions import (
    Condition,
    Object,
    conditions,
    deleting,
    finalizers,
    observed,
    status_of,
    words,
)
from capi_llm.waiting import State, Status, failed, pending, ready

_NEVER_RAN = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_IMAGE_FIX = "check the image's name and whether the nodes can reach its registry"

_PARTS = ("Configurations", "Routes")
"""What a Knative Service's Ready is made of."""


def of(obj: Object) -> Status:
    """The status of any object, by its kind where that has a rule of its own."""
    if deleting(obj):
        held = ", ".join(finalizers(obj))
        return pending(f"is being deleted{f', held by {held}' if held else ''}")
    if not observed(obj):
        return pending("its newest form is not seen by its controller yet")
    found = conditions(obj)
    if (stalled := found.get("Stalled")) is not None and stalled.true:
        return failed(_said(stalled))
    if (reconciling := found.get("Reconciling")) is not None and reconciling.true:
        return pending(_said(reconciling))
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return _RULES.get((group, str(obj.get("kind", ""))), _by_ready)(obj)


def pod(obj: Object) -> Status:
    """A Pod: what holds it back is that of its first container that has something to say."""
    status = status_of(obj)
    phase = str(status.get("phase") or "Pending")
    if phase == "Succeeded":
        return ready("has completed")
    if phase == "Failed":
        return failed(str(status.get("message") or status.get("reason") or "has failed"))
    found = conditions(obj)
    if (held := waiting_container(obj)) is not None:
        return held
    scheduled = found.get("PodScheduled")
    if scheduled is not None and scheduled.false:
        return pending(f"is not scheduled: {scheduled.message or words(scheduled.reason)}")
    if phase == "Running" and "Ready" in found and found["Ready"].true:
        return ready("is running")
    if "Ready" in found and found["Ready"].message:
        return pending(found["Ready"].message)
    return pending(f"is {phase.lower()}")


def waiting_container(obj: Object) -> Status | None:
    """What a Pod's container waits for or fails on; None where none does."""
    status = status_of(obj)
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        state = container.get("state") or {}
        name = container.get("name", "")
        last = (container.get("lastState") or {}).get("terminated") or {}
        if (held := state.get("waiting")) is not None:
            reason = str(held.get("reason") or "")
            if reason in ("", "ContainerCreating", "PodInitializing"):
                continue
            text = f"container {name}: {reason}"
            if message := str(held.get("message") or ""):
                text += f": {message}"
            if reason == "CrashLoopBackOff" and last:
                text += f" (it ended with exit code {last.get('exitCode')})"
                return pending(text, fix="its last log lines say why")
            return pending(text, fix=_IMAGE_FIX if reason in _NEVER_RAN else "")
        ended = state.get("terminated") or {}
        if ended and ended.get("exitCode"):
            return pending(
                f"container {name} ended with exit code {ended['exitCode']}: {ended.get('reason', '')}"
            )
    return None


def selector(obj: Object) -> Mapping[str, str] | None:
    """The labels of the pods that ``obj`` runs; None where it runs none."""
    kind, group = str(obj.get("kind", "")), str(obj.get("apiVersion", "")).rpartition("/")[0]
    metadata = obj.get("metadata") or {}
    if group == "serving.knative.dev" and kind == "Service":
        return {"serving.knative.dev/service": str(metadata.get("name", ""))}
    if group == "batch" and kind == "Job":
        return {"batch.kubernetes.io/job-name": str(metadata.get("name", ""))}
    if group == "apps" and kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        labels: Mapping[str, str] | None = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels")
        return labels or None
    return None


def _deployment(obj: Object) -> Status:
    found = conditions(obj)
    progressing = found.get("Progressing")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return failed(_said(progressing), fix="the pods' events and logs say why")
    failure = found.get("ReplicaFailure")
    if failure is not None and failure.true:
        return pending(_said(failure))
    want, status = _wanted(obj), status_of(obj)
    have, new, up, available = (
        int(status.get(name) or 0)
        for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    )
    if new < want:
        return pending(f"{new} of {want} pods are of the newest form")
    if have > new:
        return pending(f"{have - new} old pods are still there")
    if up < want or available < new:
        return pending(f"{min(up, available)} of {want} pods are ready")
    if "Available" not in found or found["Available"].true:
        return ready(f"{available} of {want} pods are ready")
    return pending(_said(found["Available"]))


def _replica_set(obj: Object) -> Status:
    want, status = _wanted(obj), status_of(obj)
    failure = conditions(obj).get("ReplicaFailure")
    if failure is not None and failure.true:
        return pending(_said(failure))
    available = int(status.get("availableReplicas") or 0)
    if available < want or int(status.get("replicas") or 0) > want:
        return pending(f"{available} of {want} pods are ready")
    return ready(f"{available} of {want} pods are ready")


def _stateful_set(obj: Object) -> Status:
    spec, status = obj.get("spec") or {}, status_of(obj)
    strategy = spec.get("updateStrategy") or {}
    want = _wanted(obj)
    up = int(status.get("readyReplicas") or 0)
    if up < want or int(status.get("replicas") or 0) != want:
        return pending(f"{up} of {want} pods are ready")
    if strategy.get("type") == "OnDelete":
        return ready(f"{up} of {want} pods are ready")
    kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    new = int(status.get("updatedReplicas") or 0)
    if kept and new < want - kept:
        return pending(f"{new} of {want - kept} pods are of the newest form")
    if not kept and status.get("currentRevision") != status.get("updateRevision"):
        return pending(f"{new} of {want} pods are of the newest form")
    return ready(f"{up} of {want} pods are ready")


def _daemon_set(obj: Object) -> Status:
    status = status_of(obj)
    if status.get("desiredNumberScheduled") is None or status.get("observedGeneration") is None:
        return pending("its controller has not counted its nodes yet")
    want = int(status["desiredNumberScheduled"])
    for name, text in (
        ("currentNumberScheduled", "have a pod"),
        ("updatedNumberScheduled", "have one of the newest form"),
        ("numberAvailable", "have one that is available"),
        ("numberReady", "have one that is ready"),
    ):
        have = int(status.get(name) or 0)
        if have < want:
            return pending(f"{have} of {want} nodes {text}")
    return ready(f"{want} of {want} nodes have a ready pod")


def _job(obj: Object) -> Status:
    found, status = conditions(obj), status_of(obj)
    if "Failed" in found and found["Failed"].true:
        return failed(_said(found["Failed"]), fix="its pods' logs say why")
    if "Complete" in found and found["Complete"].true:
        return ready("has completed")
    if "Suspended" in found and found["Suspended"].true:
        return ready("is suspended")
    spec = obj.get("spec") or {}
    done, want = int(status.get("succeeded") or 0), int(spec.get("completions") or 1)
    wrong = int(status.get("failed") or 0)
    text = f"{done} of {want} pods have completed" if status.get("startTime") else "has not started yet"
    return pending(text + (f", {wrong} have failed" if wrong else ""))


def _claim(obj: Object) -> Status:
    phase = str(status_of(obj).get("phase") or "Pending")
    if phase == "Bound":
        return ready("is bound")
    if phase == "Lost":
        return failed("its volume is lost")
    return pending(
        "no volume is bound to it yet",
        cause="it waits for its first pod, or no StorageClass makes a volume for it",
    )


def _service(obj: Object) -> Status:
    spec = obj.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and not spec.get("clusterIP"):
        return pending("it has no address yet")
    return ready()


def _autoscaler(obj: Object) -> Status:
    found = conditions(obj)
    if "AbleToScale" in found and found["AbleToScale"].false:
        return pending(_said(found["AbleToScale"]))
    active = found.get("ScalingActive")
    if active is not None and active.false:
        return ready(f"does not scale: {active.message or words(active.reason)}")
    return ready()


def _definition(obj: Object) -> Status:
    found = conditions(obj)
    if "NamesAccepted" in found and found["NamesAccepted"].false:
        return failed(_said(found["NamesAccepted"]))
    if "Established" in found and found["Established"].true:
        return ready("is established")
    return pending("is not established yet")


def _namespace(obj: Object) -> Status:
    phase = str(status_of(obj).get("phase") or "Active")
    return ready() if phase == "Active" else pending(f"is {phase.lower()}")


def _available(obj: Object) -> Status:
    return _condition(obj, "Available", needed=True)


def _knative_service(obj: Object) -> Status:
    """Ready is Unknown while something is under way and False where it failed, which may mend."""
    found = conditions(obj)
    status = _condition(obj, "Ready", needed=True)
    if status.ready:
        return status
    for part in _PARTS:
        condition = found.get(f"{part}Ready")
        if condition is not None and not condition.true and (condition.message or condition.reason):
            return Status(State.PENDING, f"{part.lower()}: {_said(condition)}", status.cause, status.fix)
    return status


def _knative(obj: Object) -> Status:
    return _condition(obj, "Ready", needed=True)


def _by_ready(obj: Object) -> Status:
    return _condition(obj, "Ready", needed=False)


def _condition(obj: Object, name: str, *, needed: bool) -> Status:
    condition = conditions(obj).get(name)
    if condition is None:
        return pending("its controller has not reported yet") if needed else ready()
    if condition.true and not condition.stale:
        return ready()
    if condition.stale:
        return pending("its newest form is not seen by its controller yet")
    return pending(_said(condition))


def _nothing(obj: Object) -> Status:
    return ready()


def _wanted(obj: Object) -> int:
    count = (obj.get("spec") or {}).get("replicas")
    return 1 if count is None else int(count)


def _said(condition: Condition) -> str:
    text = condition.message or words(condition.reason) or f"{condition.type} is {condition.status}"
    return " ".join(text.split())


_RULES: Mapping[tuple[str, str], Callable[[Any], Status]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _nothing,
    ("", "Pod"): pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("policy", "PodDisruptionBudget"): _nothing,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _available,
    ("serving.knative.dev", "Service"): _knative_service,
    ("serving.knative.dev", "Route"): _knative,
    ("serving.knative.dev", "Configuration"): _knative,
    ("serving.knative.dev", "Revision"): _knative,
    ("operator.knative.dev", "KnativeServing"): _knative,
}
