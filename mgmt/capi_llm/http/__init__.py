"""The web: the only package that imports httpx.

:func:`download` survives what downloads meet: it goes on where it stopped (also in a
later run, if the server can tell that the file is still the same one), notices a file
that is cut short, corrupt or stalled, tries again where that can help, and puts the
file in its place only when it is whole. Proxies come from the environment, as usual.

``downloads``    texts and files        ``partfile``     the beginning of a file
``persistence``  when to try again      ``transport``    one request
``limits``       how patient to be      ``talk``         requests to a web API, answers as they come

What downloads is imported when first used: with a full cache nothing ever is, and httpx
takes as long to import as a look at a whole plane.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from capi_llm.http.limits import PATIENT, Limits, Unreachable

if TYPE_CHECKING:
    from capi_llm.http.downloads import Progress, download, fetch_text

__all__ = ["PATIENT", "Limits", "Progress", "Unreachable", "download", "fetch_text"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("capi_llm.http.downloads"), name)
