"""``status --watch``: one picture that changes on a terminal; elsewhere one line for each change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from capi_llm import live
from capi_llm.cli import scene as scenes
from capi_llm.cli import trees
from capi_llm.cli.console import coloured, data
from capi_llm.waiting import pending, ready

if TYPE_CHECKING:
    from capi_llm.cli.options import State
    from capi_llm.live import Scene

INTERRUPTED = 130


def show(state: State, name: str, output: str, namespace: str | None, everything: bool) -> int:
    """Follow until Ctrl-C; returns the exit code, 130 as of every command that Ctrl-C ends."""
    following = live.follow(state.settings, state.plane, namespace, name)
    try:
        if output != "table":
            for scene in following:
                data({**scenes.as_json(scene), "behind": scene.behind}, output, stream=True)
                sys.stdout.flush()
        elif state.console.live and sys.stdout.isatty():
            _draw(state, following, everything)
        else:
            _tell(following)
    except KeyboardInterrupt:
        pass
    return INTERRUPTED


def _draw(state: State, following: Iterator[Scene], everything: bool) -> None:
    """The last picture stays on the terminal when it ends."""
    lines: list[str] = []
    try:
        with state.console.drawing() as drawing:
            for scene in following:
                lines = scenes.lines(scene, everything=everything)
                drawing.show(lines)
    finally:
        click.echo("\n".join(map(coloured, lines)))


def _tell(following: Iterator[Scene]) -> None:
    before: dict[str, str] = {}
    for scene in following:
        now = _lines(scene)
        for what, line in now.items():
            if before.get(what) != line and (before or "✓" not in line):
                _say(line)
        for what in before.keys() - now.keys():
            _say(trees.text(f"{what} is gone", ready()))
        if not before:
            _say(scenes.verdict(scene).splitlines()[0])
        before = now


def _lines(scene: Scene) -> dict[str, str]:
    """What can change, each with its line."""
    found = {
        "the API server": trees.text(
            "API server", pending(f"is away: {scene.behind}") if scene.behind else ready()
        )
    }
    for step in scene.plane.steps:
        found[f"step {step.step}"] = trees.text(f"Step {step.step}", step.status)
    for view in scene.clusters:
        found[f"Cluster {view.namespace}/{view.name}"] = scenes.brief(view)
    return found


def _say(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {line}")
    sys.stdout.flush()
