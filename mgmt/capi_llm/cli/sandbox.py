"""Commands on the sandbox's parts."""

from __future__ import annotations

import click

from capi_llm.cli.console import StepReport, columns
from capi_llm.cli.options import State, pass_state


@click.group()
def sandbox() -> None:
    """The parts of a sandbox: executables and manifests."""


@sandbox.command("prepare")
@click.option("--verify", is_flag=True, help="Read every file in the cache and compare its checksum.")
@pass_state
def prepare_parts(state: State, verify: bool) -> None:
    """Download or build what a sandbox runs, into the cache. With a full cache nothing is done."""
    from capi_llm.sandbox import executables

    with state.console.drawing() as drawing:
        report = StepReport(state.console, drawing)

        def progress(part: str, message: str, fraction: float | None) -> None:
            report.progress(part, message, fraction)

        paths = executables.bring(state.settings, progress=progress, verify=verify)
    click.echo("\n".join(columns([(name, str(path)) for name, path in sorted(paths.items())])))


COMMANDS = (sandbox,)
