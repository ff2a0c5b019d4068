"""One connection of a local program: a pod is picked, bytes go both ways, and the end is told honestly.

An end that the pod itself made reaches the program as an end. Whatever else ends the connection (the
pod is deleted, the API server goes away, the kubelet reports an error) reaches it as a reset, so that
half of an answer is never taken for all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct

from capi_llm.errors import CapiLlmError
from capi_llm.forward.bell import heard
from capi_llm.forward.heads import HostRewriter
from capi_llm.forward.picker import Picker
from capi_llm.forward.ports import peer_is_open
from capi_llm.forward.tunnel import Broken, Tunnel

CHUNK = 256 * 1024
KEEP_ALIVE_SECONDS = 20.0
SILENT_SECONDS = 45.0
"""A pod that is not ready and has given no sign of life for so long, is lost."""
HALF_CLOSED_SECONDS = 60.0
"""After a program has said that it sends no more, silence of the pod for so long is the end: a pod that
waits for that end would wait for ever, as the WebSocket can not tell it."""
_LOOK_SECONDS = 1.0
"""Between two looks whether a program that sends no more is still there."""
_LINGER_SECONDS = 2.0
_LONGEST_PAUSE = 2.0
"""Between two tries where every pod refuses."""
_ALIVE_SECONDS = 1.0
_REPLAYED = 64 * 1024
"""Bytes of a program that are kept, to be sent again to another pod where the first one refused."""

_log = logging.getLogger(__name__)


class Session:
    """Serves one connection. :meth:`run` returns why it was reset, "" where it ended well."""

    def __init__(self, picker: Picker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._picker = picker
        self._reader, self._writer = reader, writer
        self._host: HostRewriter | None = None
        self._sent: bytearray | None = bytearray()
        """What was sent so far, None once it is too much or an answer has begun."""
        self._slow = False
        """Nothing is read from the pod, as the program does not take what came."""

    async def run(self) -> str:
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), 0.1
        try:
            while True:
                tunnel, host = await self._connect()
                if tunnel is None:
                    return ""  # the program did not wait
                try:
                    if await self._serve(tunnel, host):
                        await self._end()
                    return ""
                except Broken as error:
                    self._picker.avoid(tunnel.endpoint)
                    if not error.refused or self._sent is None or loop.time() - began >= self._picker.wait:
                        raise
                    _log.debug("%s; trying another pod", error)
                finally:
                    self._picker.release(tunnel.endpoint)
                    await tunnel.close()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        except (Broken, CapiLlmError) as error:
            self._reset()
            return error.brief if isinstance(error, CapiLlmError) else str(error)
        except ConnectionError:
            return ""  # the program has gone away
        except BaseException:
            self._reset()
            raise
        finally:
            self._writer.transport.abort()

    async def _connect(self) -> tuple[Tunnel | None, str]:
        """A tunnel, or None where the program goes away while there is none."""
        connecting = asyncio.ensure_future(self._picker.connect())
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({connecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return (await connecting) if connecting.done() else (None, "")
        finally:
            leaving.cancel()
            connecting.cancel()

    async def _left(self) -> None:
        """Returns when the program has closed without having sent anything."""
        while not self._reader.at_eof():
            await asyncio.sleep(0.25)

    async def _serve(self, tunnel: Tunnel, host: str) -> bool:
        """Both directions until the end; whether it was the pod that ended. Raises Broken."""
        if host and self._host is None:
            self._host = HostRewriter(host)
        down = asyncio.ensure_future(self._download(tunnel))
        up = asyncio.ensure_future(self._upload(tunnel))
        guard = asyncio.ensure_future(self._guard(tunnel))
        tasks = {down, up, guard}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if up.done() and isinstance(up.exception(), Broken):
                # The line has broken for both, and the other direction hears why.
                await asyncio.wait({down, guard}, return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not down.done() and not guard.done():
                up.result()
                await self._last_words(tunnel, down, guard)
            for task in (guard, down):
                if task.done():
                    task.result()
            if why := self._picker.ending(tunnel.endpoint):
                raise Broken(why)  # the end of a program that was killed looks like any other
            return down.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _last_words(
        self, tunnel: Tunnel, down: asyncio.Future[None], guard: asyncio.Future[None]
    ) -> None:
        """The program sends no more: what still comes is for it, as long as it is there and something comes.

        Raises ConnectionError where it has gone away, Broken where nothing came for a while.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not down.done() and not guard.done():
            there = peer_is_open(self._writer.get_extra_info("socket"))
            if there is False:
                raise ConnectionAbortedError
            quiet = min(tunnel.silent, loop.time() - began)
            if quiet >= HALF_CLOSED_SECONDS:
                raise Broken(f"{tunnel.endpoint}: nothing came for {HALF_CLOSED_SECONDS:.0f} s after the end "
                             "of what was sent, and a pod can not be told that end")  # fmt: skip
            await asyncio.wait(
                {down, guard},
                timeout=min(_LOOK_SECONDS, HALF_CLOSED_SECONDS - quiet),
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def _download(self, tunnel: Tunnel) -> None:
        while (data := await tunnel.receive()) is not None:
            self._sent = None
            self._writer.write(data)
            self._slow = True
            await self._writer.drain()
            self._slow = False

    async def _upload(self, tunnel: Tunnel) -> None:
        if self._sent:
            await tunnel.send(bytes(self._sent))  # what another pod has refused
        while data := await self._reader.read(CHUNK):
            if self._host is not None:
                data = self._host.feed(data)
            if self._sent is not None:
                self._sent += data
                if len(self._sent) > _REPLAYED:
                    self._sent = None
            if data:
                await tunnel.send(data)

    async def _guard(self, tunnel: Tunnel) -> None:
        """Raises Broken when nothing can come from the pod any more, though nothing says so on the line."""
        loop = asyncio.get_running_loop()
        due = loop.time() + KEEP_ALIVE_SECONDS
        while True:
            event = self._picker.changed
            if why := self._picker.gone(tunnel.endpoint):
                raise Broken(why)
            silent = tunnel.silent > SILENT_SECONDS and not self._slow
            if silent and not self._picker.ready(tunnel.endpoint):
                raise Broken(f"{tunnel.endpoint} is not ready and gives no sign of life")
            await heard(event, max(0.0, due - loop.time()))
            if loop.time() >= due:
                due = loop.time() + KEEP_ALIVE_SECONDS
                with contextlib.suppress(TimeoutError):  # a pod that reads nothing holds up what is sent
                    async with asyncio.timeout(_ALIVE_SECONDS):
                        await tunnel.keep_alive()

    async def _end(self) -> None:
        """Say that nothing more comes, and let the program read the last of it."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()
            # Closing with unread bytes of the program would reset what it has not read yet.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    while await self._reader.read(CHUNK):
                        pass
            self._writer.close()
            await self._writer.wait_closed()

    def _reset(self) -> None:
        line: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
