"""Every way to fail, in one tree::

    CapiLlmError                 exit code 1
    ├── BadInput                 2   what the user typed or wrote; nothing was touched
    ├── Refused                  1   asked for something that would break what is there
    ├── PrerequisiteMissing      3   a program, port, permission or download is missing
    ├── TimedOut                 4   a deadline passed while something was not ready yet
    ├── Interrupted            130   Ctrl-C or SIGTERM
    ├── NotFound                 1   an object, plane or file that was named does not exist
    ├── StepFailed               1   one or more steps of a recipe failed
    ├── CommandFailed            1   another program ended with an error
    ├── FetchFailed              1   a download did not answer with what was asked
    └── ApiError                 1   a Kubernetes API server refused a request
        ├── Unauthorized  Forbidden  Conflict  Invalid  Gone
        └── Unavailable              it may answer later: connection refused, 429, 5xx

A message says what failed, on which object, why as far as known, and what to do.
Exceptions of other libraries never leave the module that calls the library.
"""

from __future__ import annotations


class CapiLlmError(Exception):
    """Root of the tree.

    ``what`` failed, ``on`` which object (``cluster default/demo``), ``why`` as far as
    known, and what to do (``fix``). Only ``what`` is always there.
    """

    exit_code = 1

    def __init__(self, what: str, *, on: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.on = on
        self.why = why
        self.fix = fix

    @property
    def brief(self) -> str:
        """What failed, on what and why, on one line."""
        why = next((line.strip() for line in self.why.splitlines() if line.strip()), "")
        what = f"{self.what} ({self.on})" if self.on else self.what
        return f"{what}: {why}" if why else what

    def __str__(self) -> str:
        text = self.what
        if self.on:
            text += f" ({self.on})"
        if self.why:
            text += f": {self.why}"
        if self.fix:
            text += f"\n  to go on: {self.fix}"
        return text


class BadInput(CapiLlmError):
    """A flag, name or file is wrong. Raised before anything is touched."""

    exit_code = 2


class Refused(CapiLlmError):
    """The request is well formed but would replace or break what is there."""


class PrerequisiteMissing(CapiLlmError):
    """Something outside capi-llm is missing on this machine."""

    exit_code = 3


class TimedOut(CapiLlmError):
    """A wait reached its deadline; ``why`` is the last thing it saw."""

    exit_code = 4


class Interrupted(CapiLlmError):
    """The user asked to stop."""

    exit_code = 130


class NotFound(CapiLlmError):
    """A named thing does not exist (for the API: HTTP 404)."""


class StepFailed(CapiLlmError):
    """Steps of a recipe failed; ``why`` names each with its reason."""


class CommandFailed(CapiLlmError):
    """Another program failed. ``output`` is the end of what it printed."""

    def __init__(
        self, what: str, *, code: int, output: str = "", on: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, on=on, why=why, fix=fix)
        self.code = code
        self.output = output


class FetchFailed(CapiLlmError):
    """A download failed: its address is in ``on``, what answered in ``why``."""


class ApiError(CapiLlmError):
    """A Kubernetes API server refused a request. ``status`` is the HTTP status, 0 if none came."""

    def __init__(
        self, what: str, *, status: int, reason: str = "", on: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, on=on, why=why, fix=fix)
        self.status = status
        self.reason = reason


class Unauthorized(ApiError):
    """HTTP 401: the credentials are not accepted."""


class Forbidden(ApiError):
    """HTTP 403: the credentials are good, the permission is missing."""


class Conflict(ApiError):
    """HTTP 409: the object changed meanwhile, already exists, or another manager owns the field."""


class Invalid(ApiError):
    """HTTP 400 or 422, or an admission webhook that said no."""


class Gone(ApiError):
    """HTTP 410: the resourceVersion is too old to watch from."""


class Unavailable(ApiError):
    """The server can not answer now and may later: connection refused, 429, 5xx.

    ``retry_after`` is the server's own wish in seconds, where it gave one.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int = 0,
        reason: str = "",
        on: str = "",
        why: str = "",
        fix: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, status=status, reason=reason, on=on, why=why, fix=fix)
        self.retry_after = retry_after
