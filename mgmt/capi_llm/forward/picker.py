"""Picks a ready pod for each connection, and waits for one where there is none."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from capi_llm.errors import CapiLlmError, Forbidden, TimedOut, Unauthorized
from capi_llm.forward.bell import LoopBell, heard
from capi_llm.forward.routes import Endpoint
from capi_llm.forward.targets import Target
from capi_llm.forward.tunnel import Tunnel
from capi_llm.forward.watched import Watched

AVOID_SECONDS = 10.0
"""A pod that has failed comes last for so long."""
NOT_ALLOWED_SECONDS = 5.0
"""401 and 403 are believed after so long: an API server that is just starting says them too."""
_LONGEST_PAUSE = 2.0
_REST = 0.05
"""Between two tries also where changes come all the time."""


class Picker:
    """Connects to pods of one target. ``wait`` is how many seconds one connection waits for a ready pod."""

    def __init__(self, target: Target, watched: Watched, bell: LoopBell, wait: float) -> None:
        self._target = target
        self._watched = watched
        self._bell = bell
        self.wait = wait
        self._avoided: dict[Endpoint, float] = {}
        self._busy: Counter[Endpoint] = Counter()

    @property
    def changed(self) -> asyncio.Event:
        """Set when anything changes in the cluster."""
        return self._bell.next

    async def connect(self) -> tuple[Tunnel, str]:
        """A tunnel to a ready pod, and the Host header that requests are to carry ("": their own).

        Raises TimedOut where there was none for the whole wait, Unauthorized, Forbidden. The
        caller gives the tunnel's endpoint back to :meth:`release`.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        pause = 0.05
        while True:
            event = self.changed
            why, error = "", None
            try:
                route = await self._watched.route(self._target.place)
                why = route.why
                for endpoint in self._ordered(route.endpoints):
                    self._busy[endpoint] += 1
                    try:
                        return await Tunnel.open(await self._watched.login(), endpoint), route.host
                    except BaseException as failure:
                        self.release(endpoint)
                        if not isinstance(failure, CapiLlmError):
                            raise
                        self.avoid(endpoint)
                        why, error = failure.brief, failure
                        if isinstance(failure, Unauthorized):
                            await self._watched.renew()
            except CapiLlmError as failure:
                why, error = failure.brief, failure
            waited = loop.time() - began
            if isinstance(error, Unauthorized | Forbidden) and waited >= NOT_ALLOWED_SECONDS:
                raise error
            if waited >= self.wait:
                raise TimedOut(f"nothing answers after {self.wait:.0f} s", on=str(self._target), why=why)
            await asyncio.sleep(_REST)
            await heard(event, min(pause, self.wait - waited))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def release(self, endpoint: Endpoint) -> None:
        """A connection to ``endpoint`` has ended."""
        self._busy[endpoint] -= 1
        if self._busy[endpoint] <= 0:
            del self._busy[endpoint]

    def avoid(self, endpoint: Endpoint) -> None:
        """Take other pods first for a while."""
        now = asyncio.get_running_loop().time()
        self._avoided = {known: until for known, until in self._avoided.items() if until > now}
        self._avoided[endpoint] = now + AVOID_SECONDS

    def gone(self, endpoint: Endpoint) -> str:
        return self._watched.gone(endpoint)

    def ending(self, endpoint: Endpoint) -> str:
        return self._watched.ending(endpoint)

    def ready(self, endpoint: Endpoint) -> bool:
        return self._watched.ready(endpoint)

    def _ordered(self, endpoints: tuple[Endpoint, ...]) -> list[Endpoint]:
        """Those that have not failed lately first, and of these the one with the fewest connections."""
        now = asyncio.get_running_loop().time()

        def key(endpoint: Endpoint) -> tuple[bool, int, float]:
            return self._avoided.get(endpoint, 0) > now, self._busy[endpoint], random.random()

        return sorted(endpoints, key=key)
