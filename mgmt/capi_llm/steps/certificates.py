"""The sandbox's certificates, and the files that hold them or go with them: kubeconfigs, policies."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from capi_llm.errors import CapiLlmError
from capi_llm.sandbox import configuration, pki
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.waiting import Status, pending, ready


class Certificates(Step):
    """Made once; renewed by ``bootstrap`` in the last 30 days of their year."""

    name = "certificates"
    timeout = budgets.CERTIFICATES

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        ctx.sandbox.check()
        return ()

    def probe(self, ctx: Context) -> Status:
        absent = pki.missing(ctx.sandbox)
        if absent:
            over = pki.expired(ctx.sandbox)
            what = (
                f"expired: {', '.join(over)}" if over else f"missing or about to expire: {', '.join(absent)}"
            )
            return pending(what, fix="capi-llm bootstrap")
        stale = [path.name for path in configuration.stale(_files(ctx))]
        return pending(f"to be written: {', '.join(stale)}") if stale else ready("valid")

    def apply(self, ctx: Context) -> None:
        pki.ensure(ctx.sandbox)
        configuration.write(_files(ctx))

    def remove(self, ctx: Context) -> None:
        try:
            shutil.rmtree(ctx.sandbox.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CapiLlmError(
                "the sandbox's folder can not be removed",
                on=str(error.filename or ctx.sandbox.root),
                why=error.strerror or str(error),
                fix="make it removable, then run the command again",
            ) from error


def _files(ctx: Context) -> dict[Path, str]:
    return configuration.of_sandbox(ctx.sandbox, ctx.identity.ports["kube-apiserver"], ctx.identity.context)
