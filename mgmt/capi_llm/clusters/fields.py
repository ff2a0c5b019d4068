"""One value at a time: is it well formed, and if not, which one was probably meant.

Every function takes ``where``, the flag or the path in a file (``--pods``,
``demo.yaml: pools[0].workers``), and raises BadInput that names it.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from capi_llm import versions
from capi_llm.errors import BadInput

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CPU = re.compile(r"(\d+)m|(\d+(?:\.\d{1,3})?)")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)")
_UNITS = {"k": "Ki", "m": "Mi", "g": "Gi", "t": "Ti", "p": "Pi"}

MOST_MACHINES = 5000
"""Nodes that Kubernetes supports in one cluster."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of ``known`` that ``word`` was probably meant to be; empty where none is near."""
    known = list(known)
    for candidate in known:
        if candidate.lower().replace("-", "").replace("_", "") == word.lower().replace("-", "").replace(
            "_", ""
        ):
            return candidate
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else ""


def unknown(what: str, word: str, known: Iterable[str], *, on: str = "") -> BadInput:
    """The error for ``word`` that is none of ``known``, with what was probably meant."""
    names = sorted(known)
    close = nearest(word, names)
    return BadInput(
        f"{what} {word!r} is not known",
        on=on,
        why=f"known are {', '.join(names)}" if names else "there are none",
        fix=f"did you mean {close!r}?" if close else "",
    )


def dns_label(text: str, where: str, *, longest: int = 63) -> str:
    """An RFC 1123 label."""
    if not _DNS_LABEL.fullmatch(text) or len(text) > longest:
        close = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:longest].strip("-")
        raise BadInput(
            f"{where}: {text!r} is not a valid name",
            why=f"a name is lowercase letters, digits and '-', begins and ends with a letter or digit, "
            f"and has at most {longest} characters",
            fix=f"use {close!r}" if close else "choose another name",
        )
    return text


def dns_subdomain(text: str, where: str) -> str:
    """An RFC 1123 subdomain: labels with dots between them."""
    if len(text) > 253 or not all(_DNS_LABEL.fullmatch(part) for part in text.split(".")):
        close = ".".join(
            part
            for piece in text.lower().split(".")
            if (part := re.sub(r"[^a-z0-9-]+", "-", piece).strip("-")[:63].strip("-"))
        )
        raise BadInput(
            f"{where}: {text!r} is not a valid domain name",
            fix=f"use {close!r}" if close else "cluster.local",
        )
    return text


def class_name(text: str, where: str) -> str:
    """``NAME`` or ``NAMESPACE/NAME`` of a ClusterClass."""
    namespace, slash, name = text.rpartition("/")
    if "/" in namespace:
        raise BadInput(f"{where}: {text!r} is not NAME or NAMESPACE/NAME", fix=f"use {name!r}")
    if slash:
        dns_label(namespace, where)
    dns_subdomain(name, where)
    return text


def cidr(text: str, where: str) -> str:
    """A network such as 192.168.0.0/16, of IPv4 or IPv6."""
    if "/" in text:
        try:
            return str(ipaddress.ip_network(text))
        except ValueError:
            pass
        try:
            close = str(ipaddress.ip_interface(text).network)
        except ValueError:
            pass
        else:
            raise BadInput(
                f"{where}: {text!r} is not a network",
                why="bits are set behind the prefix",
                fix=f"use {close!r}",
            )
    raise BadInput(
        f"{where}: {text!r} is not a network",
        why="it has to be an address and a prefix",
        fix="e.g. 192.168.0.0/16",
    )


def networks(pods: str, services: str) -> None:
    """Pods and services must not overlap and must have sizes that Kubernetes takes."""
    pod, service = ipaddress.ip_network(pods), ipaddress.ip_network(services)
    if pod.version != service.version:
        raise BadInput("--pods and --services are of different IP versions", why=f"{pods} and {services}")
    if pod.overlaps(service):
        raise BadInput(
            "--pods and --services overlap",
            why=f"{pods} and {services} have addresses in common",
            fix="choose another network for one of them, e.g. --services 10.96.0.0/24",
        )
    node, most = (24, 12) if pod.version == 4 else (64, 108)
    if pod.prefixlen > node:
        raise BadInput(
            f"--pods: {pods!r} is too small",
            why=f"every node gets a /{node} of it",
            fix=f"use a prefix of at most /{node}, better /16",
        )
    if not most <= service.prefixlen <= service.max_prefixlen - 4:
        raise BadInput(
            f"--services: {services!r} has the wrong size",
            why=f"Kubernetes takes prefixes from /{most} to /{service.max_prefixlen - 4}",
            fix="e.g. 10.96.0.0/24",
        )


