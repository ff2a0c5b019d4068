"""Turtles' CAPIProvider, of ``turtles-capi.cattle.io/v1alpha1``, as Turtles 0.25 writes it.

``phase`` is no verdict: it turns to Failed while a provider only waits for the core provider, and
Ready while its Deployment still starts
(https://github.com/rancher/turtles/blob/v0.25.6/internal/controllers/operator_reconciler.go).
Reasons are those of the Cluster API operator
(https://github.com/kubernetes-sigs/cluster-api-operator/blob/v0.23.0/api/v1alpha2/conditions_consts.go).
"""

from __future__ import annotations

from capi_llm.contract.conditions import Object, conditions, deleting, finalizers, observed, status_of, words
from capi_llm.waiting import Status, failed, pending, ready

_TRANSIENT = {"WaitingForCoreProviderReady", "WaitingForCoreProviderReadyReason"}

_FINAL = {
    "MoreThanOneExists": (
        "there are two providers of that kind, and the operator runs neither",
        "delete the one that is too much: Rancher makes the core provider cattle-capi-system/cluster-api",
    ),
    "MoreThanOneProviderInstanceExists": (
        "there are two providers of that kind, and the operator runs neither",
        "delete the one that is too much: Rancher makes the core provider cattle-capi-system/cluster-api",
    ),
    "IncorrectVersionFormat": ("spec.version is no version", "write it as v1.10.6, with its v"),
    "UnsupportedProviderDowngradeReason": (
        "a newer version is installed",
        "set the installed version, or delete the provider first",
    ),
    "UnsupportedProviderDowngrade": (
        "a newer version is installed",
        "set the installed version, or delete the provider first",
    ),
    "CAPIVersionIncompatibility": (
        "its contract is not that of the core provider",
        "pin the version of docs/compatibility.md",
    ),
    "FetchConfigValidationError": ("spec.fetchConfig is wrong", "name one of url, oci, selector"),
    "InvalidGithubTokenError": (
        "GitHub does not take the token",
        "correct GITHUB_TOKEN in the provider's Secret, or take it away",
    ),
    "InvalidGithubToken": (
        "GitHub does not take the token",
        "correct GITHUB_TOKEN in the provider's Secret, or take it away",
    ),
}

_FETCH = {"ComponentsFetchError", "ComponentsCustomizationError", "ComponentsUpgradeError"}


def provider(obj: Object, deployment: Status | None = None) -> Status:
    """READY when it is installed, its condition Ready is true and its Deployment is (where given).

    FAILED only for what waiting does not mend.
    """
    if deleting(obj):
        held = ", ".join(finalizers(obj))
        return pending(f"is being deleted{f', held by {held}' if held else ''}")
    found, status = conditions(obj), status_of(obj)
    if not found:  # phase and variables are defaults of the definition
        return pending(
            "Turtles has not seen it yet",
            cause="Turtles does not run, or is busy",
            fix="see Deployment rancher-turtles-controller-manager in cattle-turtles-system",
        )
    if not observed(obj):
        return pending("Turtles has not seen its newest form yet")
    preflight = found.get("PreflightCheckPassed")
    if preflight is not None and preflight.false:
        said = preflight.message or words(preflight.reason)
        if preflight.reason in _TRANSIENT:
            return pending("waits for the core provider", cause=said)
        if preflight.reason in _FINAL:
            cause, fix = _FINAL[preflight.reason]
            return failed(said, cause=cause, fix=fix)
        return pending(f"its preflight check fails: {said}")
    installed = found.get("ProviderInstalled")
    if installed is None or not installed.true:
        reason = installed.reason if installed is not None else ""
        said = (installed.message or words(reason)) if installed is not None else ""
        if reason in _FETCH:
            return pending(
                f"its manifests can not be had: {said}",
                cause="GitHub is not reached, or limits this address; or there is no such version",
                fix="let the cluster reach GitHub, put GITHUB_TOKEN into the provider's Secret, "
                "or give its manifests by spec.fetchConfig",
            )
        return pending(f"is being installed: {said}" if said else "is being installed")
    if deployment is not None and not deployment.ready:
        return deployment
    up = found.get("Ready")
    if up is None or not up.true:
        said = (up.message or words(up.reason)) if up is not None else "it has not reported yet"
        return pending(f"its manager is not ready: {said}")
    return ready(str(status.get("installedVersion") or "installed"))
