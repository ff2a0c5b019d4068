"""A group whose commands are imported when they are run: ``--help`` and ``--version`` import none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command of a module ``capi_llm.cli.MODULE``, and the first paragraph of its help."""

    module: str
    help: str


class Commands(MutableMapping[str, click.Command]):
    """Commands by name, those of ``table`` imported when asked for."""

    def __init__(self, table: Mapping[str, Entry]) -> None:
        self._table = dict(table)
        self._known: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            module = import_module(f"capi_llm.cli.{self._table[name].module}")
            (self._known[name],) = (command for command in module.COMMANDS if command.name == name)
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]
        self._table.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._table, **self._known})

    def __len__(self) -> int:
        return len({**self._table, **self._known})

    def about(self, name: str) -> click.Command:
        """The command, or one that only knows its help, where that is enough."""
        if name in self._known:
            return self._known[name]
        return click.Command(name, help=self._table[name].help)


class LazyGroup(click.Group):
    """A group over :class:`Commands`."""

    commands: Commands

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, self.commands))
        width = formatter.width - 6 - longest
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, self.commands.about(name).get_short_help_str(width))
                    for name in self.list_commands(ctx)
                ]
            )