def kubernetes_version(text: str, where: str) -> str:
    """A Kubernetes version that Cluster API can make a cluster of, with its ``v``."""
    low, high = versions.WORKLOAD_MINORS
    try:
        version = versions.parse(text)
    except ValueError as error:
        short = re.fullmatch(r"v?(\d+\.\d+)", text)
        default = versions.parse(versions.WORKLOAD_KUBERNETES)
        close = versions.WORKLOAD_KUBERNETES
        if short and short[1] != f"{default.major}.{default.minor}":
            close = f"v{short[1]}.0"
        raise BadInput(
            f"{where}: {text!r} is not a version", why="it has three numbers", fix=f"e.g. {close}"
        ) from error
    if version.major != 1 or not low <= version.minor <= high:
        raise BadInput(
            f"{where}: Kubernetes {text} is not supported by Cluster API {versions.CLUSTER_API}",
            why=f"it makes clusters of 1.{low} to 1.{high}",
            fix=f"use {versions.WORKLOAD_KUBERNETES}",
        )
    return str(version)


def control_plane(count: int, where: str) -> int:
    """How many control plane machines: an odd number, as etcd needs a majority."""
    if count < 1 or count > 9 or count % 2 == 0:
        close = min(max(count + 1 if count % 2 == 0 else count, 1), 9)
        raise BadInput(
            f"{where}: {count} is not a number of control plane machines",
            why="etcd needs a majority: 1, 3, 5, 7 or 9",
            fix=f"use {close}",
        )
    return count


def cpu(text: str, where: str) -> str:
    """A quantity of CPUs: ``4``, ``0.5``, ``500m``."""
    match = _CPU.fullmatch(text)
    if match is None or float(match[1] or match[2]) == 0:
        number = re.match(r"\d+(\.\d+)?", text)
        close = number[0] if number and float(number[0]) else "2"
        raise BadInput(f"{where}: {text!r} is not a number of CPUs", fix=f"use {close!r} (or e.g. '500m')")
    return text


def memory(text: str, where: str) -> str:
    """A quantity of memory with its unit: ``4Gi``, ``512Mi``, ``4G``."""
    match = _MEMORY.fullmatch(text)
    if match is None or float(match[1]) == 0:
        parts = re.match(r"(\d+(?:\.\d+)?)\s*([A-Za-z]?)", text)
        close = "4Gi"
        if parts and float(parts[1]):
            close = parts[1] + _UNITS.get(parts[2].lower(), "Gi")
        why = "without a unit it would be bytes" if re.fullmatch(r"\d+(\.\d+)?", text) else ""
        raise BadInput(f"{where}: {text!r} is not an amount of memory", why=why, fix=f"use {close!r}")
    return text


def label(key: str, value: str, where: str) -> tuple[str, str]:
    """A Kubernetes label."""
    prefix, slash, name = key.rpartition("/")
    if slash:
        dns_subdomain(prefix, f"{where}: prefix of label {key!r}")
    if not _LABEL_NAME.fullmatch(name):
        raise BadInput(
            f"{where}: {key!r} is not a label's key",
            why="it is letters, digits, '-', '_' and '.', at most 63, after an optional domain and '/'",
            fix=f"use {close!r}"
            if (close := re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:63])
            else "",
        )
    if value and not _LABEL_NAME.fullmatch(value):
        close = re.sub(r"[^A-Za-z0-9_.-]+", "-", value).strip("-_.")[:63].strip("-_.")
        raise BadInput(
            f"{where}: {value!r} is not a label's value (of {key})",
            why="it is letters, digits, '-', '_' and '.', at most 63",
            fix=f"use {close!r}" if close else "",
        )
    return key, value


def key_value(text: str, where: str) -> tuple[str, str]:
    """``KEY=VALUE`` in its two parts."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInput(f"{where}: {text!r} is not KEY=VALUE", fix=f"{where} {key or 'KEY'}=VALUE")
    return key, value


def plain_value(text: str, where: str) -> Any:
    """The value of ``--set VAR=VALUE``: JSON where it is that exactly, a list or map as YAML, else text.

    Text stays text where a number would lose something: ``1.10``, ``007``.
    """
    if text[:1] in ("{", "["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadInput(
                f"{where}: {text!r} is not a list or map", why=str(error).replace("\n", " ")
            ) from error
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if json.dumps(value) == text and not isinstance(value, str) else text


def variables(texts: Iterable[str], where: str = "--set") -> dict[str, Any]:
    """Several ``VAR=VALUE``; those of the form ``VAR.KEY=VALUE`` become one map. Raises BadInput."""
    found: dict[str, Any] = {}
    for text in texts:
        path, value = key_value(text, where)
        name, dot, key = path.partition(".")
        twice = BadInput(f"{where}: {name} is said both as a whole and by its keys")
        if not dot:
            if name in found and isinstance(found[name], dict):
                raise twice
            found[name] = plain_value(value, where)
            continue
        if not isinstance(found.setdefault(name, {}), dict):
            raise twice
        found[name] = found[name] | {key: plain_value(value, where)}
    return found
