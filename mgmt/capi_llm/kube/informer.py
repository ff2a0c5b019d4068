"""The current state of one kind of object, kept up to date by list and watch.

A thread lists once and then follows the watch. What can go wrong, and what it does:

- the connection breaks or the server goes away: the last state stays, ``trouble`` says
  why, and the watch goes on from the last resourceVersion when the server is back;
- the connection is dead but not closed: bookmarks come about once a minute, so a read
  that waits much longer is given up;
- the resourceVersion is too old (410, as HTTP status or inside the watch) or newer than
  the server knows (it was restored): list again; objects that are gone then, are deleted;
- 401 and 403: it ends, and whoever reads gets the error.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable

from capi_llm import waiting
from capi_llm.errors import (
    ApiError,
    CapiLlmError,
    Forbidden,
    Gone,
    NotFound,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from capi_llm.kube import failures
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Resource
from capi_llm.kube.store import Change, Changes, Store
from capi_llm.kube.streams import watch
from capi_llm.kube.transport import Stream

READ_SECONDS = 80.0
"""Silence after which a watch is given up; bookmarks come about every 60 s."""
WATCH_SECONDS = (240, 300)
"""The server ends a watch after a random time between these, so that not all end at once."""
LONGEST_PAUSE = 2.0
"""Seconds between tries while the server is away."""
_STEADY_SECONDS = 1.0
_JOIN_SECONDS = 0.9

Listener = Callable[[Change, Object], None]

_log = logging.getLogger(__name__)


class Informer:
    """All objects of ``resource``, in ``namespace`` or everywhere, that match ``label_selector``.

    Readers get the informer's own objects (without managedFields) and must not change them.
    """

    def __init__(
        self, api: Api, resource: Resource, namespace: str | None = None, label_selector: str = ""
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self._api = api
        self._selector = label_selector
        self._lock = threading.Lock()
        self._store = Store()
        self._synced = False
        self._trouble = ""
        self._error: CapiLlmError | None = None
        self._attempt = self._error_of = self._counts_from = 0
        """The error of an earlier attempt tells who waits nothing: it was asked before they came."""
        self._is_absent = False
        self._bells: list[waiting.Wakeup] = [waiting.Wakeup()]  # the first is the informer's own
        self._listeners: list[Listener] = []
        self._stop = threading.Event()
        self._nudge = waiting.Wakeup()
        self._stream: Stream | None = None
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"informer {resource}", daemon=True)

    # ------------------------------------------------------------------ reading

    @property
    def synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced

    @property
    def trouble(self) -> str:
        """Why the state may be behind just now; empty while the watch is up."""
        return self._trouble

    def check(self) -> None:
        """Raise what ended the informer, NotFound while the kind does not exist, or Unavailable
        before the first list is in."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self._synced:
                raise Unavailable("not read yet", on=str(self.resource), why=self._trouble)

    def items(self) -> list[Object]:
        """The objects by namespace and name. Raises like :meth:`check`."""
        self.check()
        return self._store.items()

    def find(self, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None. ``namespace`` defaults to the informer's. Raises like :meth:`check`."""
        self.check()
        where = (namespace or self.namespace or "default") if self.resource.namespaced else ""
        return self._store.find(where, name)

    def add_wakeup(self, bell: waiting.Wakeup) -> None:
        """Ring ``bell`` after every change, and when trouble begins or ends."""
        with self._lock:
            self._bells.append(bell)

    def add_listener(self, listener: Listener) -> None:
        """Call ``listener`` for every change from now on, those that a new list shows included.

        It runs on the informer's thread and must return quickly.
        """
        with self._lock:
            self._listeners.append(listener)

    def wait_synced(self, timeout: float, cancel: waiting.Cancel | None = None) -> None:
        """Wait for the first list. Raises like :meth:`check`; Unavailable after ``timeout`` seconds.

        Where the kind did not exist so far, it is looked for once more. ``cancel`` ends the
        wait with Interrupted.
        """
        with self._lock:
            if not isinstance(self._error, (Unauthorized, Forbidden)):
                self._error = None
                self._counts_from = self._attempt + 1
        self._nudge.ring()
        self._wait(lambda: self._synced, timeout, cancel)
        self.check()

    def wait_seen(self, obj: Object, timeout: float) -> None:
        """Wait until the state is at least as new as ``obj``, which a write has returned.

        Raises :class:`TimedOut`. Without this a wait right after a write may look at the state before it.
        """
        version = str(obj["metadata"]["resourceVersion"])
        if not self._wait(lambda: not self._store.behind(version), timeout):
            raise TimedOut("the watch is behind", on=str(self.resource), why=self._trouble or "no event came")

    def _wait(
        self, condition: Callable[[], bool], timeout: float, cancel: waiting.Cancel | None = None
    ) -> bool:
        cancel = cancel or waiting.Cancel()
        deadline = time.monotonic() + timeout
        bell = self._bells[0]
        cancel.attach(bell)
        try:
            while True:
                rings = bell.rings()
                cancel.check()
                if condition():
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._failed():
                    return False
                bell.wait(rings, left)
        finally:
            cancel.detach(bell)

    def _failed(self) -> bool:
        with self._lock:
            final = isinstance(self._error, (Unauthorized, Forbidden))
            return final or (self._error is not None and self._error_of >= self._counts_from)

    # ------------------------------------------------------------------ life

    def start(self) -> Informer:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the watch and its thread, within a second."""
        self._stop.set()
        self._nudge.ring()
        with self._lock:
            stream = self._stream
        if stream is not None:
            stream.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            nudges = self._nudge.rings()
            self._attempt += 1
            try:
                if not self._store.version:
                    self._list()
                self._watch()
                self._failures = 0
            except (Unauthorized, Forbidden) as error:
                self._end(error)
                return
            except TimeoutError:
                continue  # silence: the same watch again, on a new connection
            except Gone:
                self._store.bookmark("")
            except Exception as error:
                if self._stop.is_set():
                    return
                self._troubled(error)
            if time.monotonic() - started > _STEADY_SECONDS:
                self._failures = 0
            if self._failures or time.monotonic() - started < _STEADY_SECONDS:
                self._pause(nudges)

    def _pause(self, nudges: int) -> None:
        longest = min(LONGEST_PAUSE, 0.05 * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._nudge.wait(nudges, longest * random.uniform(0.5, 1))

    def _troubled(self, error: Exception) -> None:
        if isinstance(error, NotFound):
            self._absent(error)
            return
        if isinstance(error, ApiError):
            if not self._synced and not isinstance(error, Unavailable):
                with self._lock:
                    self._error, self._error_of = error, self._attempt
        else:
            _log.warning("informer of %s: %r; listing again", self.resource, error)
            self._store.bookmark("")
        self._trouble = str(error).splitlines()[0] or type(error).__name__
        _log.debug("informer of %s: %s", self.resource, self._trouble)
        self._ring()

    def _absent(self, error: NotFound) -> None:
        """The kind is not there (any more), and with it all its objects. That is no trouble, and no news to
        those who hear it at every look."""
        known = self._is_absent
        self._tell(self._store.replace([], ""))
        with self._lock:
            self._synced, self._error, self._is_absent = False, error, True
            self._error_of = self._attempt
        self._trouble = ""
        if known:
            self._bells[0].ring()
        else:
            self._ring()

    def _end(self, error: CapiLlmError) -> None:
        with self._lock:
            self._error, self._trouble = error, str(error).splitlines()[0]
        self._ring()

    # ------------------------------------------------------------------ list and watch

    def _list(self) -> None:
        items, version = self._api.list_at(
            self.resource, self.namespace, self._selector, retry_for=0, slim=True
        )
        changes = self._store.replace(items, version)
        with self._lock:
            self._synced, self._error, self._is_absent = True, None, False
        self._tell(changes)
        self._well()
        self._ring()

    def _watch(self) -> None:
        query = {
            "resourceVersion": self._store.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        if self._selector:
            query["labelSelector"] = self._selector
        try:
            stream = watch(self._api, self.resource, self.namespace, query=query, read_timeout=READ_SECONDS)
        except Unavailable as error:
            if error.reason in ("Timeout", "Expired") and "resource version" in error.why.lower():
                self._store.bookmark("")  # newer than what the server has: it was restored
            raise
        with self._lock:
            self._stream = stream
        try:
            if self._stop.is_set():
                stream.close()
            self._well()
            for line in stream.lines():
                if line:
                    self._event(json.loads(line))
        finally:
            with self._lock:
                self._stream = None

    def _event(self, event: Object) -> None:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            self._store.bookmark("")
            raise failures.from_status_object(obj, what="can not watch", on=str(self.resource))
        version = obj["metadata"]["resourceVersion"]
        self._failures = 0
        if kind == "BOOKMARK":
            self._store.bookmark(version)
            return
        change = self._store.remove(obj) if kind == "DELETED" else self._store.put(obj)
        self._tell([(change, obj)])
        self._ring()

    def _tell(self, changes: Changes) -> None:
        for listener in list(self._listeners):
            for change, obj in changes:
                listener(change, obj)

    def _well(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._ring()

    def _ring(self) -> None:
        for bell in list(self._bells):
            bell.ring()
