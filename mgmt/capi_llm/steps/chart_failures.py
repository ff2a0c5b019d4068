"""What helm says when an installation fails → what that is, and what to do."""

from __future__ import annotations

import re

from capi_llm.errors import BadInput, CapiLlmError, Refused, TimedOut, Unavailable
from capi_llm.tools.helm import unfit_values

_OWNED = re.compile(
    r"(?P<kind>\w+) \"(?P<name>[^\"]+)\" in namespace \"(?P<namespace>[^\"]*)\" exists and cannot be "
    r"imported into the current release: (?P<why>.*)"
)
_KUBE = re.compile(
    r"chart requires kubeVersion: (?P<wanted>.+?) which is incompatible with Kubernetes (?P<is>\S+)"
)
_NO_KIND = re.compile(r'no matches for kind "(?P<kind>[^"]+)" in version "(?P<version>[^"]+)"')
_HOOK = re.compile(r"failed (?P<hook>pre-install|post-install|pre-upgrade|post-upgrade)\S*:? ?(?P<why>.*)")
_WEBHOOK = re.compile(r"failed calling webhook|failed to call webhook")
_AWAY = re.compile(r"connection refused|connection reset|EOF|i/o timeout|etcdserver: |too many requests")


def of(output: str, why: str, *, what: str, on: str) -> CapiLlmError:
    """The error for helm's ``output``; ``why`` is the same on one line, ``what`` the chart."""
    if (unfit := unfit_values(output)) is not None:
        return BadInput(
            f"the values do not fit chart {what}",
            on=on,
            why="; ".join(f"{path}: {text}" for path, text in unfit) or why,
            fix="correct them in the settings; the chart's values.schema.json says what fits",
        )
    if (match := _OWNED.search(why)) is not None:
        where = f"{match['namespace']}/" if match["namespace"] else ""
        return Refused(
            f"{match['kind']} {where}{match['name']} is there and is not of this Helm release",
            on=on,
            why=match["why"],
            fix="see who made it (its annotations and labels); remove it, or that installation, first",
        )
    if (match := _KUBE.search(why)) is not None:
        return Refused(
            f"chart {what} does not run on Kubernetes {match['is']}",
            on=on,
            why=f"it wants {match['wanted']}",
            fix="use a management cluster of a version that it supports (docs/compatibility.md)",
        )
    if (match := _NO_KIND.search(why)) is not None:
        return Refused(
            f"chart {what} needs {match['kind']} of {match['version']}, which this cluster does not have",
            on=on,
            why=why,
            fix="install what brings that kind first, cert-manager for Issuer and Certificate",
        )
    if "another operation (install/upgrade/rollback) is in progress" in why:
        return Refused(
            "helm is at work on this release, or has died there",
            on=on,
            why=why,
            fix="wait for it to end, and run the same command again",
        )
    if (match := _HOOK.search(why)) is not None and "timed out" in why:
        return TimedOut(
            f"the {match['hook']} hook of chart {what} did not end",
            on=on,
            why=match["why"] or why,
            fix="its Job's pods say why; run the same command again to try once more",
        )
    if _WEBHOOK.search(why):
        return Unavailable(
            f"helm could not install chart {what}: a webhook of the cluster does not answer",
            status=0,
            on=on,
            why=why,
            fix="see that the pods behind that webhook run, and that the API server reaches them",
        )
    if _AWAY.search(why):
        return Unavailable(
            f"helm could not install chart {what}",
            status=0,
            on=on,
            why=why,
            fix="run the same command again when the API server answers",
        )
    return CapiLlmError(f"helm could not install chart {what}", on=on, why=why, fix="correct what it says")
