"""Trees as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capi_llm.cli.console import MARKS

if TYPE_CHECKING:
    from capi_llm.clusters.tree import Node
    from capi_llm.waiting import Status


def lines(node: Node) -> list[str]:
    """``node`` and all below it, one line each, with what is not ready and why."""
    return [text(node.label, node.status), *_children(node, "")]


def text(label: str, status: Status) -> str:
    """One line: mark, label, and the message of what is not ready."""
    mark, _ = MARKS[status.state.value]
    line = f"{mark} {label}"
    if status.ready:
        return line
    message = f"{status.message} ({status.cause})" if status.cause else status.message
    return f"{line}  {message}" if message else line


def _children(node: Node, indent: str) -> Iterator[str]:
    for number, child in enumerate(node.children, 1):
        last = number == len(node.children)
        yield f"{indent}{'└─' if last else '├─'} {text(child.label, child.status)}"
        yield from _children(child, indent + ("   " if last else "│  "))
