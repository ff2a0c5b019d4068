"""The web: the only package that imports httpx.

:func:`download` survives what downloads meet: it goes on where it stopped (also in a
later run, if the server can tell that the file is still the same one), notices a file
that is cut short, corrupt or stalled, tries again where that can help, and puts the
file in its place only when it is whole. Proxies come from the environment, as usual.

``downloads``    texts and files        ``partfile``     the beginning of a file
``persistence``  when to try again      ``transport``    one request
"""

from capi_llm.http.downloads import Progress, download, fetch_text
from capi_llm.http.transport import PATIENT, Limits, Unreachable

__all__ = ["PATIENT", "Limits", "Progress", "Unreachable", "download", "fetch_text"]
