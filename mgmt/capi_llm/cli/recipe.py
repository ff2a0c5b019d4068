"""A plane's recipe on the command line: its plan shown, the question, then its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.console import StepReport, columns, data
from capi_llm.cli.options import State, confirm

if TYPE_CHECKING:
    from capi_llm.plane import Chosen
    from capi_llm.settings import Settings
    from capi_llm.steps.engine import Result
    from capi_llm.steps.overview import Overview


def carry_out(
    state: State,
    settings: Settings,
    chosen: Chosen,
    *,
    upgrade: Overview | None = None,
    yes: bool = False,
    patience: float | None = None,
) -> list[Result]:
    """Bring every step of the plane about. The plan of an ``upgrade`` is shown first, and asked about
    where it would do anything."""
    from capi_llm import plane
    from capi_llm.waiting import Cancel

    if upgrade is not None:
        show_plan(upgrade, err=True)
        if not upgrade.ready:
            confirm(state, f"Upgrade plane {chosen.name!r} so?", yes=yes)
    with state.console.drawing() as drawing:
        results = plane.bootstrap(
            settings,
            name=chosen.name,
            kind=chosen.kind,
            cancel=Cancel(),
            report=StepReport(state.console, drawing),
            upgrade=upgrade is not None,
            patience=patience,
        )
    done = sum(result.outcome == "done" for result in results)
    if done:
        rest = ", the others were in place" if done < len(results) else ""
        state.console.say(f"Plane {chosen.name!r} is ready: {done} of {len(results)} steps done{rest}.")
    else:
        state.console.say(
            f"Plane {chosen.name!r} is ready: all {len(results)} steps were in place, nothing was changed."
        )
    return results


def show_plan(planned: Overview, output: str = "table", *, err: bool = False) -> None:
    """Each step, whether it would be kept or done, and why."""
    if output != "table":
        data(_as_json(planned), output)
        return
    dated = any(result.version for result in planned.steps)
    rows = [("STEP", *(["VERSION"] if dated else []), "WOULD", "WHY")]
    rows += [
        (
            result.step,
            *([result.version] if dated else []),
            _would(result),
            result.status.message,
        )
        for result in planned.steps
    ]
    click.echo("\n".join(columns(rows)), err=err)


def _would(result: Result) -> str:
    return "keep" if result.status.ready else "do"


def _as_json(planned: Overview) -> dict[str, Any]:
    return {
        "apiVersion": versions.API_VERSION,
        "plane": {"name": planned.identity.name, "kind": planned.identity.kind},
        "done": planned.ready,
        "steps": [
            {
                "step": result.step,
                "version": result.version,
                "would": _would(result),
                "why": result.status.message,
            }
            for result in planned.steps
        ],
    }
