"""A lock in the cluster itself, so that two machines do not change one plane at once.

It is a Lease with the holder's name, renewed while the holder lives. A holder that died
stops renewing, and after ``duration`` seconds the next one takes over, by the object's
resourceVersion, so that of two that try only one gets it. Times are the API server's,
so that machines with different clocks agree.
"""

from __future__ import annotations

import datetime
import logging
import os
import threading
import time
import uuid

from capi_llm import locks
from capi_llm.errors import ApiError, CapiLlmError, Conflict, NotFound, Refused
from capi_llm.kube.client import Api
from capi_llm.kube.resources import LEASES, Object, Ref
from capi_llm.settings import hostname
from capi_llm.versions import GROUP

COMMAND_ANNOTATION = f"{GROUP}/command"
SINCE_ANNOTATION = f"{GROUP}/since"
PROCESS_ANNOTATION = f"{GROUP}/process"
"""The holder's process, so that one that was killed on this machine does not keep others waiting."""

_given_back: set[str] = set()
"""Identities of this process's holders that could not delete their Lease: it holds nobody up."""

_log = logging.getLogger(__name__)


class LeaseLock:
    """The lock ``name`` in ``namespace``; use it as a context manager.

    ``command`` is what the holder is doing, for the message that others get. ``duration``
    (seconds) is how long a dead holder keeps it.
    """

    def __init__(self, api: Api, name: str, namespace: str, *, command: str, duration: int = 15) -> None:
        self.ref = Ref(LEASES, name, namespace)
        self._api = api
        self._command = command
        self._duration = duration
        self._identity = f"{hostname()} pid {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._lease: Object = {}
        self._lost: CapiLlmError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._clock_ahead = 0.0

    def acquire(self) -> None:
        """Take the lock, or raise Refused, which names the holder. Does not wait.

        Raises NotFound where the namespace does not exist.
        """
        self._clock_ahead = self._api.server_clock() - time.time()
        live = self._api.find(self.ref)
        try:
            if live is None:
                self._lease = self._write("POST", LEASES.path(self.ref.namespace), self._body(None))
            elif self._expired(live):
                _log.info("taking over %s from %s", self.ref, _holder(live))
                self._lease = self._write("PUT", self.ref.path, self._body(live))
            else:
                raise self._refused(live)
        except Conflict:
            now = self._api.find(self.ref) or {}
            if (now.get("spec") or {}).get("holderIdentity") != self._identity:
                raise self._refused(now) from None
            self._lease = now  # our own first try, whose answer was lost
        self._lost = None
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name=f"lease {self.ref}", daemon=True)
        self._thread.start()

    def _write(self, method: str, path: str, body: Object) -> Object:
        made: Object = self._api.request(method, path, body=body, on=str(self.ref), idempotent=True)
        return made

    def check(self) -> None:
        """Raise Refused if the lock was lost meanwhile. To be called before a long step."""
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Give the lock back. Never raises for a server that is away: the lock expires then."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._lost is not None or not self._lease:
            return
        try:
            try:
                self._delete(self._lease)
            except Conflict:
                live = self._api.find(self.ref)  # renewed by us, and the answer was lost
                if live is not None and (live.get("spec") or {}).get("holderIdentity") == self._identity:
                    self._delete(live)
        except (ApiError, NotFound) as error:
            _log.debug("%s is left to expire: %s", self.ref, error)
            _given_back.add(self._identity)
        self._lease = {}

    def _delete(self, lease: Object) -> None:
        metadata = lease["metadata"]
        conditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        self._api.request("DELETE", self.ref.path, body=body, on=str(self.ref), timeout=5, retry_for=0)

    def __enter__(self) -> LeaseLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _renew(self) -> None:
        while not self._stop.wait(self._duration / 3):
            try:
                body = self._body(self._lease)
                self._lease = self._api.request(
                    "PUT", self.ref.path, body=body, on=str(self.ref), timeout=5, retry_for=0
                )
            except (Conflict, NotFound):
                try:
                    live = self._api.find(self.ref)
                except CapiLlmError:
                    continue
                if live is None or live["spec"].get("holderIdentity") != self._identity:
                    self._lost = self._taken(live)
                    return
                self._lease = live
            except CapiLlmError as error:
                # Away for now. Should another holder take over meanwhile, the next try shows it.
                _log.debug("%s is not renewed: %s", self.ref, error)

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(time.time() + self._clock_ahead, datetime.UTC)

    def _body(self, before: Object | None) -> Object:
        now = self._now()
        spec = dict((before or {}).get("spec") or {})
        metadata: Object = {"name": self.ref.name, "namespace": self.ref.namespace}
        if before is not None:
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        if spec.get("holderIdentity") != self._identity:
            transitions = int(spec.get("leaseTransitions") or 0) + 1 if before is not None else 0
            spec = {"acquireTime": _micro(now), "leaseTransitions": transitions}
        since = (self._lease.get("metadata") or {}).get("annotations", {}).get(SINCE_ANNOTATION)
        metadata["annotations"] = {
            COMMAND_ANNOTATION: self._command,
            PROCESS_ANNOTATION: locks.process_token(),
            SINCE_ANNOTATION: since or now.isoformat(timespec="seconds"),
        }
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "renewTime": _micro(now),
        }
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _expired(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        renewed = spec.get("renewTime") or spec.get("acquireTime")
        if not spec.get("holderIdentity") or not renewed or spec["holderIdentity"] in _given_back:
            return True
        annotations = lease["metadata"].get("annotations") or {}
        if locks.is_dead(annotations.get(PROCESS_ANNOTATION, "")):
            return True
        age = self._now() - datetime.datetime.fromisoformat(renewed)
        # One second more, as the server's clock is read in whole seconds.
        return age.total_seconds() > float(spec.get("leaseDurationSeconds") or self._duration) + 1

    def _refused(self, lease: Object) -> Refused:
        return Refused(
            "another command holds the lock",
            on=str(self.ref),
            why=_holder(lease),
            fix="wait until it has ended; if its machine is gone, the lock is free "
            f"{self._duration} seconds after its last sign of life",
        )

    def _taken(self, lease: Object | None) -> Refused:
        return Refused(
            "the lock was lost while working",
            on=str(self.ref),
            why=f"now held: {_holder(lease)}" if lease else "it was deleted",
            fix="let the other command end, then run this one again",
        )


def _holder(lease: Object) -> str:
    annotations = (lease.get("metadata") or {}).get("annotations") or {}
    identity = str((lease.get("spec") or {}).get("holderIdentity") or "an unknown holder")
    text = f"`{annotations[COMMAND_ANNOTATION]}` on " if annotations.get(COMMAND_ANNOTATION) else ""
    text += identity
    if annotations.get(SINCE_ANNOTATION):
        text += f" since {annotations[SINCE_ANNOTATION]}"
    return text


def _micro(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
