"""One API server, as Python: objects in, objects out, our own exceptions.

Objects are plain dicts as the server sends them. Every method raises from the tree in
:mod:`capi_llm.errors`: NotFound (404), Unauthorized, Forbidden, Conflict, Invalid, Gone,
and Unavailable when the server can not answer just now, after retrying for a while.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capi_llm import waiting
from capi_llm.errors import ApiError, Forbidden, Gone, NotFound, Unauthorized, Unavailable
from capi_llm.kube.credentials import Credentials
from capi_llm.kube.resources import NAMESPACES, Object, Ref, Resource
from capi_llm.kube.transport import Stream, Transport

CHUNK = 1000
"""Objects per answer of a list; 1,000 Machines took 0.3 s in one page of 6 MB, and 0.6 s in two."""

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Objects = list[Object]

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_WHAT = {"GET": "read", "POST": "create", "PUT": "replace", "PATCH": "change", "DELETE": "delete"}


class Api:
    """A Kubernetes API server. Thread-safe.

    ``retry_for`` is how many seconds what the server turned away is tried again, four times as many where it
    says that it is starting; 0 for callers that wait by themselves. ``cancel`` ends that early.
    """

    def __init__(
        self, credentials: Credentials, *, retry_for: float = 10.0, cancel: waiting.Cancel | None = None
    ) -> None:
        self._transport = Transport(credentials, retry_for=retry_for, cancel=cancel)
        self.server = self._transport.server

    @classmethod
    def from_kubeconfig(
        cls,
        path: Path,
        context: str | None = None,
        *,
        retry_for: float = 10.0,
        cancel: waiting.Cancel | None = None,
    ) -> Api:
        """The server of ``context``, or of the file's current context.

        Raises NotFound where the file is missing, BadInput where it can not be used. Does not connect.
        """
        return cls(Credentials(path, context), retry_for=retry_for, cancel=cancel)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
        what: str = "",
        on: str = "",
        idempotent: bool | None = None,
        retry_for: float | None = None,
        warnings: list[str] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """Send one request; the answer's JSON, its text where it is not JSON, None where it is empty.

        ``timeout`` (seconds) is for one try. ``what`` and ``on`` are for the message of an
        error. Without ``idempotent``, reads, dry runs, merges and applies count as such. The
        server's warnings are put into ``warnings``.
        """
        if idempotent is None:
            idempotent = (
                method in ("GET", "HEAD")
                or content_type in (MERGE_PATCH, APPLY_PATCH)
                or (query is not None and query.get("dryRun") == "All")
            )
        answer = self._transport.exchange(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type,
            timeout=timeout,
            what=what or f"can not {_WHAT.get(method, method)}",
            on=on or path,
            idempotent=idempotent,
            retry_for=retry_for,
            accept=accept,
        )
        if warnings is not None:
            warnings += _WARNING.findall(answer.headers.get("Warning", ""))
        return answer.json()

    def get(self, ref: Ref) -> Object:
        """The object. Raises NotFound."""
        return self._object(self.request("GET", ref.path, on=str(ref)), ref)

    def find(self, ref: Ref) -> Object | None:
        """The object, or None where it, or its kind, does not exist."""
        try:
            return self.get(ref)
        except NotFound:
            return None

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        *,
        slim: bool = False,
    ) -> Objects:
        """All objects, in one namespace or in all; ``slim``: without managedFields, half of their size.

        Raises NotFound where the kind does not exist.
        """
        return self.list_at(resource, namespace, label_selector, field_selector, slim=slim)[0]

    def list_at(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        *,
        retry_for: float | None = None,
        slim: bool = False,
    ) -> tuple[Objects, str]:
        """Like :meth:`list`, with the resourceVersion to watch from.

        A list that took so long that its snapshot is gone (410) is read again in one piece.
        """
        base = {"labelSelector": label_selector, "fieldSelector": field_selector}
        base = {key: value for key, value in base.items() if value}
        query = base | {"limit": str(CHUNK)}
        items: Objects = []
        while True:
            try:
                page = self._page(resource, namespace, query, retry_for)
            except Gone:
                if "continue" not in query:
                    raise
                query, items = base, []
                continue
            items += resource.items(page, slim=slim)
            token = page["metadata"].get("continue")
            if not token:
                return items, page["metadata"].get("resourceVersion", "")
            query = base | {"limit": str(CHUNK), "continue": token}

    def first(self, resource: Resource, namespace: str | None, limit: int) -> tuple[Objects, bool]:
        """Up to ``limit`` objects, and whether these are all. Not retried."""
        page = self._page(resource, namespace, {"limit": str(min(limit, CHUNK))}, retry_for=0)
        return resource.items(page), not page["metadata"].get("continue")

    def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Create ``obj``. Raises Conflict where it exists."""
        ref = resource.ref(obj)
        answer = self.request(
            "POST", resource.path(ref.namespace), body=resource.typed(obj), query=_dry(dry_run), on=str(ref)
        )
        return self._object(answer, ref)

    def replace(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Replace the object. If ``obj`` has a resourceVersion, raises Conflict where it changed since."""
        ref = resource.ref(obj)
        body = resource.typed(obj)
        return self._object(self.request("PUT", ref.path, body=body, query=_dry(dry_run), on=str(ref)), ref)

    def merge_patch(self, ref: Ref, patch: Object, *, dry_run: bool = False, subresource: str = "") -> Object:
        """Merge ``patch`` into the object (JSON merge patch: null removes a field). Raises NotFound."""
        path = f"{ref.path}/{subresource}" if subresource else ref.path
        answer = self.request(
            "PATCH", path, body=patch, content_type=MERGE_PATCH, query=_dry(dry_run), on=str(ref)
        )
        return self._object(answer, ref)

    def server_side_apply(
        self, ref: Ref, obj: Object, *, manager: str, force: bool = True, dry_run: bool = False
    ) -> Object:
        """Apply ``obj`` as field manager ``manager``; it is created where it is missing.

        Without ``force``, raises Conflict where another manager owns a field. Use
        :func:`capi_llm.kube.apply.apply`, which writes only what differs.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"} | _dry(dry_run)
        body = ref.resource.typed(obj)
        answer = self.request(
            "PATCH",
            ref.path,
            body=body,
            content_type=APPLY_PATCH,
            query=query,
            what="can not apply",
            on=str(ref),
        )
        return self._object(answer, ref)

    def delete(
        self,
        ref: Ref,
        *,
        propagation: str = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Delete the object; False where it was gone already.

        ``propagation`` is Background, Foreground or Orphan. With ``uid`` or
        ``resource_version``, raises Conflict where the object is another one by now.
        Returns before finalizers have run.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if dry_run:
            body["dryRun"] = ["All"]  # with a body, the server does not look at the query
        conditions = {"uid": uid, "resourceVersion": resource_version}
        body |= {"preconditions": {key: value for key, value in conditions.items() if value}}
        try:
            # A second delete of one object by its UID can not hit another one.
            self.request(
                "DELETE",
                ref.path,
                body=body,
                query=_dry(dry_run),
                on=str(ref),
                idempotent=dry_run or bool(uid),
            )
        except NotFound:
            return False
        return True

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str],
        read_timeout: float | None,
        what: str,
        on: str,
        accept: str,
    ) -> Stream:
        """An answer that comes in lines; :mod:`.streams` has the ways to use it."""
        return self._transport.stream(
            path, query=query, read_timeout=read_timeout, what=what, on=on, accept=accept
        )

    def uid(self) -> str:
        """What tells this cluster from every other: the UID of its kube-system namespace."""
        return str(self.get(Ref(NAMESPACES, "kube-system"))["metadata"]["uid"])

    def ready(self) -> waiting.Status:
        """Whether the server says that it is ready; PENDING names the checks that fail."""
        try:
            self.request("GET", "/readyz", what="can not ask", on=self.server, timeout=5, retry_for=0)
        except Unavailable as error:
            return waiting.pending(f"the API server is not ready: {error.why}")
        except (Unauthorized, Forbidden) as error:
            return waiting.failed(f"the API server does not let us in: {error.why}", fix=error.fix)
        except ApiError as error:
            return waiting.failed(str(error).splitlines()[0], fix=error.fix)
        return waiting.ready("the API server is ready")

    def server_version(self) -> str:
        """The server's version, such as ``v1.32.2`` or ``v1.33.1+k3s1``."""
        answer = self.request("GET", "/version", what="can not read the version", on=self.server)
        if not isinstance(answer, dict) or "gitVersion" not in answer:
            raise self._strange("can not read the version", self.server)
        return str(answer["gitVersion"])

    def server_clock(self, timeout: float = 30.0) -> float:
        """The server's time of day (seconds since the epoch, whole seconds)."""
        return self._transport.server_clock(timeout)

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _page(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], retry_for: float | None
    ) -> Object:
        where = resource.in_words(namespace)
        page = self.request(
            "GET", resource.path(namespace), query=query, on=where, what="can not list", retry_for=retry_for
        )
        if not isinstance(page, dict) or "metadata" not in page:
            raise self._strange("can not list", where)
        return page

    def _object(self, answer: Any, ref: Ref) -> Object:
        if not isinstance(answer, dict):
            raise self._strange("can not read the answer", str(ref))
        return answer

    def _strange(self, what: str, on: str) -> ApiError:
        return ApiError(
            what,
            status=200,
            on=on,
            why=f"{self.server} did not answer like a Kubernetes API server",
            fix="check server in the kubeconfig",
        )


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
