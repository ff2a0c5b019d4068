"""Where the parts of a plane write their logs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from capi_llm.errors import BadInput, NotFound
from capi_llm.identity import Identity
from capi_llm.kube import streams
from capi_llm.kube.resources import PODS, Ref
from capi_llm.plane.recipes import SANDBOX
from capi_llm.sandbox.layout import layout
from capi_llm.sandbox.parts import MANAGERS
from capi_llm.settings import Settings
from capi_llm.steps.context import Plane
from capi_llm.steps.managers import pods_of
from capi_llm.steps.processes import Process, SupervisorRuns

PARTS = tuple(step.name for step in SANDBOX if isinstance(step, Process | SupervisorRuns))
"""What ``logs`` has a log of, on a sandbox."""


def log_lines(plane: Plane, part: str, *, tail: int, follow: bool) -> Iterator[str]:
    """The log of a manager's pod, on a plane that runs them as pods.

    Raises BadInput for a part that there is not, NotFound where it has no pod.
    """
    if part not in MANAGERS:
        raise _unknown(part, MANAGERS)
    namespace, labels = pods_of(part)
    pods = plane.api().list(PODS, namespace, labels)
    if not pods:
        raise NotFound(f"{part} has no pod", fix="capi-llm status says why")
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    ref = Ref(PODS, newest["metadata"]["name"], namespace)
    for line in streams.log(plane.api(), ref, "manager", tail=tail, follow=follow).lines():
        yield line.decode(errors="replace")


def log_path(settings: Settings, identity: Identity, part: str) -> Path:
    """The log file of ``part`` of a sandbox. Raises BadInput for a part that there is not."""
    if part == "audit":
        return layout(settings.state, identity.name).audit_log
    if part not in PARTS:
        raise _unknown(part, (*PARTS, "audit"))
    return layout(settings.state, identity.name).log(part)


def _unknown(part: str, known: Sequence[str]) -> BadInput:
    near = difflib.get_close_matches(part, known, 1)
    return BadInput(
        f"there is no part {part!r}",
        why=f"there are: {', '.join(known)}",
        fix=f"did you mean {near[0]!r}?"
        if near
        else "name one of them; of an app: capi-llm logs APP CLUSTER",
    )
