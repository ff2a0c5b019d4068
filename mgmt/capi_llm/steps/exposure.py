"""How Rancher is reached: by people, and by the agents in the clusters that it imports.

Each way is plain data: the values of Rancher's chart, Rancher's settings, and objects beside it.
What decides (chart/templates/deployment.yaml, pkg/tls/tls.go and pkg/settings/setting.go of
https://github.com/rancher/rancher/tree/v2.13.8):

- Rancher clears its setting ``cacerts`` (``--no-cacerts``) unless ``privateCA`` is set, or ``tls`` is
  ``ingress`` with certificates of Rancher's own. ``agent-tls-mode`` is ``strict`` on a new
  installation, and strict without ``cacerts`` fails every import: so where a public authority is
  trusted it has to be ``system-store``.
- With ``tls: ingress`` and no own certificate the chart has an Issuer, and so needs cert-manager.
- Port 443 of the pod answers with a certificate of the authority in Secret ``tls-rancher`` for the host
  of ``server-url``, and makes that authority where it is missing. The Service's port 443 leads to the
  pod's port 444, whose certificate is of another authority and does not have that host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from capi_llm.errors import BadInput
from capi_llm.kube.resources import Object

NAMESPACE = "cattle-system"
KINDS = ("ngrok", "docker", "loadbalancer", "ingress")
NODE_PORT = 30443
"""Port of the kind node at which Rancher answers with ``--expose docker``."""

AUTHORITY = "tls-rancher"
"""Secret with the authority that Rancher signs its certificates with (tls.crt, tls.key)."""

CA_FILE = "tls-ca"
"""Secret whose ``cacerts.pem`` the chart mounts with ``privateCA``."""

TlsMode = Literal["strict", "system-store"]
Values = dict[str, Any]

_PROTOCOLS = json.dumps({"https-internal": "HTTPS", "http": "HTTP"}, separators=(",", ":"))


@dataclass(frozen=True)
class Exposure:
    """One way to reach Rancher at ``hostname``."""

    hostname: str

    @property
    def kind(self) -> str:
        """Its word on the command line."""
        return type(self).__name__.lower()

    @property
    def url(self) -> str:
        """``server-url``: what agents call."""
        return f"https://{self.hostname}"

    @property
    def tls_mode(self) -> TlsMode:
        """What agents trust: the authority that Rancher tells them, or their system's."""
        return "strict"

    @property
    def cert_manager(self) -> bool:
        """Whether Rancher's chart needs cert-manager."""
        return False

    @property
    def own_authority(self) -> bool:
        """Whether an authority has to be made for Rancher before it is installed."""
        return False

    def values(self) -> Values:
        """Those of Rancher's chart that this way decides."""
        return {"hostname": self.hostname, "agentTLSMode": self.tls_mode}

    def objects(self) -> list[Object]:
        """What is there beside the chart."""
        return []

    def settings(self) -> Mapping[str, str]:
        """Rancher's settings, by name."""
        return {"server-url": self.url, "agent-tls-mode": self.tls_mode}


@dataclass(frozen=True)
class Ngrok(Exposure):
    """A public name at ngrok, which ends TLS: nothing has to reach this machine."""

    @property
    def tls_mode(self) -> TlsMode:
        return "system-store"

    def values(self) -> Values:
        return super().values() | {
            "tls": "external",
            "ingress": {"enabled": False},
            # Both spellings: operators before 0.19 read the first one only.
            "service": {
                "annotations": {
                    "k8s.ngrok.com/app-protocols": _PROTOCOLS,
                    "ngrok.com/app-protocols": _PROTOCOLS,
                }
            },
        }

    def objects(self) -> list[Object]:
        return [_ingress(self.hostname, "ngrok")]


@dataclass(frozen=True)
class Docker(Exposure):
    """The kind node's own name in its Docker network, with an authority of our own: no account at all.

    ``hostname`` is the node container's name, which Docker's DNS knows in every container of the
    network, and through them their pods. People use it through a published port or a port-forward.
    """

    @property
    def url(self) -> str:
        return f"https://{self.hostname}:{NODE_PORT}"

    @property
    def own_authority(self) -> bool:
        return True

    def values(self) -> Values:
        return super().values() | {
            "tls": "external",
            "privateCA": True,
            "ingress": {"enabled": False},
        }

    def objects(self) -> list[Object]:
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "rancher-in-docker", "namespace": NAMESPACE},
                "spec": {
                    "type": "NodePort",
                    "selector": {"app": "rancher"},
                    "ports": [
                        {
                            "name": "https",
                            "port": 443,
                            "targetPort": 443,
                            "nodePort": NODE_PORT,
                            "protocol": "TCP",
                        }
                    ],
                },
            }
        ]


@dataclass(frozen=True)
class LoadBalancer(Exposure):
    """A Service of type LoadBalancer in front of Rancher itself; the name's DNS entry is the user's."""

    @property
    def own_authority(self) -> bool:
        return True

    def values(self) -> Values:
        return super().values() | {"tls": "external", "privateCA": True, "ingress": {"enabled": False}}

    def objects(self) -> list[Object]:
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "rancher-balanced", "namespace": NAMESPACE},
                "spec": {
                    "type": "LoadBalancer",
                    "selector": {"app": "rancher"},
                    "ports": [{"name": "https", "port": 443, "targetPort": 443, "protocol": "TCP"}],
                },
            }
        ]


@dataclass(frozen=True)
class Ingress(Exposure):
    """The ingress controller that the cluster has. ``certificate`` is a Secret of the user's in
    cattle-system; without one, cert-manager makes certificates of Rancher's own authority."""

    ingress_class: str = ""
    certificate: str = ""

    @property
    def tls_mode(self) -> TlsMode:
        return "system-store" if self.certificate else "strict"

    @property
    def cert_manager(self) -> bool:
        return not self.certificate

    def values(self) -> Values:
        tls: Values = {"source": "secret", "secretName": self.certificate} if self.certificate else {}
        ingress: Values = {"enabled": True, "tls": tls or {"source": "rancher"}}
        if self.ingress_class:
            ingress["ingressClassName"] = self.ingress_class
        return super().values() | {"tls": "ingress", "ingress": ingress}


def of(
    kind: str, hostname: str, *, node: str = "", ingress_class: str = "", certificate: str = ""
) -> Exposure:
    """The exposure called ``kind``; ``node`` is the kind node's name. Raises BadInput."""
    if not kind:
        raise BadInput(
            "nothing says how Rancher is to be reached",
            why="on a cluster that is there, that is yours to choose",
            fix="--expose ngrok, ingress or loadbalancer; or --without-rancher",
        )
    if kind not in KINDS:
        from capi_llm import fields

        raise fields.unknown("--expose", kind, KINDS)
    if kind == "docker":
        if not node:
            raise BadInput(
                "--expose docker is for planes of kind `kind`",
                why="there is no Docker network that Rancher and its clusters share",
                fix="--expose ingress or --expose loadbalancer",
            )
        return Docker(node)
    if not hostname:
        raise BadInput(
            f"--expose {kind} needs Rancher's host name",
            fix="set RANCHER_HOSTNAME, or rancher.hostname in capi-llm.yaml",
        )
    if kind == "ngrok":
        return Ngrok(hostname)
    if kind == "loadbalancer":
        return LoadBalancer(hostname)
    return Ingress(hostname, ingress_class, certificate)


def _ingress(hostname: str, ingress_class: str) -> Object:
    backend = {"service": {"name": "rancher", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "rancher", "namespace": NAMESPACE},
        "spec": {
            "ingressClassName": ingress_class,
            "rules": [
                {
                    "host": hostname,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    }
