"""What an error of a Fleet agent means: its likely cause, what to do, and whether Fleet tries again.

The texts are those of Fleet's agent, of helm inside it and of the API server of the workload
cluster. Fleet 0.14 gives some of them up: it takes them as applied and never tries again before
the bundle changes (``deployErrToStatus``,
https://github.com/rancher/fleet/blob/v0.14.0/internal/cmd/agent/deployer/deployer.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from capi_llm.secret_names import hide_refused

NEVER_AGAIN = re.compile(
    r"timed out waiting for the condition"
    r"|error validating data"
    r"|chart requires kubeVersion"
    r"|annotation validation error"
    r"|failed, and has been rolled back due to atomic being set"
    r"|YAML parse error"
    r"|Forbidden: updates to [0-9A-Za-z]+ spec for fields other than [0-9A-Za-z ']+ are forbidden"
    r"|Forbidden: spec is immutable after creation"
)
"""Errors after which an agent of Fleet 0.14 does not try again by itself."""

AGAIN = "change the bundle, or raise its spec.forceSyncGeneration by one, so that Fleet tries again"


@dataclass(frozen=True)
class Meaning:
    """``final``: waiting can not make it good, somebody has to change something."""

    reason: str
    cause: str
    fix: str
    final: bool


@dataclass(frozen=True)
class _Known:
    pattern: re.Pattern[str]
    cause: str
    fix: str
    final: bool = False


def _known(pattern: str, cause: str, fix: str, *, final: bool = False) -> _Known:
    return _Known(re.compile(pattern, re.DOTALL), cause, fix, final)


# The first that matches is taken: what is more special stands above.
_KNOWN = (
    _known(
        r"dependent bundle\(s\) are not ready: \[(?P<who>[^\]]*)\]",
        "dependsOn: it is applied when {who} is Ready on the same cluster; "
        "one that is Modified counts as not",
        "see the status of {who}",
    ),
    _known(
        r"no bundles matching labels \S*?bundle-name=(?P<who>[^,\s]+)",
        "dependsOn names {who}, of which this cluster has no BundleDeployment: Fleet waits for it for ever",
        "deliver {who} to the same cluster, or take it out of dependsOn",
    ),
    _known(
        r'no matches for kind "(?P<kind>[^"]+)" in version "(?P<version>[^"]+)"',
        "the workload cluster has no {kind} of {version}: its CustomResourceDefinition is missing, or comes "
        "in the same bundle (helm looks all kinds up before it installs any)",
        "deliver the CustomResourceDefinition with a bundle of its own, and name that in dependsOn",
    ),
    _known(
        r"invalid ownership metadata|cannot be imported into the current release|annotation validation error",
        "an object of that name exists already and belongs to another helm release, or to none",
        "delete that object, or set helm.takeOwnership: true in the bundle's fleet.yaml",
        final=True,
    ),
    _known(
        r"values don't meet the specifications of the schema",
        "the chart's values.schema.json refuses the values",
        "correct the values",
        final=True,
    ),
    _known(
        r"chart requires kubeVersion",
        "the chart does not support the Kubernetes version of this cluster",
        "upgrade the cluster, or take another version of the chart",
        final=True,
    ),
    _known(
        r"YAML parse error|error converting YAML",
        "a file, or what a template makes, is no YAML",
        "correct the file",
        final=True,
    ),
    _known(
        r"execution error at \(|parse error at \(|error calling |nil pointer evaluating",
        "a template of the chart fails with these values",
        "correct the values or the template",
        final=True,
    ),
    _known(
        r"Forbidden: updates to \w+ spec|field is immutable|spec is immutable after creation",
        "a field is changed that can not be changed on an object that exists",
        "delete that object on the workload cluster, so that it is made anew",
        final=True,
    ),
    _known(
        r"another operation \(install/upgrade/rollback\) is in progress",
        "helm was interrupted in the middle: the agent was stopped while it installed",
        "delete the newest Secret sh.helm.release.v1.* of that release on the workload "
        "cluster; Fleet goes on",
    ),
    _known(
        r"failed calling webhook|no endpoints available for service",
        "an admission webhook on the workload cluster does not answer",
        "see that the pods behind the webhook run",
    ),
    _known(
        r"exceeded quota", "a ResourceQuota of the namespace is used up", "raise the quota, or ask for less"
    ),
    _known(
        r"must have at most \d+ bytes|Too long: ",
        "helm's record of the release does not fit into a Secret (1 MiB)",
        "split the bundle",
        final=True,
    ),
    _known(r"is being terminated", "the namespace is just being deleted", "wait until it is gone"),
    _known(
        r"failed to (?:fetch|download|pull)|looks like .* is not a valid chart repository"
        r"|could not get a chart version|no chart (?:version|name) found|chart .* not found"
        r"|dial tcp.*(?:no such host|refused|timeout|unreachable)",
        "the chart can not be downloaded: its repository is not reachable from where Fleet runs, or lacks it",
        "see repo, chart and version of the bundle, and whether the cluster reaches that address",
    ),
    _known(
        r'is forbidden: User "',
        "the agent's account may not do that on the workload cluster",
        "give the service account the right, or take spec.serviceAccount out of the bundle",
    ),
    _known(
        r"timed out waiting for the condition",
        "helm waited for the objects to get ready, in vain",
        "see the pods of the release on the workload cluster",
        final=True,
    ),
    _known(
        r"is invalid: |error validating data|unknown field",
        "the workload cluster's API server refuses an object of the bundle",
        "correct that object in the bundle",
        final=True,
    ),
)


def of(message: str) -> Meaning:
    """What an error says. Values that were refused for a field with the name of a secret are hidden."""
    text = " ".join(hide_refused(message).split())
    for prefix in ("not installed: ", "not ready: "):
        text = text.removeprefix(prefix)
    given_up = NEVER_AGAIN.search(text) is not None
    for known in _KNOWN:
        if (match := known.pattern.search(text)) is not None:
            parts = match.groupdict()
            fix = known.fix.format(**parts)
            if given_up:
                fix = f"{fix}; then {AGAIN}"
            return Meaning(text, known.cause.format(**parts), fix, known.final or given_up)
    if given_up:
        return Meaning(text, "Fleet has given it up and does not try again by itself", AGAIN, True)
    return Meaning(text, "", "", False)
