"""A control plane for charts: a sandbox without Cluster API, whose pods KWOK says to be ready."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from capi_llm import plane
from capi_llm.identity import Identities
from capi_llm.steps.context import Context, Plane
from sandboxes import own_settings, without_charts

BARE = plane.SANDBOX[: [step.name for step in plane.SANDBOX].index("simulated-node") + 1]


@contextlib.contextmanager
def bare(name: str) -> Iterator[Context]:
    """A control plane and a cache of charts of its own, destroyed at the end.

    Charts are known by their repository's address: another test's may have had the same port.
    """
    with own_settings() as settings, tempfile.TemporaryDirectory() as folder:
        settings = replace(settings, cache=without_charts(settings.cache, Path(folder)))
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
