"""Images of a kind plane: pulled once by the host's Docker, then loaded into the node.

So a run that is repeated, and a second plane, pull nothing again, and the registries' limits
are met once and told in their own words.
"""

from __future__ import annotations

from capi_llm import versions
from capi_llm.containers import images
from capi_llm.errors import CommandFailed
from capi_llm.settings import Settings
from capi_llm.steps import budgets
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.steps.kind_cluster import docker, node_name
from capi_llm.waiting import Status, pending, ready


def images_of(choices: Choices, settings: Settings) -> tuple[str, ...]:
    """The images of everything that the plane's recipe installs, and those that the user adds."""
    own = () if choices.rancher else tuple(versions.CLUSTER_API_IMAGES.values())
    return tuple(dict.fromkeys((*own, *settings.images)))


class _Pulled(Step):
    timeout = budgets.IMAGES
    needs: tuple[str, ...] = ("docker",)

    def wanted(self, ctx: Context) -> tuple[str, ...]:
        """The images that are still needed from this machine."""
        raise NotImplementedError

    def probe(self, ctx: Context) -> Status:
        wanted = self.wanted(ctx)
        absent = images.absent(docker(ctx), wanted)
        if absent:
            return pending(f"to be pulled: {', '.join(absent)}")
        return ready(f"{len(wanted)} on this machine" if wanted else "in use")

    def apply(self, ctx: Context) -> None:
        here = docker(ctx)
        for name in images.absent(here, self.wanted(ctx)):
            ctx.report.progress(self.name, f"pulling {name}")
            images.pull(here, name, lambda line: ctx.report.progress(self.name, line[:160]))


class NodeImage(_Pulled):
    """The image that the management cluster's node is made of; not looked for once the node is there."""

    name = "node-image"

    def wanted(self, ctx: Context) -> tuple[str, ...]:
        there = docker(ctx).find(node_name(ctx.identity)) is not None
        return () if there else (Choices.of(ctx.identity).node_image,)


class Images(_Pulled):
    """What runs in the management cluster, as far as its node lacks it. Beside the making of the cluster."""

    name = "images"

    def __init__(self, *, upgrade: bool = False) -> None:
        self._upgrade = upgrade

    def wanted(self, ctx: Context) -> tuple[str, ...]:
        node = docker(ctx).find(node_name(ctx.identity))
        if node is None or not node.running:
            return images_of(Choices.of(ctx.identity), ctx.settings)
        return _absent_in_node(ctx, upgrade=self._upgrade)


class LoadedImages(Step):
    """The same images in the node's containerd."""

    name = "loaded-images"
    timeout = budgets.IMAGES
    needs = ("images", "management-cluster")

    def __init__(self, *, upgrade: bool = False) -> None:
        self._upgrade = upgrade

    def probe(self, ctx: Context) -> Status:
        absent = _absent_in_node(ctx, upgrade=self._upgrade)
        return pending(f"to be loaded into the node: {', '.join(absent)}") if absent else ready("in the node")

    def apply(self, ctx: Context) -> None:
        absent = _absent_in_node(ctx, upgrade=self._upgrade)
        if absent:
            ctx.report.progress(self.name, f"loading {len(absent)} images")
            images.load(docker(ctx), node_name(ctx.identity), absent)


def _absent_in_node(ctx: Context, *, upgrade: bool) -> tuple[str, ...]:
    """The images that the node lacks. Without ``upgrade``, not those of a manager of which it has another
    version: that is the one that runs."""
    try:
        there = images.in_node(docker(ctx), node_name(ctx.identity))
    except CommandFailed:
        there = set()  # a node that is just being made
    pinned = set() if upgrade else set(versions.CLUSTER_API_IMAGES.values())
    had = {name.rpartition(":")[0] for name in there if "@" not in name}
    return tuple(
        name
        for name in images_of(Choices.of(ctx.identity), ctx.settings)
        if images.full_name(name) not in there
        and not (name in pinned and images.full_name(name).rpartition(":")[0] in had)
    )
