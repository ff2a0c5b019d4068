"""Brings the control plane of a workload cluster up: one step further with each call, and never waits.

The same call also finds out whether one that runs still does.
"""

from __future__ import annotations

from capi_llm.errors import CapiLlmError, NotFound
from capi_llm.kube.client import Api
from capi_llm.sandbox import configuration, pki, processes
from capi_llm.sandbox.health import of_part
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.logs import lines
from capi_llm.sandbox.parts import GATEWAY, Part
from capi_llm.sandbox.supervisor import Supervisor
from capi_llm.sandbox.workload import MEMORY_BYTES, Workload, Workloads
from capi_llm.waiting import Status, failed, pending, ready

_FIRST = ("etcd", "kube-apiserver")
"""Started one after the other; the rest needs the API server and starts together."""


def bring_up(workloads: Workloads, workload: Workload) -> Status:
    """Do what can be done now. READY: every part is healthy and the API server is the one recorded."""
    layout = workloads.layout(workload)
    supervisor = Supervisor(layout)
    runs = supervisor.running()
    if not runs and (free := processes.free_memory()) < MEMORY_BYTES:
        some = free // 1024**2 // 100 * 100  # not another message with every look
        return pending(f"{some} MiB of memory are free, a control plane needs {MEMORY_BYTES // 1024**2}")
    _certificates(layout, workload)
    parts, instance = workloads.parts(workload), workloads.instance(workload)
    if not runs:
        processes.stop(layout, instance)  # a new supervisor can not be given parts of a dead one
    if not runs or not supervisor.configured(parts, instance):
        supervisor.configure(parts, instance)
    states = supervisor.states()
    for part in parts:
        if part.name in _FIRST:
            status = _part(layout, supervisor, part, states)
            if not status.ready:
                return status
    status = _identity(layout, workloads, workload)
    if not status.ready:
        return status
    others = [
        _part(layout, supervisor, part, states) for part in parts if part.name not in (*_FIRST, GATEWAY)
    ]
    status = next((status for status in others if not status.ready), ready())
    if status.ready and states.get(GATEWAY) == "STOPPED":
        supervisor.start_part(GATEWAY)  # the cluster is ready without it
    return status


def _certificates(layout: Layout, workload: Workload) -> None:
    wanted = pki.control_plane(workload.services)
    if pki.missing(layout, certificates=wanted):
        pki.ensure(layout, wanted)
    configuration.write(
        configuration.of_control_plane(
            layout, workload.ports["kube-apiserver"], workload.name, litellm=workload.ports.get(GATEWAY)
        )
    )


def _part(layout: Layout, supervisor: Supervisor, part: Part, states: dict[str, str]) -> Status:
    """Whether ``part`` is healthy; started where it does not run."""
    state = states.get(part.name, "STOPPED")
    if state in ("RUNNING", "STARTING"):
        answer = of_part(layout, part)
        return answer if answer.ready else pending(f"{part.name}: {answer.message}")
    supervisor.start_part(part.name)
    if state == "STOPPED":
        return pending(f"{part.name} is started")
    return pending(f"{part.name} ended and is started again; its last words: {_last_words(layout, part)}")


def _last_words(layout: Layout, part: Part) -> str:
    try:
        return next(lines(layout.log(part.name), tail=1, follow=False), "")[-300:]
    except NotFound:
        return "none"


def _identity(layout: Layout, workloads: Workloads, workload: Workload) -> Status:
    """Whether the API server that answers is this cluster's own; remembered at its first answer."""
    with Api.from_kubeconfig(layout.admin_kubeconfig, retry_for=0) as api:
        try:
            uid = api.uid()
        except NotFound:
            return pending("kube-apiserver: it has not made its namespaces yet")
        except CapiLlmError as error:
            return pending(f"kube-apiserver: {error.brief}")
    if not workload.kube_system:
        workloads.record(workload, uid)
    elif workload.kube_system != uid:
        return failed(
            f"another cluster answers at {workload.server}",
            cause=f"its kube-system has UID {uid}, this cluster's had {workload.kube_system}",
        )
    return ready()
