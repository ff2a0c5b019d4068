"""Where the parts of a plane write their logs."""

from __future__ import annotations

import difflib
from pathlib import Path

from capi_llm.errors import BadInput
from capi_llm.identity import Identity
from capi_llm.plane.recipes import SANDBOX
from capi_llm.sandbox.layout import layout
from capi_llm.settings import Settings
from capi_llm.steps.processes import Process, SupervisorRuns

PARTS = tuple(step.name for step in SANDBOX if isinstance(step, Process | SupervisorRuns))
"""What ``logs`` has a log of, on a sandbox."""


def log_path(settings: Settings, identity: Identity, part: str) -> Path:
    """The log file of ``part`` of a sandbox. Raises BadInput for a part that there is not."""
    if part == "audit":
        return layout(settings.state, identity.name).audit_log
    if part not in PARTS:
        near = difflib.get_close_matches(part, PARTS, 1)
        raise BadInput(
            f"there is no part {part!r}",
            why=f"there are: {', '.join((*PARTS, 'audit'))}",
            fix=f"did you mean {near[0]!r}?"
            if near
            else "name one of them; of an app: capi-llm logs APP CLUSTER",
        )
    return layout(settings.state, identity.name).log(part)
