"""The command line of every process of a sandbox, in the order in which they start.

Flags are our own choice: etcd asks for client certificates, everything binds to
loopback, nobody elects leaders (each process exists once). Sources: ``--help`` of each
program at the pinned version, and for Cluster API the arguments in its manifests.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from capi_llm import versions
from capi_llm.sandbox.layout import Layout

SERVICE_RANGE = "10.96.0.0/24"
POD_RANGE = "10.0.0.0/24"
"""The sandbox's own; a workload cluster's are those of its Cluster."""
LOOPBACK = "127.0.0.1"
POD_IP = "POD_IP"
"""Variable with the address that the in-memory provider's workload API servers listen on."""

MANAGERS = ("capi-core", "capi-bootstrap", "capi-control-plane", "capi-docker")
PROVIDER = "kwok-provider"
"""Our own infrastructure and control-plane provider, whose clusters are control planes like the sandbox's."""
GATEWAY = "litellm"
"""The real LiteLLM behind the simulated pods of a KWOK workload cluster (:mod:`capi_llm.gateway`)."""

_NAMESPACES = {
    "capi-core": "capi-system",
    "capi-bootstrap": "capi-kubeadm-bootstrap-system",
    "capi-control-plane": "capi-kubeadm-control-plane-system",
    "capi-docker": "capd-system",
}
_FEATURE_GATES = {
    "capi-core": "ClusterTopology=true,MachinePool=true",
    "capi-bootstrap": "MachinePool=true",
    "capi-control-plane": "ClusterTopology=true,MachinePool=true",
    "capi-docker": "ClusterTopology=true,MachinePool=true",
}


@dataclass(frozen=True)
class Part:
    """One process: ``argv`` (its executable first) and ``env`` on top of the shared environment.

    ``health`` is the URL that answers 200 when it works; ``stop_seconds`` how long it may
    take to end by itself before it is killed.
    """

    name: str
    argv: tuple[str, ...]
    health: str
    env: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 5


def parts(
    layout: Layout, ports: Mapping[str, int], loopback: str, executables: Mapping[str, Path]
) -> tuple[Part, ...]:
    """Every part of the sandbox. ``executables`` maps part names to paths (``tools.prepare``)."""
    managers = (_manager(name, layout, ports, loopback) for name in MANAGERS)
    return (
        *control_plane(layout, ports, executables),
        *(_executed(part, executables) for part in managers),
        _provider(layout, ports),
    )


def control_plane(
    layout: Layout,
    ports: Mapping[str, int],
    executables: Mapping[str, Path],
    *,
    services: str = SERVICE_RANGE,
    pods: str = POD_RANGE,
) -> tuple[Part, ...]:
    """A Kubernetes control plane with simulated nodes: the sandbox's own, or a workload cluster's.

    ``services`` and ``pods`` are its networks, each a CIDR or two of them with a comma between.
    """
    found = (
        _etcd(layout, ports),
        _apiserver(layout, ports, services),
        _controller_manager(layout, ports),
        _scheduler(layout, ports),
        _kwok(layout, ports, pods),
    )
    return tuple(_executed(part, executables) for part in found)


def gateway(layout: Layout, port: int) -> Part:
    """The part of a workload cluster that runs LiteLLM on ``port``."""
    return Part(
        GATEWAY,
        (
            sys.executable,
            "-P",
            "-m",
            "capi_llm.gateway",
            f"--kubeconfig={layout.admin_kubeconfig}",
            f"--folder={layout.root / GATEWAY}",
            f"--port={port}",
            f"--of={versions.CLI}",
        ),
        health=f"http://{LOOPBACK}:{port}/health/liveliness",
    )


def _executed(part: Part, executables: Mapping[str, Path]) -> Part:
    return replace(part, argv=(str(executables[part.name]), *part.argv))


def _etcd(layout: Layout, ports: Mapping[str, int]) -> Part:
    client = f"https://{LOOPBACK}:{ports['etcd']}"
    peer = f"https://{LOOPBACK}:{ports['etcd-peer']}"
    return Part(
        "etcd",
        (
            "--name=sandbox",
            f"--data-dir={layout.etcd_data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            f"--cert-file={layout.certificate('etcd-server')}",
            f"--key-file={layout.key('etcd-server')}",
            "--client-cert-auth",
            f"--trusted-ca-file={layout.certificate('etcd-ca')}",
            f"--peer-cert-file={layout.certificate('etcd-server')}",
            f"--peer-key-file={layout.key('etcd-server')}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={layout.certificate('etcd-ca')}",
            "--auto-compaction-retention=1",
            "--quota-backend-bytes=2147483648",
            "--log-level=warn",
        ),
        health=f"{client}/health",
    )


