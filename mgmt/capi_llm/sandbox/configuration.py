"""The files that go with a sandbox's certificates: kubeconfigs, policies, what KWOK does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from capi_llm.files import write_private
from capi_llm.kube import kubeconfig
from capi_llm.sandbox import pki
from capi_llm.sandbox.layout import Layout
from capi_llm.sandbox.parts import LOOPBACK, MANAGERS, PROVIDER

CONTROL_PLANE_CLIENTS = ("admin", "kube-controller-manager", "kube-scheduler", "kwok")
CLIENTS = (*CONTROL_PLANE_CLIENTS, *MANAGERS, PROVIDER)
"""Who has a kubeconfig: of a control plane by itself, and of a sandbox."""

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

_BEHIND_LITELLM = """\
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterPortForward
metadata:
  name: litellm
spec:
  # KWOK takes no labels here; of the apps in this namespace only LiteLLM listens on 4000.
  selector: {{matchNamespaces: [llm]}}
  forwards:
  - ports: [4000]
    target: {{address: {address}, port: {port}}}
"""


def of_sandbox(layout: Layout, port: int, context: str) -> dict[Path, str]:
    """Path → text of every such file of a sandbox, whose API server listens on ``port``.

    ``context`` is what an administrator's kubeconfig calls it.
    """
    files = of_control_plane(layout, port, context, CLIENTS)
    for manager in MANAGERS:
        folder = layout.webhook_certs(manager)
        files[folder / "tls.crt"] = layout.certificate("serving").read_text()
        files[folder / "tls.key"] = layout.key("serving").read_text()
    return files


def of_control_plane(
    layout: Layout,
    port: int,
    context: str,
    clients: Iterable[str] = CONTROL_PLANE_CLIENTS,
    *,
    litellm: int | None = None,
) -> dict[Path, str]:
    """The same of a control plane by itself. ``litellm`` is the port of what is behind LiteLLM's pods."""
    kwok = resources.files("capi_llm.sandbox").joinpath("kwok.yaml").read_text()
    if litellm is not None:
        kwok += _BEHIND_LITELLM.format(address=LOOPBACK, port=litellm)
    files = {layout.config / "audit-policy.yaml": _AUDIT_POLICY, layout.config / "kwok.yaml": kwok}
    for client in clients:
        name = context if client == "admin" else client
        files[layout.kubeconfig(client)] = client_kubeconfig(layout, port, client, name)
    return files


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those of ``files`` that are missing, or say something else."""
    return [path for path, text in files.items() if not path.exists() or path.read_text() != text]


def write(files: Mapping[Path, str]) -> None:
    """Write those of ``files`` that are :func:`stale`."""
    for path in stale(files):
        write_private(path, files[path])


def client_kubeconfig(layout: Layout, port: int, client: str, name: str) -> str:
    """A kubeconfig that logs in by the certificate of ``client``."""
    return kubeconfig.render(
        kubeconfig.build(
            f"https://{LOOPBACK}:{port}",
            name=name,
            ca=pki.authority_pem(layout),
            client_cert=layout.certificate(client).read_text(),
            client_key=layout.key(client).read_text(),
        )
    )
