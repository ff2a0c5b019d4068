"""The wait for a cluster's import into Rancher, and for its Fleet Cluster, where the plane has them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from capi_llm.cli.options import State

if TYPE_CHECKING:
    from capi_llm.steps.context import Plane


def has_imports(here: Plane) -> bool:
    """Whether clusters of the plane are had by Rancher or by Fleet too."""
    from capi_llm.steps.choices import Choices

    choices = Choices.of(here.identity)
    return here.identity.kind != "sandbox" and bool(choices.rancher or choices.delivery == "fleet")


def wait_for_import(state: State, here: Plane, name: str, namespace: str, timeout: float) -> None:
    """Have the cluster registered and wait until Rancher and Fleet have it; nothing on other planes.

    Raises TimedOut and CapiLlmError, naming what is stuck and what to do.
    """
    if not has_imports(here):
        return
    from capi_llm.apps import imported
    from capi_llm.apps.fleet import registration
    from capi_llm.cli import trees
    from capi_llm.clusters.view import Node
    from capi_llm.kube.apply import apply
    from capi_llm.kube.cache import Informers
    from capi_llm.kube.resources import CLUSTERS, Ref
    from capi_llm.steps.choices import Choices
    from capi_llm.steps.imports import imported_namespace
    from capi_llm.waiting import Status, Waiter, failed, ready, until

    api = here.api()
    if Choices.of(here.identity).rancher:
        apply(api, [imported_namespace(namespace)])
    else:
        registration.register(api, name, namespace)
    with state.console.drawing() as drawing, contextlib.closing(Informers(api)) as informers:

        def probe() -> Status:
            cluster = api.find(Ref(CLUSTERS, name, namespace))
            if cluster is None:
                return failed("the cluster does not exist any more")
            nodes = imported.collect(informers).nodes(cluster)
            wrong = imported.verdict(nodes)
            status = wrong or ready("imported")
            top = Node(f"Import of {namespace}/{name}", status, nodes)
            drawing.show(trees.lines(top), plain=[trees.text(top.label, status)])
            return status

        waiter = Waiter(wakeup=informers.wakeup, rest=0.1)
        until(probe, what=f"the import of cluster {namespace}/{name}", timeout=timeout, waiter=waiter)
