"""The sandbox's certificates, and the files that hold them or go with them: kubeconfigs, policies."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from capi_llm.errors import CapiLlmError
from capi_llm.files import write_private
from capi_llm.kube import kubeconfig
from capi_llm.sandbox import pki
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import LOOPBACK, MANAGERS
from capi_llm.steps import budgets
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.waiting import Status, pending, ready

_CLIENTS = ("admin", "kube-controller-manager", "kube-scheduler", "kwok", *MANAGERS)

_AUDIT_POLICY = """\
# Who wrote what, without contents: writes only, no Leases and Events.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: None
    resources:
      - {group: coordination.k8s.io, resources: [leases]}
      - {group: "", resources: [events]}
      - {group: events.k8s.io, resources: [events]}
  - level: Metadata
"""


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
        stale = [
            path.name for path, text in _files(ctx).items() if not path.exists() or path.read_text() != text
        ]
        return pending(f"to be written: {', '.join(stale)}") if stale else ready("valid")

    def apply(self, ctx: Context) -> None:
        pki.ensure(ctx.sandbox)
        for path, text in _files(ctx).items():
            if not path.exists() or path.read_text() != text:
                write_private(path, text)

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
    layout = ctx.sandbox
    files = {
        layout.config / "audit-policy.yaml": _AUDIT_POLICY,
        layout.config / "kwok.yaml": resources.files("capi_llm.sandbox").joinpath("kwok.yaml").read_text(),
    }
    for client in _CLIENTS:
        files[layout.kubeconfig(client)] = _kubeconfig(layout, ctx, client)
    for manager in MANAGERS:
        folder = layout.webhook_certs(manager)
        files[folder / "tls.crt"] = layout.certificate("serving").read_text()
        files[folder / "tls.key"] = layout.key("serving").read_text()
    return files


def _kubeconfig(layout: Layout, ctx: Context, client: str) -> str:
    return kubeconfig.render(
        kubeconfig.build(
            f"https://{LOOPBACK}:{ctx.identity.ports['kube-apiserver']}",
            name=ctx.identity.context if client == "admin" else client,
            ca=pki.authority_pem(layout),
            client_cert=layout.certificate(client).read_text(),
            client_key=layout.key(client).read_text(),
        )
    )
