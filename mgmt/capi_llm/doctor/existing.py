"""A cluster that is there: whether it could be a management plane, and what runs on it.

Everything is read. Permissions are asked for by SelfSubjectAccessReviews, which the API
server answers and does not keep.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.checks import Check, missing, not_needed, ok, warning
from capi_llm.doctor.planes import skew
from capi_llm.doctor.probing import PROBE_SECONDS
from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.resources import CRDS, DEPLOYMENTS

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NEEDED = (
    ("*", "*", "*"),
    ("create", "", "namespaces"),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("get", "", "secrets"),
)
"""Verb, group, resource: everything, and what an installation fails on first without it."""

SOFTWARE = {
    "Cluster API": ("clusters.cluster.x-k8s.io", "capi-controller-manager"),
    "cert-manager": ("certificates.cert-manager.io", "cert-manager"),
    "Rancher": ("settings.management.cattle.io", "rancher"),
    "Turtles": ("capiproviders.turtles-capi.cattle.io", "rancher-turtles-controller-manager"),
    "Fleet": ("bundles.fleet.cattle.io", "fleet-controller"),
}
"""What it is → one of its CRDs, and its Deployment."""


@dataclass(frozen=True)
class Software:
    """One thing that may be there: CRDs, and the images' tag of its Deployment."""

    crds: bool = False
    deployed: bool = False
    version: str = ""


@dataclass(frozen=True)
class Existing:
    """Facts. ``silent`` says why the server does not answer. ``denied`` names what may not be done."""

    server: str
    silent: str = ""
    version: str = ""
    skew: float | None = None
    denied: tuple[str, ...] = ()
    unasked: str = ""
    software: Mapping[str, Software] | None = None
    unread: str = ""


def gather(path: Path, context: str) -> Existing:
    """Ask the server of ``context``, each question with a limit. Raises BadInput, NotFound."""
    with Api.from_kubeconfig(path, context, retry_for=0) as api:
        try:
            answer = api.request("GET", "/version", what="can not ask", on=api.server, timeout=PROBE_SECONDS)
            version = str(answer["gitVersion"])
            offset = api.server_clock(PROBE_SECONDS) - time.time()
        except CapiLlmError as error:
            return Existing(api.server, silent=error.why or error.what)
        except (TypeError, KeyError):
            return Existing(api.server, silent="it does not answer like a Kubernetes API server")
        denied, unasked = _denied(api)
        software, unread = _software(api)
        return Existing(api.server, "", version, offset, denied, unasked, software, unread)


def judge(seen: Existing) -> list[Check]:
    if seen.silent:
        fix = "check the address, VPN and proxy; log in again"
        return [missing("server", f"{seen.server}: {seen.silent}", fix)]
    found = [ok("server", seen.server), _version(seen.version), _permissions(seen)]
    if seen.skew is not None:
        found.append(skew("server clock", seen.skew))
    if seen.software is None:
        return [
            *found,
            warning("software", f"can not be read: {seen.unread}", "use credentials that may list CRDs"),
        ]
    return [*found, *(_installed(name, software) for name, software in seen.software.items())]


def _version(text: str) -> Check:
    low, high = versions.MANAGEMENT_MINORS
    try:
        minor = versions.parse(text)[:2]
    except ValueError:
        return warning("kubernetes", f"its version is {text!r}", f"check that it is 1.{low} to 1.{high}")
    wanted = f"Cluster API {versions.CLUSTER_API} supports 1.{low} to 1.{high}"
    if minor < (1, low):
        return missing("kubernetes", f"{text}; {wanted}", "upgrade the cluster")
    if minor > (1, high):
        return warning("kubernetes", f"{text}; {wanted}", "use an older cluster, or test it first")
    return ok("kubernetes", text)


def _permissions(seen: Existing) -> Check:
    if seen.unasked:
        return warning("permissions", f"can not be asked for: {seen.unasked}", "kubectl auth can-i --list")
    if seen.denied:
        return missing(
            "permissions", f"may not {'; '.join(seen.denied)}", "use credentials of a cluster-admin"
        )
    return ok("permissions", "those of a cluster-admin")


def _installed(name: str, software: Software) -> Check:
    if not software.crds and not software.deployed:
        return not_needed(name, "not there; it would be installed")
    if not software.deployed:
        # The sandbox is so: its managers are processes.
        return warning(
            name, "its CRDs are there, and no Deployment of it", f"see who runs or left behind {name}"
        )
    if name == "Cluster API" and not _same_line(software.version):
        return warning(
            name,
            f"{software.version or 'of unknown version'} is there, this is made for {versions.CLUSTER_API}",
            "keep to that version, or use another cluster",
        )
    return ok(name, f"{software.version or 'of unknown version'} is there")


def _same_line(text: str) -> bool:
    try:
        return versions.parse(text)[:2] == versions.parse(versions.CLUSTER_API)[:2]
    except ValueError:
        return False


def _denied(api: Api) -> tuple[tuple[str, ...], str]:
    found = []
    for verb, group, resource in _NEEDED:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}},
        }
        try:
            answer = api.request("POST", _REVIEWS, body=body, timeout=PROBE_SECONDS, what="can not ask")
        except CapiLlmError as error:
            return (), error.why or error.what
        if not (answer.get("status") or {}).get("allowed"):
            found.append(f"{verb} {resource}" + (f".{group}" if group not in ("", "*") else ""))
    return tuple(found), ""


def _software(api: Api) -> tuple[Mapping[str, Software] | None, str]:
    try:
        crds = {crd["metadata"]["name"] for crd in _items(api, CRDS.path())}
        deployments = list(_items(api, DEPLOYMENTS.path()))
    except CapiLlmError as error:
        return None, error.why or error.what
    images = {item["metadata"]["name"]: _tag(item) for item in deployments}
    return {
        name: Software(crd in crds, deployment in images, images.get(deployment, ""))
        for name, (crd, deployment) in SOFTWARE.items()
    }, ""


def _items(api: Api, path: str) -> Iterable[Any]:
    token = ""
    while True:
        query = {"limit": "500"} | ({"continue": token} if token else {})
        page = api.request("GET", path, query=query, timeout=PROBE_SECONDS, what="can not list")
        yield from page.get("items") or []
        token = page["metadata"].get("continue") or ""
        if not token:
            return


def _tag(deployment: Mapping[str, Any]) -> str:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    image = str(containers[0].get("image", "")).partition("@")[0]
    return image.rpartition("/")[2].partition(":")[2]
