"""Executables and manifests that a plane is made with: in the cache, checked, or brought there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from capi_llm.sandbox import executables
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.tools.catalogue import OF_SANDBOX
from capi_llm.waiting import Status, pending, ready

BUILD_BYTES = 6 * 1024**3
"""Free disk that a build of everything needs: sources, compiled packages, executables."""


class Executables(Step):
    """Downloads or builds those of the parts ``names`` that are not in the cache.

    Never removed: the cache serves all planes.
    """

    name = "executables"
    timeout = budgets.EXECUTABLES

    def __init__(self, names: tuple[str, ...] = OF_SANDBOX) -> None:
        self._names = names

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        if self.probe(ctx).ready:
            return
        folder = _existing(ctx.settings.cache)
        free = shutil.disk_usage(folder).free
        if free < BUILD_BYTES:
            yield Problem(
                f"{free // 1024**2} MiB are free where {folder} is, {BUILD_BYTES // 1024**2} are needed",
                "free some space, or set CAPI_LLM_CACHE to a folder on another disk",
            )

    def probe(self, ctx: Context) -> Status:
        absent = executables.absent(ctx.settings, self._names)
        return pending(f"not in the cache: {', '.join(absent)}") if absent else ready("in the cache")

    def apply(self, ctx: Context) -> None:
        executables.bring(
            ctx.settings,
            self._names,
            progress=lambda part, message, fraction: ctx.report.progress(
                self.name, f"{part}: {message}", fraction
            ),
            cancel=ctx.cancel,
        )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
