"""``kubeconfig``: files that open a cluster, or a command run with one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from capi_llm.cli.options import State, namespace, pass_state, plane_name


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--management", is_flag=True, help="Of the management plane instead of a cluster.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print it instead of writing a file.")
@namespace
@plane_name
@pass_state
def kubeconfig(
    state: State,
    name: str | None,
    command: tuple[str, ...],
    management: bool,
    to_stdout: bool,
    namespace: str,
) -> None:
    """Write the kubeconfig of cluster NAME to kubeconfigs/kubeconfig-NAME.yaml.

    \b
    With `-- COMMAND …`, run the command with KUBECONFIG set to it instead:
      capi-llm kubeconfig demo -- kubectl get nodes
      capi-llm kubeconfig --management -- kubectl get clusters.cluster.x-k8s.io
    kubectl and clusterctl of the sandbox are found without being on PATH.
    """
    from capi_llm import plane
    from capi_llm.clusters import kubeconfig as kubeconfigs
    from capi_llm.errors import BadInput

    if management and name is not None:
        command, name = (name, *command), None
    if not management and name is None:
        raise BadInput("no cluster was named", fix="capi-llm kubeconfig NAME, or --management")
    with plane.connected(state.settings, state.plane) as here:
        if management:
            name = f"management-{here.identity.name}"
            text = Path(here.identity.kubeconfig).read_text()
        else:
            assert name is not None
            text = kubeconfigs.fetch(here.api(), name, namespace)
    if command:
        _run(state, text, command)
    elif to_stdout:
        click.echo(text, nl=False)
    else:
        click.echo(kubeconfigs.save(text, name, state.settings.kubeconfigs))


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
    from capi_llm.errors import NotFound
    from capi_llm.sandbox import executables

    try:
        return executables.paths(state.settings).get(program)
    except NotFound:
        return None


COMMANDS = (kubeconfig,)
