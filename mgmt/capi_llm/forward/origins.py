"""From the words of a command to clusters and what of them is forwarded."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capi_llm.clusters import kubeconfig as kubeconfigs
from capi_llm.errors import NotFound, Refused
from capi_llm.forward import finding, targets
from capi_llm.forward.targets import Target
from capi_llm.kube import kubeconfig as files
from capi_llm.kube.client import Api
from capi_llm.kube.credentials import Credentials
from capi_llm.kube.resources import CLUSTERS
from capi_llm.steps.context import Plane


@dataclass(frozen=True)
class Origin:
    """One cluster and what of it is forwarded.

    ``cluster`` is the namespace and name of a workload cluster, None the management cluster.
    """

    credentials: Credentials
    targets: list[Target]
    cluster: tuple[str, str] | None = None


@dataclass(frozen=True)
class Wanted:
    """What a person asked for. ``cluster`` is empty where none was named; every word has been checked."""

    cluster: str
    words: tuple[str, ...]
    namespace: str = ""
    management: bool = False


def parse(words: Sequence[str], namespace: str = "", *, management: bool = False) -> Wanted:
    """The words of the command: a cluster, if the first is no target, and targets. Raises BadInput."""
    rest = list(words)
    cluster = rest.pop(0) if rest and not management and not targets.is_target(rest[0]) else ""
    for word in rest:
        if word.startswith(("svc/", "service/")):
            targets.service(word, namespace or "default")
        else:
            targets.app(word)
    return Wanted(cluster, tuple(rest), namespace, management)


def find(here: Plane, wanted: Wanted, kept: contextlib.ExitStack) -> tuple[str, list[Origin]]:
    """What the workload cluster is called ("" if none is meant), and what to forward of which cluster.

    Its kubeconfig is held by ``kept``, which has to stay open as long as it is forwarded. Raises
    NotFound where nothing is there, Refused where several clusters are and none was named.
    """
    origins: list[Origin] = []
    above = [word for word in wanted.words if wanted.management or _beside(word)]
    below = [word for word in wanted.words if word not in above]
    if above or wanted.management:
        api = here.api()
        found = (
            finding.targets(api, above, wanted.namespace)
            if above
            else finding.every(api, wanted.namespace, management=True)
        )
        origins.append(Origin(Credentials(Path(here.identity.kubeconfig), here.identity.context), found))
    label = ""
    if not wanted.management and (below or not above):
        namespace, name = _cluster(here, wanted.cluster)
        label = kubeconfigs.label(name, namespace)
        text = kubeconfigs.fetch(here.api(), name, namespace)
        credentials = Credentials(kept.enter_context(files.held(text)))
        with Api(credentials) as api:
            found = (
                finding.targets(api, below, wanted.namespace)
                if below
                else finding.every(api, wanted.namespace)
            )
        origins.append(Origin(credentials, found, (namespace, name)))
    if not any(origin.targets for origin in origins):
        raise NotFound(
            f"there is nothing to forward on {label or here.identity.name}",
            why=f"it has none of {', '.join(targets.BY_NAME)}",
            fix="name a Service: svc/NAME:PORT -n NAMESPACE",
        )
    return label, origins


def words_of(label: str) -> list[str]:
    """How the cluster called ``label`` is named on a command line."""
    return [label.replace(".", "/", 1)] if label else []


def place_of(word: str, default: str = "default") -> tuple[str, str]:
    """Namespace and name of the cluster that ``word``, ``[NAMESPACE/]NAME``, names."""
    namespace, slash, name = word.rpartition("/")
    return (namespace if slash else default), name


def label_of(word: str) -> str:
    """What the cluster that ``word`` names is called."""
    namespace, name = place_of(word)
    return kubeconfigs.label(name, namespace)


def _beside(word: str) -> bool:
    """Whether ``word`` names an app that runs on the management cluster."""
    name = word.partition(":")[0]
    return name in targets.BY_NAME and targets.BY_NAME[name].management


def _cluster(here: Plane, named: str) -> tuple[str, str]:
    """Namespace and name of the cluster: the one that was named, or the only one there is."""
    if named:
        return place_of(named)
    known = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in here.api().list(CLUSTERS)]
    if len(known) == 1:
        return known[0]
    if not known:
        raise NotFound(
            f"there is no cluster on plane {here.identity.name!r}",
            fix="capi-llm new-cluster demo, or --management for the management cluster",
        )
    raise Refused(
        "there are several clusters and none was named",
        on=", ".join("/".join(item) for item in known),
        fix=f"capi-llm portforward {'/'.join(known[0])}",
    )
