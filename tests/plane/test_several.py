"""new-cluster --count: several clusters side by side, each with an end of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from audit import writes
from capi_llm import plane
from capi_llm.clusters import classes, several
from capi_llm.clusters.spec import ClusterSpec
from capi_llm.errors import BadInput, CapiLlmError, Refused, TimedOut
from capi_llm.kube.resources import CLUSTERS, Ref
from capi_llm.sandbox import ports, processes
from capi_llm.sandbox.workload import MEMORY_BYTES
from capi_llm.waiting import failed
from sandboxes import IN_MEMORY, Sandbox


@pytest.mark.sandbox
def test_each_cluster_has_an_end_of_its_own(sandbox: Sandbox, namespace: str) -> None:
    where = ("-n", namespace)
    sandbox.cli("new-cluster", "s-2", *where, *IN_MEMORY, "--workers", "1", "--no-wait")
    made = sandbox.cli("new-cluster", "s", *where, *IN_MEMORY, "--count", "3", "--workers", "0", check=False)
    assert made.returncode == 1
    assert f"✓ {namespace}/s-1  ready (" in made.stderr
    assert f"✓ {namespace}/s-3  ready (" in made.stderr
    assert "2 of 3 clusters are ready" in made.stderr
    assert "s-2: cluster 's-2' exists with other values" in made.stderr
    assert f"capi-llm scale s-2 --namespace {namespace} --workers 0" in made.stderr
    for name in ("s-1", "s-3"):
        saved = sandbox.settings.kubeconfigs / f"kubeconfig-{namespace}.{name}.yaml"
        assert saved.stat().st_mode & 0o777 == 0o600
        nodes = ("kubeconfig", name, *where, "--", "kubectl", "get", "nodes", "-o", "name")
        assert sandbox.cli(*nodes).stdout.startswith(f"node/{name}-")
    assert not (sandbox.settings.kubeconfigs / f"kubeconfig-{namespace}.s-2.yaml").exists()

    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    sandbox.cli("scale", "s-2", *where, "--workers", "0", "--no-wait")
    done = [write for write in writes(log, agent="capi-llm/", after=before) if write.code < 400]
    assert [write.verb for write in done] == ["patch"]  # a Conflict is tried again
    before = log.stat().st_size
    again = sandbox.cli("new-cluster", "s", *where, *IN_MEMORY, "--count", "3", "--workers", "0")
    assert "0 created, 3 were there and not changed" in again.stderr
    assert writes(log, agent="capi-llm/", after=before) == []

    # What another command works on is left to it, and told; the others are looked after.
    with (
        plane.working(sandbox.settings, "test", "a test") as here,
        plane.cluster_lock(sandbox.settings, here, "s-2", namespace, "a test"),
    ):
        locked = sandbox.cli(
            "new-cluster", "s", *where, *IN_MEMORY, "--count", "3", "--workers", "0", check=False
        )
    assert locked.returncode == 1
    assert "s-2: another capi-llm is working on" in locked.stderr
    assert "`a test`" in locked.stderr
    assert "2 of 3 clusters are ready" in locked.stderr


@pytest.mark.sandbox
def test_apps_come_to_all_of_them_side_by_side(sandbox: Sandbox, namespace: str) -> None:
    asked = ("new-cluster", "two", "-n", namespace, "--count", "2", "--workers", "1", "--apps", "litellm")
    made = sandbox.cli(*asked)
    lines = made.stderr.splitlines()
    for cluster in (f"{namespace}/two-1", f"{namespace}/two-2"):
        for app in ("litellm-config", "litellm"):
            assert any(line.startswith(f"✓ {cluster}  {app} ") for line in lines), made.stderr
        assert f"{cluster}: Secret llm/litellm made." in lines
    ends = [line.partition(": ")[0] for line in lines if " 2 apps ready: " in line]
    assert ends == [f"✓ {namespace}/two-1", f"✓ {namespace}/two-2"]

    log = sandbox.ctx.sandbox.audit_log
    before = log.stat().st_size
    again = sandbox.cli(*asked).stderr
    assert again.count(": 2 apps ready: nothing was changed.") == 2
    assert writes(log, agent="capi-llm/", after=before) == []


@pytest.mark.sandbox
def test_running_out_of_time_names_all_and_breaks_nothing(sandbox: Sandbox, namespace: str) -> None:
    asked = ("new-cluster", "late", "-n", namespace, *IN_MEMORY, "--count", "2", "--workers", "0")
    late = sandbox.cli(*asked, "--timeout", "1s", check=False)
    assert late.returncode == 4
    assert "2 of 2 clusters are not ready" in late.stderr
    for name in ("late-1", "late-2"):
        assert f"{name}: cluster '{name}' is not ready after 1 s: " in late.stderr
        assert sandbox.api.find(Ref(CLUSTERS, name, namespace)) is not None
    unnamed = sandbox.cli("new-cluster", "late", "-n", "no-such", "--count", "2", check=False)
    assert unnamed.returncode == 1
    assert "namespace 'no-such' does not exist" in unnamed.stderr
    assert "0 created, 2 were there" in sandbox.cli(*asked).stderr


def test_names_and_numbers() -> None:
    made = several.specs(ClusterSpec("demo", cluster_class="c"), 3)
    assert [spec.name for spec in made] == ["demo-1", "demo-2", "demo-3"]
    for count in (0, -1, 101):
        with pytest.raises(BadInput, match="it is 1 to 100"):
            several.specs(ClusterSpec("demo"), count)
    longest = ClusterSpec("a" * 38)
    assert len(several.specs(longest, 9)) == 9
    with pytest.raises(BadInput, match="is too long"):
        several.specs(longest, 10)


def test_ports_of_the_in_memory_provider() -> None:
    assert ports.room([]) == 4001
    assert ports.room([6443, 20000, 20007]) == 3993
    assert ports.room([24000]) == 0


class Full:
    """An API server whose newest cluster has the last port but two."""

    def list(self, resource: object) -> list[dict]:
        metadata = {"name": "demo-1", "namespace": "default"}
        return [{"metadata": metadata, "spec": {"controlPlaneEndpoint": {"port": 23998}}}]


def test_a_full_sandbox_is_refused_beforehand() -> None:
    api: Any = Full()
    several.check_room(api, several.specs(ClusterSpec("demo"), 3), shipped(IN_MEMORY[1]))
    with pytest.raises(Refused, match="room for 2 more clusters, and 3 are asked for"):
        several.check_room(api, several.specs(ClusterSpec("demo"), 4), shipped(IN_MEMORY[1]))


def test_control_planes_that_are_processes_need_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "free_memory", lambda: 5 * MEMORY_BYTES // 2)
    api: Any = Full()
    kwok = shipped(plane.DEFAULT_CLASS)
    several.check_room(api, several.specs(ClusterSpec("demo"), 3), kwok)  # demo-1 is there
    with pytest.raises(Refused, match=r"memory for 2 more clusters .* and 3 are asked for") as caught:
        several.check_room(api, several.specs(ClusterSpec("demo"), 4), kwok)
    assert "in-memory-llm-clusterclass" in caught.value.fix


def shipped(name: str) -> classes.ClassInfo:
    folder = classes.shipped_class(name)
    assert folder is not None
    return classes.describe_folder(folder)


def test_one_error_for_all_that_failed() -> None:
    well, late, wrong = (
        replace(several.Member(ClusterSpec(name)), status=failed("x"), error=error)
        for name, error in (
            ("a", None),
            ("b", TimedOut("b is not ready", why="machine x")),
            ("c", Refused("c is locked", fix="wait")),
        )
    )
    assert several.failure([well]) is None
    only_late = several.failure([well, late])
    assert isinstance(only_late, TimedOut)
    assert "1 of 2 clusters are not ready" in str(only_late)
    assert "b: b is not ready: machine x" in str(only_late)
    both = several.failure([late, wrong])
    assert type(both) is CapiLlmError
    assert "c: c is locked" in str(both)
    assert "wait" in both.fix
