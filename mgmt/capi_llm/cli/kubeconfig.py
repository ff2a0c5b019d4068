"""``kubeconfig``: files that open a cluster, or a command run with one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capi_llm.cli import names
from capi_llm.cli.options import State, namespace, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.kube.merging import Mark


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", required=False, shell_complete=names.clusters)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--management", is_flag=True, help="Of the management plane instead of a cluster.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print it instead of writing a file.")
@click.option("--merge", is_flag=True, help="Merge it into your own kubeconfig file, and print the context.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to merge into.  [default: the first of KUBECONFIG, or ~/.kube/config]",
)
@click.option("--as", "context", default="", metavar="CONTEXT", help="Name of the merged context.")
@click.option("--use", is_flag=True, help="Make the merged context the current one.")
@namespace
@plane_name
@pass_state
def kubeconfig(
    state: State,
    name: str | None,
    command: tuple[str, ...],
    management: bool,
    to_stdout: bool,
    merge: bool,
    into: Path | None,
    context: str,
    use: bool,
    namespace: str,
) -> None:
    """Write the kubeconfig of cluster NAME to a file, or merge it into yours.

    \b
    With `-- COMMAND …`, run the command with KUBECONFIG set to it instead:
      capi-llm kubeconfig demo -- kubectl get nodes
      capi-llm kubeconfig --management -- kubectl get clusters.cluster.x-k8s.io
    With --merge, it is in your own file, and no other entry of it is changed:
      capi-llm kubeconfig demo --merge --use && kubectl get nodes
    kubectl, clusterctl and helm of the sandbox are found without being on PATH.
    """
    from capi_llm import plane
    from capi_llm.clusters import kubeconfig as kubeconfigs
    from capi_llm.errors import BadInput
    from capi_llm.kube.merging import Mark

    if management and name is not None:
        command, name = (name, *command), None
    if not management and name is None:
        raise BadInput("no cluster was named", fix="capi-llm kubeconfig NAME, or --management")
    if (into or context or use) and not merge:
        raise BadInput("--into, --as and --use are for --merge", fix="add --merge")
    if merge and (command or to_stdout):
        raise BadInput("--merge goes without --stdout and a command", fix="leave one of them out")
    with plane.connected(state.settings, state.plane) as here:
        mark = Mark(here.identity.name, here.identity.uid, "" if management else namespace, name or "")
        if name is None:
            text = Path(here.identity.kubeconfig).read_text()
        else:
            text = kubeconfigs.fetch(here.api(), name, namespace)
    if merge:
        _merge(state, text, mark, into, context, use)
    elif command:
        _run(state, text, command)
    elif to_stdout:
        click.echo(text, nl=False)
    elif name is None:
        click.echo(kubeconfigs.save_management(text, mark.plane, state.settings.kubeconfigs))
    else:
        click.echo(kubeconfigs.save(text, name, namespace, state.settings.kubeconfigs))


def _merge(state: State, text: str, mark: Mark, into: Path | None, context: str, use: bool) -> None:
    from capi_llm.clusters import kubeconfig as kubeconfigs
    from capi_llm.settings import kubeconfig_files

    into = into or kubeconfig_files()[0]
    context = context or kubeconfigs.context_name(mark)
    changed, backup = kubeconfigs.merge(text, mark, into, name=context, use=use)
    if backup:
        state.console.say(f"As it was before: {backup}")
    if changed:
        state.console.say(f"Context {context} is in {into}.")
    else:
        state.console.say(f"Context {context} is in {into} already; nothing was changed.")
    click.echo(context)


def _run(state: State, text: str, command: tuple[str, ...]) -> None:
    from capi_llm import shell
    from capi_llm.kube import kubeconfig as files
    from capi_llm.settings import command_environment

    with tempfile.TemporaryDirectory(prefix="capi-llm-") as folder:
        path = Path(folder) / "kubeconfig"
        files.write(path, text)
        program = shell.which(command[0]) or _of_sandbox(state, command[0]) or Path(command[0])
        code = shell.attach([program, *command[1:]], env=command_environment(KUBECONFIG=str(path)))
    if code:
        raise click.exceptions.Exit(code if code > 0 else 128 - code)


def _of_sandbox(state: State, program: str) -> Path | None:
    from capi_llm.errors import BadInput, NotFound
    from capi_llm.sandbox import executables

    try:
        return executables.paths(state.settings, (program,)).get(program)
    except (BadInput, NotFound):
        return None


COMMANDS = (kubeconfig,)
