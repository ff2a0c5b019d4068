"""What a person would look at next where an app does not become ready: its pods, their events and logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from capi_llm.apps.engine import AppStatus
from capi_llm.contract import workloads
from capi_llm.errors import CapiLlmError
from capi_llm.kube import streams
from capi_llm.kube.client import Api
from capi_llm.kube.resources import EVENTS, PODS, Object, Ref

MOST_PODS = 3
MOST_EVENTS = 4
MOST_LINES = 8


def of(api: Api, states: Sequence[AppStatus]) -> str:
    """Lines on every part of ``states`` that is not ready; empty where nothing can be seen."""
    lines: list[str] = []
    for state in states:
        if state.objects:  # how each of them is, is not known
            held = () if state.status.ready else state.objects
        else:
            held = tuple(part.ref for part in state.parts if not part.status.ready)
        for ref in held:
            with contextlib.suppress(CapiLlmError):  # nothing of this may hide the error itself
                lines += _of_part(api, state.app, ref)
    return "".join(f"\n  {line}" for line in lines)


def pods(api: Api, obj: Object) -> list[Object]:
    """The pods that ``obj`` runs, by name."""
    labels = workloads.selector(obj)
    if not labels:
        return []
    return api.list(PODS, obj["metadata"].get("namespace"), selector(labels))


def selector(labels: Mapping[str, str]) -> str:
    """``labels`` as a query takes them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _of_part(api: Api, app: str, ref: Ref) -> Iterator[str]:
    obj = api.find(ref)
    if obj is None:
        return
    yield from (f"{app}: event: {text}" for text in _events(api, ref))
    held = [pod for pod in pods(api, obj) if not workloads.of(pod).ready]
    for pod in held[:MOST_PODS]:
        name = f"{app}: pod {pod['metadata']['name']}"
        status = workloads.of(pod)
        yield f"{name}: {status.message}" + (f"; {status.fix}" if status.fix else "")
        own = Ref(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
        yield from (f"{name}: event: {text}" for text in _events(api, own))
        yield from (f"{name}: log: {text}" for text in _log(api, own, pod))


def _events(api: Api, ref: Ref) -> list[str]:
    fields = f"involvedObject.name={ref.name},involvedObject.kind={ref.resource.kind}"
    found = api.list(EVENTS, ref.namespace or "default", field_selector=fields)
    found = [event for event in found if event.get("type") == "Warning"]
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return [
        f"{event.get('reason', '')}: {' '.join(str(event.get('message', '')).split())}"
        for event in found[-MOST_EVENTS:]
    ]


def _log(api: Api, ref: Ref, pod: Object) -> list[str]:
    """The last lines of each container that does not run well; of its last run where it has crashed."""
    lines: list[str] = []
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        if container.get("ready"):
            continue
        crashed = bool((container.get("lastState") or {}).get("terminated"))
        # A container that has not started has no log.
        with contextlib.suppress(CapiLlmError, TimeoutError):
            log = streams.log(api, ref, str(container["name"]), tail=MOST_LINES, previous=crashed)
            lines += [line.decode(errors="replace") for line in log.lines()]
    return lines
