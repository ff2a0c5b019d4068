"""One informer per kind and namespace, and one bell for everything that waits on them."""

from __future__ import annotations

import threading

from capi_llm.errors import CapiLlmError
from capi_llm.kube.client import Api
from capi_llm.kube.informer import Informer
from capi_llm.kube.resources import Resource
from capi_llm.waiting import Cancel, Wakeup


class Informers:
    """The informers of one API server, started when first asked for. Thread-safe.

    ``wakeup`` rings on every change of any of them: give it to a :class:`~capi_llm.waiting.Waiter`.
    It may be given, to be shared with those of another server. ``cancel`` ends waiting for a first list.
    """

    def __init__(self, api: Api, *, cancel: Cancel | None = None, wakeup: Wakeup | None = None) -> None:
        self.api = api
        self.wakeup = wakeup or Wakeup()
        self._cancel = cancel
        self._lock = threading.Lock()
        self._informers: dict[tuple[Resource, str | None], Informer] = {}
        self._closed = False

    def of(self, resource: Resource, namespace: str | None = None, *, timeout: float = 30.0) -> Informer:
        """The informer of ``resource`` in ``namespace``, or everywhere, with its first list in.

        Raises NotFound where the kind does not exist (ask again when it does), Unavailable
        where the list is not in after ``timeout`` seconds, Unauthorized and Forbidden.
        """
        with self._lock:
            if self._closed:
                raise CapiLlmError("the informers are closed", on=str(resource))
            informer = self._informers.get((resource, namespace))
            if informer is None:
                informer = Informer(self.api, resource, namespace)
                informer.add_wakeup(self.wakeup)
                self._informers[resource, namespace] = informer.start()
        informer.wait_synced(timeout, self._cancel)
        return informer

    @property
    def trouble(self) -> str:
        """Why what is known may be behind just now; empty while every watch is up."""
        with self._lock:
            informers = list(self._informers.values())
        return next((informer.trouble for informer in informers if informer.trouble), "")

    def close(self) -> None:
        """Stop all of them."""
        with self._lock:
            self._closed = True
            informers = list(self._informers.values())
            self._informers.clear()
        for informer in informers:
            informer.stop()

    def __enter__(self) -> Informers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
