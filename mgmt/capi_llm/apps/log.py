"""The logs of an app's containers, one after the other, or side by side as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capi_llm.apps import evidence
from capi_llm.apps.engine import AppStatus
from capi_llm.errors import CapiLlmError
from capi_llm.kube import streams
from capi_llm.kube.client import Api
from capi_llm.kube.resources import PODS, Ref


@dataclass(frozen=True)
class Container:
    """One container of a pod."""

    pod: Ref
    name: str

    def __str__(self) -> str:
        return f"{self.pod.name}/{self.name}"


def containers(api: Api, states: Sequence[AppStatus]) -> list[Container]:
    """The containers of all pods that the apps run, by pod."""
    found: dict[Container, None] = {}
    for state in states:
        for of_app in state.on_cluster:
            obj = api.find(of_app)
            for pod in evidence.pods(api, obj) if obj else ():
                ref = Ref(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
                for container in pod["spec"]["containers"]:
                    found[Container(ref, container["name"])] = None
    return list(found)


def lines(api: Api, wanted: Sequence[Container], *, tail: int, follow: bool, previous: bool) -> Iterator[str]:
    """Lines of all ``wanted``, each with its container where they are several.

    Of one container, what the server refuses is raised; of several, it is said in the container's place.
    """

    def prefix(container: Container) -> str:
        return f"{container}: " if len(wanted) > 1 else ""

    def read(container: Container) -> Iterator[str]:
        log = streams.log(api, container.pod, container.name, tail=tail, follow=follow, previous=previous)
        for line in log.lines():
            yield prefix(container) + line.decode(errors="replace")

    if len(wanted) == 1:
        yield from read(wanted[0])
        return
    said: queue.Queue[str | None] = queue.Queue()

    def pump(container: Container) -> None:
        try:
            for line in read(container):
                said.put(line)
        except CapiLlmError as error:
            said.put(f"{prefix(container)}({error.brief})")
        finally:
            said.put(None)

    if not follow:
        for container in wanted:
            try:
                yield from read(container)
            except CapiLlmError as error:
                yield f"{prefix(container)}({error.brief})"
        return
    for container in wanted:
        threading.Thread(target=pump, args=(container,), daemon=True).start()
    left = len(wanted)
    while left:
        line = said.get()
        if line is None:
            left -= 1
        else:
            yield line
