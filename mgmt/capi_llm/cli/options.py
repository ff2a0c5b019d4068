"""What every command gets, and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from capi_llm.cli import names
from capi_llm.cli.console import Console
from capi_llm.steps import budgets

if TYPE_CHECKING:
    from capi_llm.settings import Settings
    from capi_llm.waiting import Cancel

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class State:
    """The global options of one run."""

    console: Console
    plane: str = ""
    verbose: bool = False
    debug: bool = False
    config: Path | None = None
    """The settings file of ``--config``."""

    cancel: Cancel | None = None
    """Ends what is under way in other threads; None where nothing is."""

    @cached_property
    def settings(self) -> Settings:
        from capi_llm.settings import load

        return load(self.config)

    def settings_with(self, flags: Mapping[str, tuple[str, Any]]) -> Settings:
        """:attr:`settings`, with options of the command on top: by setting, its option and value."""
        from capi_llm.settings import load

        self.__dict__["settings"] = settings = load(self.config, flags=flags)
        return settings


pass_state = click.make_pass_decorator(State)


def output(*kinds: str) -> Callable[[_Command], _Command]:
    """``-o``: the form of data on stdout."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(kinds),
        default=kinds[0],
        show_default=True,
        help="Form of the output.",
    )


def duration(default: float | None) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """The callback of an option that is a time: seconds, or 90s, 15m, 1h."""

    def parse(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return default
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", value.strip())
        if match is None:
            raise click.BadParameter(f"{value!r} is not a time such as 90s, 15m or 1h")
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]

    return parse


def timeout(budget: str, help: str = "Longest wait, such as 90s or 15m.") -> Callable[[_Command], _Command]:
    """``--timeout``: seconds, or 90s, 15m, 1h; its default is the entry ``budget`` of ``steps.budgets``,
    None without one."""
    default: float | None = getattr(budgets, budget) if budget else None
    return click.option(
        "--timeout",
        metavar="TIME",
        callback=duration(default),
        help=help if default is None else f"{help}  [default: {default / 60:.0f}m]",
    )


def yes(what: str) -> Callable[[_Command], _Command]:
    """``--yes``: without it, a person is asked and a program is refused."""
    return click.option("--yes", is_flag=True, help=f"Do not ask before {what}.")


def plane_name(command: _Command) -> _Command:
    """``--name`` after the command too, where people look for it first."""

    def set_plane(context: click.Context, parameter: click.Parameter, value: str) -> None:
        if value:
            context.meta[names.PLANE] = value  # completion has no State
            context.ensure_object(State).plane = value

    return click.option(
        "--name",
        "plane_option",
        metavar="PLANE",
        default="",
        expose_value=False,
        callback=set_plane,
        shell_complete=names.planes,
        help="Management plane.",
    )(command)


def namespace(command: _Command) -> _Command:
    return click.option(
        "-n",
        "--namespace",
        default="default",
        metavar="NAMESPACE",
        show_default=True,
        help="Namespace of the cluster.",
    )(command)


def confirm(state: State, question: str, *, yes: bool) -> None:
    """Ask; raises BadInput where nobody can answer and ``--yes`` was not given, Abort on no."""
    from capi_llm.cli.console import interactive
    from capi_llm.errors import BadInput

    if yes:
        return
    if not interactive():
        raise BadInput("this needs a confirmation", on=question, fix="add --yes")
    click.confirm(question, abort=True, err=True)