def _apiserver(layout: Layout, ports: Mapping[str, int], services: str) -> Part:
    port = ports["kube-apiserver"]
    return Part(
        "kube-apiserver",
        (
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={port}",
            # A loopback address may not be an endpoint, and nothing here needs the Service.
            "--endpoint-reconciler-type=none",
            f"--etcd-servers=https://{LOOPBACK}:{ports['etcd']}",
            f"--etcd-cafile={layout.certificate('etcd-ca')}",
            f"--etcd-certfile={layout.certificate('etcd-client')}",
            f"--etcd-keyfile={layout.key('etcd-client')}",
            *_serving(layout, "kube-apiserver"),
            f"--client-ca-file={layout.certificate('ca')}",
            f"--kubelet-client-certificate={layout.certificate('kubelet-client')}",
            f"--kubelet-client-key={layout.key('kubelet-client')}",
            # Simulated nodes have names that no DNS knows; logs and port-forward go to their kubelets.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={layout.key('service-account')}",
            f"--service-account-signing-key-file={layout.key('service-account')}",
            f"--service-cluster-ip-range={services}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--profiling=false",
            f"--audit-policy-file={layout.config / 'audit-policy.yaml'}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-maxsize=20",
            "--audit-log-maxbackup=1",
        ),
        health=f"https://{LOOPBACK}:{port}/readyz",
    )


def _controller_manager(layout: Layout, ports: Mapping[str, int]) -> Part:
    return Part(
        "kube-controller-manager",
        (
            *_component(layout, ports, "kube-controller-manager"),
            f"--root-ca-file={layout.certificate('ca')}",
            f"--service-account-private-key-file={layout.key('service-account')}",
            "--use-service-account-credentials=true",
            # Heartbeats of simulated nodes are late on a busy machine, and kwok does not make pods ready
            # again that were called away with their node.
            "--node-monitor-grace-period=5m",
        ),
        health=f"https://{LOOPBACK}:{ports['kube-controller-manager']}/healthz",
    )


def _scheduler(layout: Layout, ports: Mapping[str, int]) -> Part:
    return Part(
        "kube-scheduler",
        _component(layout, ports, "kube-scheduler"),
        health=f"https://{LOOPBACK}:{ports['kube-scheduler']}/healthz",
    )


def _kwok(layout: Layout, ports: Mapping[str, int], pods: str) -> Part:
    port = ports["kwok"]
    network = ipaddress.ip_network(pods.partition(",")[0])
    return Part(
        "kwok",
        (
            f"--config={layout.config / 'kwok.yaml'}",
            f"--kubeconfig={layout.kubeconfig('kwok')}",
            "--manage-all-nodes=true",
            # Without leases the controllers take a node for dead 50 s after its last status.
            "--node-lease-duration-seconds=40",
            f"--cidr={network[1]}/{network.prefixlen}",
            f"--node-ip={LOOPBACK}",
            f"--node-port={port}",
            f"--server-address={LOOPBACK}:{port}",
            *_serving(layout, "serving"),
        ),
        health=f"https://{LOOPBACK}:{port}/healthz",
        env={"KWOK_WORKDIR": str(layout.config / "kwok")},
    )


def _manager(name: str, layout: Layout, ports: Mapping[str, int], loopback: str) -> Part:
    health = f"{LOOPBACK}:{ports[f'{name}-health']}"
    return Part(
        name,
        (
            f"--kubeconfig={layout.kubeconfig(name)}",
            f"--webhook-port={ports[f'{name}-webhook']}",
            f"--webhook-cert-dir={layout.webhook_certs(name)}",
            f"--health-addr={health}",
            f"--diagnostics-address={LOOPBACK}:{ports[f'{name}-diagnostics']}",
            "--insecure-diagnostics",
            f"--feature-gates={_FEATURE_GATES[name]}",
        ),
        health=f"http://{health}/readyz",
        env={
            "POD_NAMESPACE": _NAMESPACES[name],
            "POD_NAME": name,
            "POD_UID": name,
            POD_IP: loopback,
        },
    )


def _provider(layout: Layout, ports: Mapping[str, int]) -> Part:
    health = f"{LOOPBACK}:{ports[PROVIDER]}"
    return Part(
        PROVIDER,
        (
            sys.executable,
            "-P",
            "-m",
            "capi_llm.provider",
            f"--sandbox={layout.root}",
            f"--kubeconfig={layout.kubeconfig(PROVIDER)}",
            f"--health={health}",
            # Another capi-llm brings other code: the supervisor starts a part again whose command changed.
            f"--of={versions.CLI}",
        ),
        health=f"http://{health}/readyz",
    )


def _component(layout: Layout, ports: Mapping[str, int], name: str) -> tuple[str, ...]:
    kubeconfig = layout.kubeconfig(name)
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={ports[name]}",
        *_serving(layout, "serving"),
        "--leader-elect=false",
        "--profiling=false",
    )


def _serving(layout: Layout, name: str) -> tuple[str, str]:
    return (
        f"--tls-cert-file={layout.certificate(name)}",
        f"--tls-private-key-file={layout.key(name)}",
    )
