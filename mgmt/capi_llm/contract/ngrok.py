"""The ngrok operator's objects: Domain, endpoints, KubernetesOperator. Its pods being ready proves nothing.

Conditions and reasons of https://github.com/ngrok/ngrok-operator/tree/ngrok-operator-0.22.0/internal/controller,
error codes of https://ngrok.com/docs/errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from capi_llm.contract.conditions import Object, conditions, deleting, finalizers, status_of, words
from capi_llm.waiting import Status, failed, pending, ready

_ELSEWHERE = "the host name is online elsewhere: one name has one endpoint"
_ELSEWHERE_FIX = (
    "end the other one (https://dashboard.ngrok.com/endpoints), or choose another RANCHER_HOSTNAME"
)

_CODES = {
    "ERR_NGROK_334": (_ELSEWHERE, _ELSEWHERE_FIX),
    "ERR_NGROK_18016": (_ELSEWHERE, _ELSEWHERE_FIX),
    "ERR_NGROK_18017": (_ELSEWHERE, _ELSEWHERE_FIX),
    "ERR_NGROK_20006": (
        "ngrok does not sign this operator's certificate",
        "check that NGROK_API_KEY and NGROK_AUTHTOKEN are of one account",
    ),
    "ERR_NGROK_206": (
        "the API key is not one of ngrok's",
        "set NGROK_API_KEY to an API key: https://dashboard.ngrok.com/api-keys",
    ),
    "ERR_NGROK_105": (
        "the token is not one of ngrok's",
        "set NGROK_AUTHTOKEN: https://dashboard.ngrok.com/get-started/your-authtoken",
    ),
    "ERR_NGROK_107": (
        "the token was revoked",
        "set NGROK_AUTHTOKEN: https://dashboard.ngrok.com/get-started/your-authtoken",
    ),
    "ERR_NGROK_320": (
        "the domain is reserved for another account",
        "set RANCHER_HOSTNAME to a domain of yours: https://dashboard.ngrok.com/domains",
    ),
}
_CODE = re.compile(r"ERR_NGROK_\d+")

_FINAL = {
    "DomainInvalid": ("ngrok does not take the host name", "set RANCHER_HOSTNAME to a domain of yours"),
    "ProtectedDomain": ("the domain is protected", "choose another RANCHER_HOSTNAME"),
    "DanglingDNSRecord": (
        "the name's DNS entry leads nowhere",
        "correct its CNAME at https://dashboard.ngrok.com/domains",
    ),
}


def operator(obj: Object) -> Status:
    """A KubernetesOperator: whether ngrok knows this operator."""
    found = conditions(obj).get("Registered") or conditions(obj).get("Ready")
    status = status_of(obj)
    state = str(status.get("registrationStatus") or "")
    said = str(status.get("errorMessage") or "") or (found.message if found is not None else "")
    if state == "registered" or (found is not None and found.true):
        return ready("registered at ngrok")
    if state == "error" or (found is not None and found.false):
        code = str(status.get("registrationErrorCode") or "")
        return _of_text(f"{said} {code}".strip(), "ngrok does not register this operator")
    return pending("is registering at ngrok", fix="see the log of ngrok-operator-manager")


def domain(obj: Object) -> Status:
    """A Domain."""
    return _by_ready(obj, "the domain is not ready", "status.domain")


def endpoint(obj: Object) -> Status:
    """An AgentEndpoint or CloudEndpoint."""
    return _by_ready(obj, "the endpoint is not ready", "status")


def exposed(host: str, operators: Iterable[Object], domains: Iterable[Object]) -> Status:
    """Whether ngrok serves ``host``. Pods of the operator are Ready without credentials too (demo mode),
    so what counts is that ngrok has registered it and the Domain is ready."""
    registered = list(operators)
    if not registered:
        return pending(
            "the operator has not registered itself at ngrok",
            cause="it runs in demo mode (without credentials it becomes Ready and does nothing), or starts",
            fix="set NGROK_API_KEY and NGROK_AUTHTOKEN and run the same command again",
        )
    for obj in registered:
        status = operator(obj)
        if not status.ready:
            return status
    for obj in domains:
        if (obj.get("spec") or {}).get("domain") == host:
            return domain(obj)
    return pending(
        f"there is no Domain for {host} yet",
        cause="the operator makes it of the Ingress",
        fix="see Ingress rancher in cattle-system: its class has to be ngrok; "
        "and the log of ngrok-operator-manager",
    )


def _by_ready(obj: Object, what: str, where: str) -> Status:
    if deleting(obj):
        held = ", ".join(finalizers(obj))
        return pending(
            f"is being deleted{f', held by {held}' if held else ''}",
            fix="the operator has to run for that; it goes last" if held else "",
        )
    found = conditions(obj)
    condition = found.get("Ready")
    if condition is None:
        return pending("the operator has not looked at it yet")
    if condition.true:
        return ready("serves")
    worse = next(
        (each for name, each in found.items() if name != "Ready" and each.false and each.message), condition
    )
    if condition.reason in _FINAL or worse.reason in _FINAL:
        cause, fix = _FINAL.get(worse.reason) or _FINAL[condition.reason]
        return failed(worse.message or condition.message or what, cause=cause, fix=fix)
    return _of_text(worse.message or words(worse.reason), what)


def _of_text(text: str, what: str) -> Status:
    code = _CODE.search(text)
    if code is not None and code[0] in _CODES:
        cause, fix = _CODES[code[0]]
        return failed(text or what, cause=cause, fix=fix)
    return pending(f"{what}: {text}" if text else what)
