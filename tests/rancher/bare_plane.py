"""A control plane for charts: a sandbox without Cluster API, whose pods KWOK says to be ready."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from capi_llm import plane
from capi_llm.identity import Identities
from capi_llm.steps.context import Context, Plane
from sandboxes import own_settings

BARE = plane.SANDBOX[: [step.name for step in plane.SANDBOX].index("simulated-node") + 1]


@contextlib.contextmanager
def bare(name: str) -> Iterator[Context]:
    """A control plane of its own, destroyed at the end."""
    with own_settings() as settings:
        plane.bootstrap(settings, name=name, recipe=BARE)
        identities = Identities(settings.state)
        found = identities.find(name)
        assert found is not None
        here = Plane(identities, found)
        try:
            yield Context(settings, here)
        finally:
            here.close()
            plane.destroy(settings, name=name)
