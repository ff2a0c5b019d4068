"""Docker answers, the machine under it has what a kind plane needs, and its clusters' network is there."""

from __future__ import annotations

from collections.abc import Iterable

from capi_llm.checks import Check, State
from capi_llm.containers import facts, host, networks
from capi_llm.settings import command_environment
from capi_llm.steps import budgets
from capi_llm.steps.choices import Choices
from capi_llm.steps.context import Context
from capi_llm.steps.engine import Problem, Step
from capi_llm.steps.kind_cluster import docker, is_ours
from capi_llm.waiting import Status, pending, ready


class DockerRuns(Step):
    """Nothing is installed: Docker is the user's."""

    name = "docker"
    interval = 1.0
    timeout = budgets.DOCKER

    def preflight(self, ctx: Context) -> Iterable[Problem]:
        """What is missing, by the same looks and judgements as ``doctor``. Of a cluster that is there,
        only whether Docker answers."""
        choices = Choices.of(ctx.identity)
        rancher = bool(choices.rancher)
        seen = facts.gather(command_environment())
        if not seen.answers:
            return _problems(facts.judge(seen, choices.kubernetes))
        there = docker(ctx).of_cluster(choices.cluster)
        if any(is_ours(ctx.identity, item) for item in there):
            return []
        machine = host.judge(host.gather(()), name=choices.cluster, docker=seen, rancher=rancher)
        return _problems([*facts.judge(seen, choices.kubernetes, rancher=rancher), *machine])

    def probe(self, ctx: Context) -> Status:
        version = docker(ctx).version()
        if not version:
            return pending("does not answer", fix="start Docker")
        return ready(f"version {version}")

    def apply(self, ctx: Context) -> None:
        """It is waited for: after a restart it takes some seconds."""


class DockerNetwork(Step):
    """The network that kind and Cluster API put their containers on, with a subnet that is given.

    It stays when the plane goes, as kind's does; one that is there already is used as it is.
    """

    name = "docker-network"
    timeout = budgets.DOCKER
    needs = ("docker",)

    def probe(self, ctx: Context) -> Status:
        if networks.exists(docker(ctx), networks.KIND):
            return ready(networks.KIND)
        return pending("to be made")

    def apply(self, ctx: Context) -> None:
        networks.make(docker(ctx), networks.KIND, trial=f"capi-llm-{ctx.identity.instance}")


def _problems(checks: Iterable[Check]) -> list[Problem]:
    return [
        Problem(f"{check.name}: {check.message}", check.fix)
        for check in checks
        if check.state is State.MISSING
    ]
