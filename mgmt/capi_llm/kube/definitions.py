"""CustomResourceDefinitions that were just written, until the API server serves their kinds."""

from __future__ import annotations

import time
from collections.abc import Sequence

from capi_llm import versions, waiting
from capi_llm.contract.conditions import conditions
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Ref

_TOUCHED = f"{versions.GROUP}/touched"
_FORGOTTEN_SECONDS = 3.0


def wait_established(
    api: Api, crds: Sequence[Ref], *, timeout: float, cancel: waiting.Cancel | None = None
) -> None:
    """Wait until each of ``crds`` is established. Raises TimedOut, and CapiLlmError for names that are taken.

    An API server that died after it had accepted the names has forgotten that it was to establish the
    definition: it begins with those that change, and looks at all of them every five minutes only
    (updateCustomResourceDefinition in
    https://github.com/kubernetes/apiextensions-apiserver/blob/v0.33.0/pkg/apiserver/customresource_handler.go).
    So one that is late is changed, and changed back.
    """
    waiting_for, began, touched = list(crds), time.monotonic(), set[Ref]()

    def probe() -> waiting.Status:
        while waiting_for:
            ref = waiting_for[-1]
            crd = api.get(ref)
            status = _established(crd)
            if status.ready:
                waiting_for.pop()
                continue
            late = time.monotonic() - began > _FORGOTTEN_SECONDS
            if late and ref not in touched and _named(crd):
                touched.add(ref)
                for value in ("true", None):
                    api.merge_patch(ref, {"metadata": {"annotations": {_TOUCHED: value}}})
            return status
        return waiting.ready()

    if crds:
        waiter = waiting.Waiter(interval=0.1, cancel=cancel or waiting.Cancel())
        waiting.until(probe, what="a CustomResourceDefinition", timeout=timeout, waiter=waiter)


def _established(crd: Object) -> waiting.Status:
    name, found = crd["metadata"]["name"], conditions(crd)
    if "NamesAccepted" in found and found["NamesAccepted"].false:
        return waiting.failed(f"{name}: {found['NamesAccepted'].message}")
    if "Established" in found and found["Established"].true:
        return waiting.ready()
    return waiting.pending(f"{name} is not established yet")


def _named(crd: Object) -> bool:
    found = conditions(crd)
    return "NamesAccepted" in found and found["NamesAccepted"].true
