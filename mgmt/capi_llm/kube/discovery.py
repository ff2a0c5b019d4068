"""From ``apiVersion`` and ``kind`` of a manifest to the resource that serves it."""

from __future__ import annotations

import threading

from capi_llm.errors import BadInput, NotFound
from capi_llm.kube.client import Api
from capi_llm.kube.resources import Object, Resource


class Discovery:
    """What an API server serves, remembered per group and version. Thread-safe.

    A kind that is not known is asked for again, as its CRD may have come meanwhile.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Resource]] = {}

    def resource_for(self, obj: Object) -> Resource:
        """The resource of ``obj``. Raises BadInput without apiVersion and kind, NotFound where no server
        part or CRD knows the kind."""
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
            name = (obj.get("metadata") or {}).get("name", "without a name")
            raise BadInput("a manifest has no apiVersion or no kind", on=str(name))
        with self._lock:
            found = self._known.get(api_version, {}).get(kind)
            if found is None:
                self._known[api_version] = self._fetch(api_version)
                found = self._known[api_version].get(kind)
        if found is None:
            raise NotFound(
                "no matches for kind",
                on=f"{kind} in {api_version}",
                why="the API server does not serve it",
                fix="install what brings its CustomResourceDefinition first, or correct apiVersion and kind",
            )
        return found

    def resource_of(self, group: str, kind: str) -> Resource | None:
        """The resource of ``kind`` in the version that the server prefers; None where it serves none."""
        versions = ["v1"]
        if group:
            try:
                answer = self._api.request("GET", f"/apis/{group}", what="can not discover", on=group)
            except NotFound:
                return None
            preferred = (answer.get("preferredVersion") or {}).get("version")
            versions = [entry["version"] for entry in answer.get("versions") or []]
            versions.sort(key=lambda version: version != preferred)
        for version in versions:
            try:
                return self.resource_for(
                    {"apiVersion": f"{group}/{version}" if group else version, "kind": kind}
                )
            except NotFound:
                continue
        return None

    def _fetch(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{api_version}" if group else f"/api/{api_version}"
        try:
            answer = self._api.request("GET", path, what="can not discover", on=api_version)
        except NotFound:
            return {}
        return {
            entry["kind"]: Resource(group, version, entry["name"], entry["kind"], bool(entry["namespaced"]))
            for entry in answer.get("resources") or []
            if "/" not in entry["name"]  # a subresource
        }
