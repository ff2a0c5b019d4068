"""Which kubeconfig and which context would be used for an existing cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capi_llm.checks import Check, missing, ok, warning
from capi_llm.errors import BadInput
from capi_llm.kube import kubeconfig


@dataclass(frozen=True)
class Kubeconfig:
    """Facts. ``source`` says who named the file; ``problem`` why it can not be used, "" if it can."""

    path: str
    source: str
    contexts: tuple[str, ...] = ()
    current: str = ""
    asked: str = ""
    problem: str = ""
    more: int = 0

    @property
    def context(self) -> str:
        return self.asked or self.current

    @property
    def usable(self) -> bool:
        return not self.problem and self.context in self.contexts


def gather(env: Mapping[str, str], *, path: Path | None, context: str) -> Kubeconfig:
    """``path`` and ``context`` are those of the command line; else KUBECONFIG, else the user's own file."""
    if path is not None:
        return _look(path, "--kubeconfig", context, 0)
    named = [Path(word) for word in env.get("KUBECONFIG", "").split(os.pathsep) if word]
    if named:
        there = [file for file in named if file.is_file()]
        return _look((there or named)[0], "KUBECONFIG", context, len(there[1:]))
    return _look(Path(env.get("HOME") or "~").expanduser() / ".kube" / "config", "the default", context, 0)


def judge(seen: Kubeconfig) -> list[Check]:
    where = f"{seen.path} ({seen.source})"
    if seen.problem:
        return [missing("kubeconfig", f"{where}: {seen.problem}", "name one with --kubeconfig FILE")]
    found = [ok("kubeconfig", where)]
    if seen.more:
        found = [
            warning(
                "kubeconfig",
                f"{where}; KUBECONFIG names {seen.more} more, not looked at",
                "name one with --kubeconfig",
            )
        ]
    if not seen.contexts:
        return [*found, missing("context", "the kubeconfig has none", "name another kubeconfig")]
    there = f"there are: {', '.join(seen.contexts[:8])}{', …' if len(seen.contexts) > 8 else ''}"
    if seen.asked and seen.asked not in seen.contexts:
        return [
            *found,
            missing("context", f"there is none called {seen.asked!r}; {there}", "name one of them"),
        ]
    if not seen.context or seen.context not in seen.contexts:
        return [*found, missing("context", f"none is current; {there}", "name one with --context")]
    if not seen.asked:
        text = f"{seen.context} is the current one; a management plane is to be named"
        return [*found, warning("context", text, f"--context {seen.context}")]
    return [*found, ok("context", seen.context)]


def _look(path: Path, source: str, context: str, more: int) -> Kubeconfig:
    try:
        contexts, current = kubeconfig.contexts_of(path)
    except BadInput as error:
        return Kubeconfig(str(path), source, asked=context, problem=error.why)
    return Kubeconfig(str(path), source, tuple(contexts), current, context, "", more)
