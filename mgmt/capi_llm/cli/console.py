"""What people see on stderr: steps, live trees, messages, errors; and data on stdout.

On a terminal things under way are drawn in place; elsewhere each change is one plain line.
Colour follows NO_COLOR and the terminal, as rich does.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from capi_llm.errors import CapiLlmError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType

    from capi_llm.waiting import Status

MARKS = {"Ready": ("✓", "green"), "Pending": ("…", "yellow"), "Failed": ("✗", "red")}
_QUIET_SECONDS = 10.0
"""Off a terminal, progress of one thing is said at most this often."""


class Console:
    """One per run. ``quiet`` leaves out progress; errors and data are always shown."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._rich: RichConsole | None = None

    @property
    def rich(self) -> RichConsole:
        if self._rich is None:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        return self._rich

    @property
    def live(self) -> bool:
        """Whether things can be drawn in place."""
        # Not rich's own idea of a terminal alone: FORCE_COLOR makes it see one in a log file.
        return not self.quiet and sys.stderr.isatty() and not self.rich.is_dumb_terminal

    def say(self, text: str) -> None:
        """One message for a person."""
        if not self.quiet:
            click.echo(text, err=True)

    def error(self, error: CapiLlmError) -> None:
        """What failed, on what, why, and what to do."""
        click.echo(click.style("Error: ", fg="red", bold=True) + str(error), err=True, color=self._colour())

    def mark(self, status: Status, text: str) -> None:
        """One line with the state's mark."""
        if not self.quiet:
            mark, colour = MARKS[status.state.value]
            click.echo(click.style(mark, fg=colour) + " " + text, err=True, color=self._colour())

    @contextlib.contextmanager
    def drawing(self) -> Iterator[Drawing]:
        """A place that is drawn again and again until the block ends."""
        drawing = Drawing(self)
        try:
            yield drawing
        finally:
            drawing.close()

    def _colour(self) -> bool | None:
        from capi_llm.settings import no_colour

        return False if no_colour() else None


class Drawing:
    """Lines that stay in place on a terminal; elsewhere a changed line is printed once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Any = None
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def show(self, lines: Sequence[str], plain: Sequence[str] | None = None) -> None:
        """Draw ``lines`` (rich markup is not interpreted); ``plain`` is said off a terminal instead."""
        with self._lock:
            if self._console.live:
                self._draw(_text(lines))
            elif not self._console.quiet:
                for line in lines if plain is None else plain:
                    if line not in self._said:
                        self._said.add(line)
                        click.echo(line, err=True)

    def _draw(self, renderable: RenderableType) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                renderable,
                console=self._console.rich,
                transient=True,
                auto_refresh=False,
                vertical_overflow="ellipsis",
            )
            self._live.start()
        self._live.update(renderable, refresh=True)

    def close(self) -> None:
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None


def _text(lines: Sequence[str]) -> RenderableType:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(lines):
        text.append("\n" * (number > 0))
        before, mark, colour, after = split_mark(line)
        text.append(before).append(mark, style=colour).append(after)
    return text


class StepReport:
    """Shows the steps of a recipe as they go: implements ``steps.context.Report``."""

    def __init__(self, console: Console, drawing: Drawing) -> None:
        self._console = console
        self._drawing = drawing
        self._running: dict[str, str] = {}
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def step(self, name: str, status: Status, *, outcome: str = "", seconds: float = 0.0) -> None:
        with self._lock:
            if not outcome:
                self._running[name] = status.message
                self._draw()
                return
            self._running.pop(name, None)
            self._draw()
            if outcome != "unchanged":
                self._print(status, f"{name}: {status.message} ({took(seconds)})")

    def progress(self, name: str, message: str, fraction: float | None = None) -> None:
        text = message if fraction is None else f"{message} {_bar(fraction)}"
        with self._lock:
            self._running[name] = text
            now = time.monotonic()
            if self._console.live:
                self._draw()
            elif now - self._said.get(name, -_QUIET_SECONDS) >= _QUIET_SECONDS:
                self._said[name] = now
                self._console.say(f"… {name}: {text}")

    def _draw(self) -> None:
        if self._console.live:
            self._drawing.show([f"… {name}: {message}" for name, message in self._running.items()])

    def _print(self, status: Status, text: str) -> None:
        if self._console.live:
            mark, colour = MARKS[status.state.value]
            from rich.text import Text

            self._console.rich.print(Text.assemble((mark, colour), " ", text))
        else:
            self._console.mark(status, text)


def took(seconds: float) -> str:
    """``4.2 s``, ``7 min 19 s``."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def split_mark(line: str) -> tuple[str, str, str, str]:
    """A line of a tree as what stands before its mark, the mark, the mark's colour and the rest.

    All of a line without a mark comes first, and the others are empty.
    """
    for mark, colour in MARKS.values():
        if line.lstrip(" │├└─").startswith(mark):
            before, _, after = line.partition(mark)
            return before, mark, colour, after
    return line, "", "", ""


def coloured(line: str) -> str:
    """A line of a tree for ``click.echo``, its mark in colour."""
    before, mark, colour, after = split_mark(line)
    return before + click.style(mark, fg=colour) + after if mark else line


def _bar(fraction: float) -> str:
    full = max(0, min(20, round(fraction * 20)))
    return f"[{'█' * full}{'░' * (20 - full)}] {fraction * 100:3.0f} %"


def data(value: Any, output: str, *, stream: bool = False) -> None:
    """Print ``value`` on stdout as JSON or YAML; as one of a ``stream``: a line, or a document."""
    if output == "json":
        import json

        click.echo(json.dumps(value, indent=None if stream else 2))
    else:
        from capi_llm import documents

        click.echo("---\n" * stream + documents.written(value), nl=False)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """``rows`` as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)] if rows else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def interactive() -> bool:
    """Whether a person can be asked something."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


def standard_input(*, line: bool = False) -> str:
    """All of stdin, or its first ``line``. Raises BadInput where it is closed or no text."""
    from capi_llm.errors import BadInput

    try:
        return sys.stdin.readline() if line else sys.stdin.read()
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput("standard input can not be read", why=str(error).partition("!")[0]) from error
