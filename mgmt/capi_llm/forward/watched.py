"""What is known of one cluster: Services, EndpointSlices and pods, kept by informers.

Only the namespaces that are asked for are watched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from capi_llm.errors import CapiLlmError, Forbidden, NotFound, Unauthorized
from capi_llm.forward import routes
from capi_llm.forward.routes import Endpoint, Route
from capi_llm.forward.targets import Place
from capi_llm.kube.cache import Informers
from capi_llm.kube.client import Api
from capi_llm.kube.credentials import Credentials, Login
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Object, Resource
from capi_llm.waiting import Wakeup

_WATCHED = (SERVICES, ENDPOINT_SLICES, PODS)


class Watched:
    """One cluster, seen from an event loop. ``bell`` rings when anything changes."""

    def __init__(self, credentials: Credentials, bell: Wakeup) -> None:
        self._credentials = credentials
        self._bell = bell
        self._api = Api(credentials)
        self._informers = Informers(self._api)
        self._known: dict[tuple[Resource, str], Informer] = {}
        self._beginning = asyncio.Lock()

    async def login(self) -> Login:
        return await asyncio.to_thread(self._credentials.login)

    async def renew(self) -> None:
        """Read the kubeconfig again, after a login that was not accepted."""
        await asyncio.to_thread(self._credentials.reload)

    async def route(self, place: Place) -> Route:
        """Where a connection to ``place`` goes now. Raises what ends an informer: see Informers.of."""
        await self._watch(place.namespace)
        for namespace in routes.namespaces(place, self):
            await self._watch(namespace)
        return routes.route(place, self)

    def gone(self, endpoint: Endpoint) -> str:
        """Why nothing can come from ``endpoint`` any more; "" while its pod is there, or nobody knows."""
        with contextlib.suppress(CapiLlmError):
            return routes.gone(endpoint, self)
        return ""

    def ending(self, endpoint: Endpoint) -> str:
        """The same, and why where its pod is about to end."""
        with contextlib.suppress(CapiLlmError):
            return routes.ending(endpoint, self)
        return ""

    def ready(self, endpoint: Endpoint) -> bool:
        with contextlib.suppress(CapiLlmError):
            return routes.ready(endpoint, self)
        return True

    @property
    def trouble(self) -> str:
        """Why what is known may be behind; "" while every watch is up."""
        return self._informers.trouble

    def service(self, namespace: str, name: str) -> Object | None:
        return self._known[SERVICES, namespace].find(name)

    def slices(self, namespace: str, service: str) -> Iterable[Object]:
        for item in self._known[ENDPOINT_SLICES, namespace].items():
            if (item["metadata"].get("labels") or {}).get(routes.SERVICE_LABEL) == service:
                yield item

    def pod(self, namespace: str, name: str) -> Object | None:
        informer = self._known.get((PODS, namespace))
        return informer.find(name) if informer else None

    async def close(self) -> None:
        await asyncio.to_thread(self._informers.close)
        self._api.close()

    async def _watch(self, namespace: str) -> None:
        async with self._beginning:
            await self._watch_alone(namespace)

    async def _watch_alone(self, namespace: str) -> None:
        if all((kind, namespace) in self._known for kind in _WATCHED):
            try:
                for kind in _WATCHED:
                    self._known[kind, namespace].check()
                return
            except (Unauthorized, Forbidden):
                await self._begin_again()
        found = await asyncio.gather(
            *(asyncio.to_thread(self._informers.of, kind, namespace) for kind in _WATCHED)
        )
        for kind, informer in zip(_WATCHED, found, strict=True):
            if (kind, namespace) not in self._known:
                informer.add_wakeup(self._bell)
                self._known[kind, namespace] = informer

    async def _begin_again(self) -> None:
        """An informer ends where its login is not accepted; a login may be given back."""
        old, self._informers, self._known = self._informers, Informers(self._api), {}
        await asyncio.to_thread(old.close)


def missing(error: CapiLlmError) -> CapiLlmError:
    """``error`` of an API server that has no EndpointSlices, in words that say what kind it is."""
    if isinstance(error, NotFound):
        return NotFound(
            "this cluster can not be forwarded to",
            why="its API server has no EndpointSlices: it is simulated in memory and runs no pods",
            fix="make the cluster of a class whose pods can be reached",
        )
    return error
