"""``rehearse``: a change, run on a throwaway sandbox first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capi_llm.cli.console import data
from capi_llm.cli.options import State, output, pass_state, plane_name, timeout

if TYPE_CHECKING:
    from capi_llm.kube.client import Api
    from capi_llm.kube.resources import Object
    from capi_llm.rehearsal.findings import Finding
    from capi_llm.rehearsal.world import Key, World

_PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "-f", "--file", "files", type=_PATH, multiple=True,
    help="The change: manifests or a ClusterSpec; may be given again, may be a folder.",
)  # fmt: skip
@click.option("--class-dir", type=_PATH, help="Folder of a class, as part of the change.")
@click.option(
    "--from", "origin", type=_PATH, multiple=True,
    help="What there is now, from files instead of a plane; may be given again.",
)  # fmt: skip
@click.option("--kubeconfig", type=_PATH, help="Read what there is now from this management cluster.")
@click.option("--context", default="", metavar="NAME", help="Context in --kubeconfig.")
@click.option(
    "-n", "--namespace", default="default", show_default=True, metavar="NAMESPACE",
    help="Namespace of what names none in the change.",
)  # fmt: skip
@click.option(
    "--cluster", "chosen", multiple=True, metavar="[NAMESPACE/]NAME",
    help="Only this cluster; may be given again.  [default: all that the change touches]",
)  # fmt: skip
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR",
    help="A network, such as the hosts', that no cluster may overlap; may be given again.",
)  # fmt: skip
@click.option("--distinct-networks", is_flag=True, help="No two clusters may overlap either.")
@click.option(
    "--max-machines", type=click.IntRange(min=1), default=40, show_default=True, metavar="N",
    help="Refuse to simulate more machines.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the sandbox there, and say how to look at it.")
@click.option("--exit-code", is_flag=True, help="End with 5 where anything would change.")
@timeout("REHEARSAL")
@output("table", "json", "yaml")
@plane_name
@pass_state
def rehearse(
    state: State,
    files: tuple[Path, ...],
    class_dir: Path | None,
    origin: tuple[Path, ...],
    kubeconfig: Path | None,
    context: str,
    namespace: str,
    chosen: tuple[str, ...],
    networks: tuple[str, ...],
    distinct_networks: bool,
    max_machines: int,
    keep: bool,
    exit_code: bool,
    timeout: float,
    output: str,
) -> int:
    """Run a change on a throwaway sandbox and say what becomes of every machine.

    The real Cluster API controllers and webhooks decide; infrastructure is simulated. Nothing
    real is touched: what there is now is only read.
    """
    from capi_llm import fields
    from capi_llm.errors import BadInput
    from capi_llm.rehearsal import checks, manifests, report, run, world

    if not files and class_dir is None:
        raise BadInput("there is no change to rehearse", fix="-f FILE, or --class-dir DIR")
    for network in networks:
        fields.cidr(network, "--network")
    # Once to know what to look at; ClusterSpec files mean something only over what there is.
    named = manifests.read(files, class_dir, namespace=namespace)
    before, found = _before(state, named, origin, kubeconfig, context)
    after = manifests.change(before, manifests.read(files, class_dir, namespace=namespace, base=before))
    touched = _chosen(chosen, namespace, after) or world.touched(before, after)
    found += checks.check(before, after, touched, networks=networks, distinct=distinct_networks)
    for finding in found:
        state.console.say(str(finding))
    with state.console.drawing() as drawing:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(f"… {line}")
            drawing.show(said)

        rehearsal = run.rehearse(
            state.settings, before, after, clusters=touched, findings=found, most=max_machines,
            timeout=timeout, keep=keep, say=say,
            tell=lambda line: drawing.show([*said, f"  {line}"], plain=()),
        )  # fmt: skip
    if output == "table":
        click.echo("\n".join(report.lines(rehearsal)))
    else:
        data(report.as_json(rehearsal), output)
    if rehearsal.kept:
        state.console.say(
            f"The sandbox is kept. Look at it: CAPI_LLM_STATE={rehearsal.kept} "
            "capi-llm kubeconfig --management -- kubectl get clusters,machines -A\n"
            f"Remove it: CAPI_LLM_STATE={rehearsal.kept} capi-llm destroy --yes"
        )
    if rehearsal.timed_out:
        return 4
    if rehearsal.errors:
        return 1
    return 5 if exit_code and rehearsal.differences else 0


def _before(
    state: State, named: Sequence[Object], origin: tuple[Path, ...], kubeconfig: Path | None, context: str
) -> tuple[World, list[Finding]]:
    from capi_llm.errors import BadInput
    from capi_llm.rehearsal import live, manifests, world
    from capi_llm.rehearsal.findings import Finding

    if origin:
        if kubeconfig is not None:
            raise BadInput("--from and --kubeconfig are two answers to one question", fix="leave one out")
        return world.of(manifests.read(origin), ", ".join(map(str, origin))), []
    if context and kubeconfig is None:
        raise BadInput("--context needs --kubeconfig", fix="add --kubeconfig FILE")
    with _api(state, kubeconfig, context) as (api, source):
        before = live.read(api, named, source=source)
        paused = live.paused(api, [world.key_of(obj) for obj in before.clusters])
    return before, [
        Finding("note", "paused", str(key), "is paused: the change waits there until it is not")
        for key in paused
    ]


@contextlib.contextmanager
def _api(state: State, kubeconfig: Path | None, context: str) -> Iterator[tuple[Api, str]]:
    from capi_llm import plane
    from capi_llm.errors import NotFound
    from capi_llm.kube.client import Api

    if kubeconfig is not None:
        with Api.from_kubeconfig(kubeconfig, context or None) as api:
            yield api, api.server
        return
    try:
        with plane.connected(state.settings, state.plane) as here:
            yield here.api(), f"plane {here.identity.name}"
    except NotFound as error:
        if "plane" in error.what:
            error.fix = f"{error.fix}; or name what there is now: --from FILE, or --kubeconfig FILE"
        raise


def _chosen(names: tuple[str, ...], namespace: str, after: World) -> list[Key]:
    from capi_llm.errors import NotFound
    from capi_llm.rehearsal import world

    there = {str(key).removeprefix("Cluster "): key for key in map(world.key_of, after.clusters)}
    found = []
    for name in names:
        full = name if "/" in name else f"{namespace}/{name}"
        if full not in there:
            raise NotFound(
                f"there is no cluster {name!r} in this rehearsal",
                why=f"there are {', '.join(there)}" if there else "there are none",
                fix="name one of them with --cluster",
            )
        found.append(there[full])
    return found


COMMANDS = (rehearse,)
