"""``doctor``: what each kind of plane needs, and whether it is here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capi_llm import versions
from capi_llm.cli.console import MARKS, data
from capi_llm.cli.options import State, output, pass_state, plane_name

if TYPE_CHECKING:
    from capi_llm.doctor.examine import Verdict

_KINDS = ("sandbox", "kind", "existing")
_MARKS = {
    "ok": MARKS["Ready"],
    "warning": ("!", "yellow"),
    "missing": MARKS["Failed"],
    "not needed": ("-", "bright_black"),
}


@click.command()
@click.option("--plane", "kind", type=click.Choice(_KINDS), help="Only this kind of plane.")
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Of the existing cluster."
)
@click.option("--context", default="", metavar="NAME", help="Context in that kubeconfig.")
@output("table", "json", "yaml")
@plane_name
@pass_state
def doctor(state: State, kind: str | None, kubeconfig: Path | None, context: str, output: str) -> int:
    """Whether a management plane can be made here: every prerequisite, and what to do.

    Changes nothing. Ends with 3 where no plane can be made, or not the one asked for.
    """
    from capi_llm.doctor.examine import KINDS, as_json, examine
    from capi_llm.errors import PrerequisiteMissing

    verdicts = examine(
        state.settings,
        kinds=(kind,) if kind else KINDS,
        name=state.plane,
        kubeconfig=kubeconfig,
        context=context,
    )
    if output != "table":
        data({"apiVersion": versions.API_VERSION, "planes": as_json(verdicts)}, output)
    else:
        for verdict in verdicts:
            _show(verdict)
    return 0 if any(verdict.possible for verdict in verdicts) else PrerequisiteMissing.exit_code


def _show(verdict: Verdict) -> None:
    mark, colour = MARKS["Ready" if verdict.possible else "Failed"]
    click.echo(f"{click.style(mark, fg=colour)} {verdict.kind}: {verdict.message}")
    width = max((len(check.name) for check in verdict.checks), default=0)
    for check in verdict.checks:
        mark, colour = _MARKS[check.state.value]
        click.echo(f"  {click.style(mark, fg=colour)} {check.name.ljust(width)}  {check.message}")
        if check.fix:
            click.echo(f"    {' ' * width}  to go on: {check.fix}")


COMMANDS = (doctor,)
