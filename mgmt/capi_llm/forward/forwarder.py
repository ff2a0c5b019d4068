"""All forwards of one run: local ports that listen from beginning to end, and a loop that serves them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Any, TypeVar

from capi_llm.errors import BadInput, CapiLlmError, NotFound
from capi_llm.forward import WAIT_SECONDS, ports, routes, targets
from capi_llm.forward.bell import LoopBell
from capi_llm.forward.picker import Picker
from capi_llm.forward.session import CHUNK, Session
from capi_llm.forward.targets import Target
from capi_llm.forward.watched import Watched, missing
from capi_llm.kube.credentials import Credentials

_REPEAT_SECONDS = 10.0
"""The same trouble is told again after so long at the earliest."""
_STOP_SECONDS = 5.0

Report = Callable[[str, str], None]
"""Told ``(name of the forward, what happened)``, from the loop's thread."""

_Value = TypeVar("_Value")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forward:
    """One forward that listens."""

    target: Target
    address: str
    port: int
    knative: bool = False

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def url(self) -> str:
        """What to put into a browser or a client."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.target.scheme}://{host}:{self.port}"


class Forwarder:
    """Listens and serves in a thread of its own. Use :func:`capi_llm.forward.forwarding`."""

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        auto_port: bool = False,
        wait: float = WAIT_SECONDS,
        report: Report | None = None,
        known: Callable[[int], str] = lambda port: "",
    ) -> None:
        self._address, self._auto_port, self._wait, self._known = address, auto_port, wait, known
        self._report = report or (lambda name, text: None)
        self._told: dict[tuple[str, str], float] = {}
        self._clusters: list[Watched] = []
        self._servers: list[asyncio.Server] = []
        self._sessions: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forward", daemon=True)

    def start(self, origins: Sequence[tuple[Credentials, Sequence[Target]]]) -> list[Forward]:
        """Listen for every target; each cluster's come with its credentials.

        Returns when all listen. Raises NotFound where a Service is not there, BadInput for a port
        that it has not, PrerequisiteMissing for a local port that is busy, or what the API server says.
        """
        self._thread.start()
        try:
            return self._in_loop(self._begin(origins))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening and reset what is under way."""
        if not self._loop.is_closed():
            with contextlib.suppress(TimeoutError):
                self._in_loop(asyncio.wait_for(self._finish(), _STOP_SECONDS))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._sessions)

    def _in_loop(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _begin(self, origins: Sequence[tuple[Credentials, Sequence[Target]]]) -> list[Forward]:
        bell = LoopBell(self._loop)
        made: list[tuple[Forward, socket, Picker]] = []
        try:
            for credentials, wanted in origins:
                watched = Watched(credentials, bell)
                self._clusters.append(watched)
                for target in wanted:
                    made.append(await self._listen(target, watched, bell))
        except BaseException:
            for _, line, _ in made:
                line.close()
            raise
        for forward, line, picker in made:
            self._servers.append(
                await asyncio.start_server(self._server(forward, picker), sock=line, limit=CHUNK)
            )
        return [forward for forward, _, _ in made]

    async def _listen(
        self, target: Target, watched: Watched, bell: LoopBell
    ) -> tuple[Forward, socket, Picker]:
        place = target.place
        try:
            await watched.route(place)
        except CapiLlmError as error:
            raise missing(error) from error
        service = watched.service(place.namespace, place.service)
        if service is None:
            raise NotFound(
                f"there is no Service {place.namespace}/{place.service}",
                fix="name its namespace with -n, or deliver the app first",
            )
        knative = routes.is_knative(service)
        if not knative:
            target = targets.local_port(target, int(routes.port_of(service, place.port)["port"]))
        elif target.local == targets.SAME:
            raise BadInput(f"{target.name} needs a local port", why="its Service is Knative's",
                           fix=f"svc/{place.service}:LOCAL:80")  # fmt: skip
        line = ports.bind(
            self._address, target.local, auto=self._auto_port, name=target.name, known=self._known
        )
        forward = Forward(target, self._address, line.getsockname()[1], knative)
        return forward, line, Picker(target, watched, bell, self._wait)

    def _server(
        self, forward: Forward, picker: Picker
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            why = await Session(picker, reader, writer).run()
            if why:
                self._tell(forward.name, why)

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(serve(reader, writer))
            self._sessions.add(task)
            task.add_done_callback(self._ended)

        return accepted

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sessions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection ended with %r", error, exc_info=error)

    def _tell(self, name: str, text: str) -> None:
        now = self._loop.time()
        self._told = {key: at for key, at in self._told.items() if now - at < _REPEAT_SECONDS}
        if (name, text) not in self._told:
            self._told[name, text] = now
            self._report(name, text)

    async def _finish(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await asyncio.gather(*(watched.close() for watched in self._clusters), return_exceptions=True)
