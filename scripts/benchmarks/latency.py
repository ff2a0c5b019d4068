"""`wait`: how long after the API server knows does a wait end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import fleet
from benchmarks.measure import Aim, Findings
from benchmarks.place import CAPI_LLM, Place
from capi_llm.clusters import create, tree
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.resources import MACHINE_DEPLOYMENTS, Object
from capi_llm.kube.streams import watch
from sandboxes import Sandbox

WITHIN = "wait_ready"
PENDING = "machines are ready"
"""In what capi-llm says of a pool that lacks some."""
SETTLE = 0.5
"""Seconds from the moment when a command says that it waits to the moment when that comes about."""


def measure(place: Place) -> Findings:
    """The last worker becomes ready: from then until a wait has ended, in this process and as a command.

    Time counts from the moment when the change is sent to the API server, whose own part is the
    time until an independent watch has the event. A command's end is the end of its process.
    """
    findings = Findings()
    here = fleet.standing_still(place)
    with Api.from_kubeconfig(here.sandbox.kubeconfig) as api:
        many = f"{here.clusters} clusters in its namespace"
        alone, among = (fleet.ALONE, "bench-0000"), (fleet.FLEET, fleet.PATTERN)
        runs, few = place.sizes.runs, max(place.sizes.runs // 2, 1)
        cases = {
            f"{WITHIN}, alone in its namespace": (runs, _within, *alone),
            f"{WITHIN}, {many}": (runs, _within, *among),
            f"capi-llm wait cluster, {many}": (few, _command, *among),
            f"kubectl wait machinedeployment, {many}": (few, _kubectl, *among),
        }
        watched: list[float] = []
        for label, (rounds, case, namespace, cluster) in cases.items():
            place.say(label)
            deployment = api.list(MACHINE_DEPLOYMENTS, namespace, f"{tree.CLUSTER_NAME}={cluster}")[0]
            took = [case(place, here.sandbox, api, deployment) for _ in range(rounds)]
            found = findings.add(label, "ms", [each.waiter * 1000 for each in took])
            watched += [each.watch * 1000 for each in took]
            if case is _within:
                findings.aims.append(Aim(f"{label}, ms", found.median, at_most=100))
        findings.add("an independent watch has the event", "ms", watched)
    return findings


@dataclass(frozen=True)
class Took:
    """Seconds from the change until the waiter had ended and until an independent watch had the event."""

    waiter: float
    watch: float


def _within(place: Place, sandbox: Sandbox, api: Api, deployment: Object) -> Took:
    name, namespace = deployment["spec"]["clusterName"], deployment["metadata"]["namespace"]
    begun, ended = threading.Event(), [0.0]

    def on_tree(view: tree.ClusterView) -> None:
        if not view.status.ready:
            begun.set()

    def wait() -> None:
        with contextlib.closing(Informers(sandbox.api)) as informers:
            create.wait_ready(informers, name, namespace, timeout=30, on_tree=on_tree)
            ended[0] = time.monotonic()

    waiting = threading.Thread(target=wait)
    with _unready(api, deployment) as make_ready:
        waiting.start()
        if not begun.wait(30):
            raise RuntimeError("the wait did not begin")
        sent, known = make_ready()
        waiting.join(30)
    return Took(ended[0] - sent, known - sent)


def _command(place: Place, sandbox: Sandbox, api: Api, deployment: Object) -> Took:
    name, namespace = deployment["spec"]["clusterName"], deployment["metadata"]["namespace"]
    return _process(
        place, sandbox, api, deployment, [str(CAPI_LLM), "wait", "cluster", name, "-n", namespace], PENDING
    )


def _kubectl(place: Place, sandbox: Sandbox, api: Api, deployment: Object) -> Took:
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    until = f"--for=jsonpath={{.status.readyReplicas}}={deployment['spec']['replicas']}"
    argv = [
        str(place.kubectl),
        "wait",
        f"machinedeployment/{name}",
        "-n",
        namespace,
        until,
        "--timeout=30s",
        "-v=6",
    ]
    return _process(place, sandbox, api, deployment, argv, "watch=true")


def _process(
    place: Place, sandbox: Sandbox, api: Api, deployment: Object, argv: list[str], mark: str
) -> Took:
    """``mark`` is what the command writes to stderr when it has begun to wait."""
    with _unready(api, deployment) as make_ready:
        process = subprocess.Popen(
            argv, env=place.env(sandbox), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        ended = [0.0]

        def wait() -> None:
            process.communicate()
            ended[0] = time.monotonic()

        try:
            assert process.stderr is not None
            if not any(mark in line for line in process.stderr):
                raise RuntimeError(f"{' '.join(argv)} ended with {process.wait()} before it waited")
            waiting = threading.Thread(target=wait)
            waiting.start()
            time.sleep(SETTLE)
            sent, known = make_ready()
            waiting.join(30)
            if process.returncode != 0:
                raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
            return Took(ended[0] - sent, known - sent)
        finally:
            process.kill()


@contextlib.contextmanager
def _unready(api: Api, deployment: Object) -> Iterator[Callable[[], tuple[float, float]]]:
    """The pool with one machine less that is ready. What is yielded makes it ready again, and returns
    when that was sent and when a watch of its own had the event."""
    ref, ready = MACHINE_DEPLOYMENTS.ref(deployment), deployment["status"]["readyReplicas"]

    def set_ready(count: int) -> str:
        # Cluster API v1.10 says it twice, in the words of its old and of its new contract.
        patch = {"status": {"readyReplicas": count, "v1beta2": {"readyReplicas": count}}}
        return str(api.merge_patch(ref, patch, subresource="status")["metadata"]["resourceVersion"])

    query = {"resourceVersion": set_ready(ready - 1), "timeoutSeconds": "90"}
    stream = watch(api, MACHINE_DEPLOYMENTS, ref.namespace, query=query, read_timeout=90)
    known = [0.0]

    def follow() -> None:
        if any(json.loads(line)["object"]["status"]["readyReplicas"] == ready for line in stream.lines()):
            known[0] = time.monotonic()

    follower = threading.Thread(target=follow)
    follower.start()

    def make_ready() -> tuple[float, float]:
        sent = time.monotonic()
        set_ready(ready)
        follower.join(30)
        return sent, known[0]

    try:
        yield make_ready
    finally:
        stream.close()
        set_ready(ready)
