"""A Helm release as a step.

What is there is read from the Secrets that helm keeps, so that a release that is as it should be is
known without running helm, and nothing is written. Ours carry a label (helm's ``--labels``); one without
it is another tool's, which is taken as it is where its version fits, and otherwise refused: it is never
written to. helm is run without ``--wait``: the step's own probe follows the workloads and knows more.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capi_llm import versions
from capi_llm.contract import helm as contract
from capi_llm.contract.helm import Release
from capi_llm.errors import CommandFailed, Refused, Unavailable
from capi_llm.kube.client import Api
from capi_llm.kube.resources import SECRETS, Object, Ref
from capi_llm.sandbox import executables
from capi_llm.steps import budgets, chart_failures, found, release_workloads
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Step
from capi_llm.tools.helm import Chart, Program, words
from capi_llm.waiting import Status, pending, ready, until

OWNER = f"{versions.GROUP}/installed-by"
"""Label of the releases that are ours; its value is the machine that helm ran on."""

_HISTORY = 5
_GRACE = 30.0
_AGAIN = 3.0
"""Seconds between two tries where somebody does not answer."""


@dataclass(frozen=True)
class Wanted:
    """A release that is to be there. No value of it is secret: helm keeps values in the cluster.

    ``software`` is its name in :data:`capi_llm.steps.found.SOFTWARE`; ``refuses`` says of a version
    why it can not be used, empty where it can.
    """

    release: str
    namespace: str
    chart: Chart
    values: Mapping[str, Any] = field(default_factory=dict)
    software: str = ""
    refuses: Callable[[str], str] = lambda version: ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.release}"


class HelmRelease(Step):
    """Ready when the release is deployed with its version and values and all of its workloads are ready.

    ``wanted`` may ask the plane, but not before the steps that are needed are there. With ``upgrade`` an
    older version of ours is brought to the wanted one; without, it is left.
    """

    interval = 1.0
    timeout = budgets.CHART

    def __init__(
        self,
        name: str,
        wanted: Callable[[Context], Wanted],
        needs: tuple[str, ...] = (),
        *,
        version: str = "",
        upgrade: bool = False,
        timeout: float = budgets.CHART,
    ) -> None:
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.version = version
        self._make = wanted
        self._upgrade = upgrade

    def probe(self, ctx: Context) -> Status:
        wanted = self._make(ctx)
        release = _release(ctx.api(), wanted)
        if release is None:
            return _of_others(ctx, wanted) or pending(f"{wanted.chart} is to be installed")
        if OWNER not in release.labels:
            return _foreign(ctx, wanted, release)
        if (why := self._wrong(wanted, release)) is not None:
            return why
        status = release_workloads.status(ctx.api(), release)
        if status.ready and release.version != wanted.chart.version:
            return ready(_other_version(release.version, wanted.chart.version))
        return status

    def apply(self, ctx: Context) -> None:
        wanted = self._make(ctx)
        release = _release(ctx.api(), wanted)
        if release is not None:
            if OWNER not in release.labels:
                return
            if self._wrong(wanted, release) is None and not release_workloads.absent(ctx.api(), release):
                return  # it is only to become ready
            self._clear(ctx, release)
        self._install(ctx, wanted)

    def remove(self, ctx: Context) -> None:
        release = _release(ctx.api(), self._make(ctx))
        if release is not None and OWNER in release.labels:
            self._uninstall(ctx, release)

    def _wrong(self, wanted: Wanted, release: Release) -> Status | None:
        """What helm has to put right in a release of ours; None where that is nothing."""
        have, want = release.version, wanted.chart.version
        if release.unfinished:
            return pending(f"a run of helm did not end: the release is {release.status}")
        if release.status != "deployed":
            return pending(f"the release is {release.status}: {release.description}")
        if have != want:
            if versions.newer(have, want):
                _check_fits(wanted, have, f"Helm release {release}", "newer than this capi-llm's")
                return None
            return pending(f"{have} is to become {want}") if self._upgrade else None
        changed = sorted(_paths(release.values, wanted.values))
        return pending(f"its values differ: {', '.join(changed[:5])}") if changed else None

    def _clear(self, ctx: Context, release: Release) -> None:
        """Take away what keeps helm from beginning again: the mark of a run that has died."""
        if release.status == "uninstalling":
            self._uninstall(ctx, release)
        elif release.unfinished:
            ref = Ref(SECRETS, release.secret, release.namespace)
            self._check_dead(ctx, ctx.api().find(ref), release)
            ctx.api().delete(ref)

    def _check_dead(self, ctx: Context, secret: Object | None, release: Release) -> None:
        host = release.labels.get(OWNER, "")
        if secret is None or host == machine():
            return  # this plane's lock is ours, so that run is not alive any more
        made = datetime.fromisoformat(str(secret["metadata"]["creationTimestamp"]))
        age = ctx.api().server_clock() - made.astimezone(UTC).timestamp()
        if age < self.timeout:
            raise Refused(
                f"helm is at work on {release}",
                on=f"machine {host}",
                why=f"the release is {release.status} since {age:.0f} s",
                fix="wait for that run to end; one that died is put right after "
                f"{self.timeout:.0f} s by the same command",
            )

    def _install(self, ctx: Context, wanted: Wanted) -> None:
        helm = _helm(ctx)
        archive = helm.pull(wanted.chart, on=f"step {self.name}")
        ctx.report.progress(self.name, f"helm installs {wanted.chart.name} {wanted.chart.version}")
        argv: list[str | Path] = ["upgrade", "--install", wanted.release, archive, "--values", "-"]
        argv += ["--reset-values", "--create-namespace", "--history-max", str(_HISTORY)]
        argv += ["--labels", f"{OWNER}={machine()}", "--timeout", f"{self.timeout:.0f}s"]
        argv += _at(ctx, wanted.namespace)
        until(
            lambda: self._run(helm, argv, wanted),
            what=f"step {self.name}",
            timeout=self.timeout,
            waiter=replace(ctx.waiter, interval=_AGAIN),
        )

    def _run(self, helm: Program, argv: list[str | Path], wanted: Wanted) -> Status:
        """PENDING where the API server or a webhook does not answer just now, as right after a start."""
        try:
            helm.run(argv, stdin=json.dumps(wanted.values), timeout=self.timeout + _GRACE)
        except CommandFailed as error:
            why = words(error.output)
            found = chart_failures.of(error.output, why, what=str(wanted.chart), on=f"Helm release {wanted}")
            if isinstance(found, Unavailable):
                return pending(found.brief, fix=found.fix)
            raise found from error
        return ready()

    def _uninstall(self, ctx: Context, release: Release) -> None:
        argv = ["uninstall", release.name, "--wait", "--timeout", f"{self.timeout:.0f}s"]
        _helm(ctx).run([*argv, *_at(ctx, release.namespace)], timeout=self.timeout + _GRACE)


# ---------------------------------------------------------------------- what is there


def _release(api: Api, wanted: Wanted) -> Release | None:
    query = f"owner=helm,name={wanted.release}"
    known = contract.newest(api.list(SECRETS, wanted.namespace, query, slim=True))
    return next((each for each in known if each.name == wanted.release), None)


def _of_others(ctx: Context, wanted: Wanted) -> Status | None:
    """The same software, there in another way. Raises Refused where that can not be used."""
    if not wanted.software:
        return None
    there = ctx.once("found", lambda: found.on(ctx.api())).get(wanted.software) or []
    for one in there:
        if not one.runs and _is_ours(ctx.api(), wanted, one.release):
            continue
        if not one.runs:
            raise Refused(
                f"there are remains of another {wanted.software}",
                on=str(one.where),
                why=f"its CRDs are there{', ' + one.owner if one.owner else ''}, and no Deployment",
                fix="take them away with the tool that made them, or bring it back with that",
            )
        _check_fits(wanted, one.version, str(one.where), one.owner)
        owner = one.owner or "of somebody unknown"
        return ready(f"{one.version or 'of unknown version'} is there, {owner}; left as it is")
    return None


def _is_ours(api: Api, wanted: Wanted, release: str) -> bool:
    """Whether CRDs are of this release, which once was there, or of another one of ours."""
    if release == str(wanted):
        return True
    namespace, _, name = release.partition("/")
    if not name:
        return False
    known = contract.newest(api.list(SECRETS, namespace, f"owner=helm,name={name}", slim=True))
    return any(each.name == name and OWNER in each.labels for each in known)


def _foreign(ctx: Context, wanted: Wanted, release: Release) -> Status:
    if release.unfinished or release.status == "failed":
        raise Refused(
            f"Helm release {release} of another tool is {release.status}",
            on=f"{release.chart} {release.version}",
            why=release.description or "helm is at work there, or has died",
            fix=f"helm -n {release.namespace} history {release.name} says more; "
            "let it end, or roll it back or uninstall it",
        )
    _check_fits(wanted, release.version, f"Helm release {release}", "of another tool")
    status = release_workloads.status(ctx.api(), release)
    if not status.ready:
        return status
    return ready(f"{release.version} is there, of another tool; left as it is")


def _check_fits(wanted: Wanted, version: str, where: str, owner: str) -> None:
    if why := wanted.refuses(version):
        raise Refused(
            f"{wanted.software or wanted.release} {version or 'of unknown version'} is there "
            "and can not be used",
            on=where,
            why=f"{why}; it is {owner}" if owner else why,
            fix=f"bring it to {wanted.chart.version} with the tool that installed it, or use another cluster",
        )


def _other_version(have: str, want: str) -> str:
    if versions.newer(have, want):
        return f"{have}, newer than {want}; left as it is"
    return f"{have}; `capi-llm bootstrap --upgrade` brings {want}"


def _helm(ctx: Context) -> Program:
    path = executables.one(ctx.settings, "helm", cancel=ctx.cancel)
    return Program(path, ctx.settings.cache, offline=ctx.settings.offline, cancel=ctx.cancel)


def _at(ctx: Context, namespace: str) -> list[str]:
    found = ["--namespace", namespace, "--kubeconfig", ctx.identity.kubeconfig]
    return [*found, "--kube-context", ctx.identity.context] if ctx.identity.context else found


def machine() -> str:
    """This machine's name as a label's value."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", platform.node())[:63]
    return text.strip("-_.") or "unknown"


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, here)
        else:
            yield here, value


def _paths(have: Mapping[str, Any], want: Mapping[str, Any]) -> set[str]:
    """The paths at which two sets of values differ."""
    left, right = dict(_leaves(have)), dict(_leaves(json.loads(json.dumps(want))))
    return {path for path in {*left, *right} if left.get(path, _ABSENT) != right.get(path, _ABSENT)}


_ABSENT = object()
