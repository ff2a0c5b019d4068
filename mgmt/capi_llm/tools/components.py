"""The objects that Cluster API's managers need in the cluster, from the providers' modules.

CRDs, RBAC, webhook configurations and the rest of ``config/default``, put together by
``kubectl kustomize``: the same bytes as in the release, but for the images' names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capi_llm import shell
from capi_llm.tools.attempts import Progress
from capi_llm.tools.cache import writing
from capi_llm.tools.parts import Part
from capi_llm.waiting import Cancel


def render(
    part: Part,
    module: Callable[[str], Path],
    kubectl: Path,
    out: Path,
    *,
    progress: Progress,
    cancel: Cancel | None,
) -> dict[str, Path]:
    """Write each file of ``part`` to the folder ``out``. Raises CommandFailed, PrerequisiteMissing."""
    files = {}
    folders: dict[str, Path] = {}
    for number, (file, source) in enumerate(part.sources.items()):
        progress(part.name, f"putting together {file}", number / len(part.sources))
        if source.module not in folders:
            folders[source.module] = module(source.module)
        text = shell.run(
            [kubectl, "kustomize", folders[source.module] / source.path], timeout=120, cancel=cancel
        ).stdout
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            (out / file).write_text(text)
        files[file] = out / file
    return files
