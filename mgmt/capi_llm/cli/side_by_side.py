"""The same work on several clusters at once: one picture with a part for each, and one end for all."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from capi_llm.cli.console import MARKS, Console, Drawing, split_mark

if TYPE_CHECKING:
    from capi_llm.cli.options import State
    from capi_llm.errors import CapiLlmError
    from capi_llm.waiting import Status

AT_ONCE = 4
"""More would not be done sooner: helm, which renders the charts, takes a processor for each."""

Work = Callable[["State", str], None]


def run(state: State, clusters: Sequence[str], work: Work) -> list[CapiLlmError]:
    """Do ``work`` on each of ``clusters``, by their words ``NAMESPACE/NAME``; returns what failed, in their
    order, for the caller to say.

    ``work`` gets a state of its own, whose console names the cluster, and whose ``cancel`` is set when
    the user wants to stop.
    """
    from capi_llm.errors import CapiLlmError, Interrupted
    from capi_llm.waiting import Cancel

    cancel = Cancel()
    failures: dict[str, CapiLlmError] = {}
    with state.console.drawing() as drawing:
        whole = _Whole(state.console, drawing, clusters)

        def one(cluster: str) -> None:
            own = copy.copy(state)  # with the settings that were read already
            own.console, own.cancel = _Part(whole, cluster), cancel
            try:
                cancel.check()
                work(own, cluster)
            except Interrupted:
                raise
            except CapiLlmError as error:
                error.on = error.on or f"cluster {cluster}"
                whole.show(cluster, [f"{MARKS['Failed'][0]} {error.what}"])
                failures[cluster] = error

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="side-by-side") as pool:
            try:
                for done in [pool.submit(one, cluster) for cluster in clusters]:
                    done.result()
            except BaseException:
                cancel.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    whole.end()
    return [failures[cluster] for cluster in clusters if cluster in failures]


class _Whole:
    """The picture, and what is to be said when it is gone."""

    def __init__(self, console: Console, drawing: Drawing, clusters: Sequence[str]) -> None:
        self.console = console
        self._drawing = drawing
        self._lines: dict[str, list[str]] = {cluster: [] for cluster in clusters}
        self._kept: dict[str, list[Callable[[], None]]] = {cluster: [] for cluster in clusters}
        self._lock = threading.Lock()

    def show(self, cluster: str, lines: Sequence[str], plain: Sequence[str] | None = None) -> None:
        own = [_named(cluster, line) for line in lines]
        with self._lock:
            self._lines[cluster] = own
            every = [line for part in self._lines.values() for line in part]
            said = own if plain is None else [_named(cluster, line) for line in plain]
            self._drawing.show(every, plain=said)

    def keep(self, cluster: str, say: Callable[[], None]) -> None:
        """Have it said at the end: in the order of clusters, and when nothing is drawn any more."""
        self._kept[cluster].append(say)

    def end(self) -> None:
        for part in self._kept.values():
            for say in part:
                say()


class _Part(Console):
    """The console of one of them."""

    def __init__(self, whole: _Whole, cluster: str) -> None:
        super().__init__(quiet=whole.console.quiet)
        self._whole = whole
        self._cluster = cluster

    def say(self, text: str) -> None:
        named = text if self._cluster in text else f"{self._cluster}: {text}"
        self._whole.keep(self._cluster, lambda: self._whole.console.say(named))

    def error(self, error: CapiLlmError) -> None:
        self._whole.keep(self._cluster, lambda: self._whole.console.error(error))

    def mark(self, status: Status, text: str) -> None:
        # Instead of a line for each app: of many clusters only those under way are of interest.
        self._whole.show(self._cluster, [f"{MARKS[status.state.value][0]} {text}"], plain=[])
        self._whole.keep(self._cluster, lambda: self._whole.console.mark(status, f"{self._cluster}: {text}"))

    @contextlib.contextmanager
    def drawing(self) -> Iterator[Drawing]:
        yield _PartOfDrawing(self, self._whole, self._cluster)


class _PartOfDrawing(Drawing):
    def __init__(self, console: Console, whole: _Whole, cluster: str) -> None:
        super().__init__(console)
        self._whole = whole
        self._cluster = cluster

    def show(self, lines: Sequence[str], plain: Sequence[str] | None = None) -> None:
        self._whole.show(self._cluster, lines, plain)


def _named(cluster: str, line: str) -> str:
    if cluster in line:
        return line
    before, mark, _, after = split_mark(line)
    return f"{before}{mark} {cluster} {after}" if mark else f"{cluster} {line}"
