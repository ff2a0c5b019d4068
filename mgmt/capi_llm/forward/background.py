"""The same command once more, detached from the terminal: ``portforward --detach``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from capi_llm import shell, waiting
from capi_llm.errors import CapiLlmError
from capi_llm.files import write_private
from capi_llm.forward.records import Records, Run
from capi_llm.settings import command_environment

ID_OPTION = "--background-id"
"""Hidden option by which the command knows that it is the one in the background."""


class Ended(CapiLlmError):
    """The process in the background ended before it listened; ``exit_code`` is its own."""


def start(records: Records, arguments: Sequence[str], *, timeout: float) -> Run:
    """Run ``capi-llm`` with ``arguments`` in the background and return when its ports listen.

    Raises what it said where it ends instead, TimedOut after ``timeout`` seconds.
    """
    name = records.new_id()
    log = records.log(name)
    write_private(log, "")
    process = shell.detach(
        [sys.executable, "-m", "capi_llm", *arguments, ID_OPTION, name], log=log, env=command_environment()
    )

    def listens() -> waiting.Status:
        if records.find(name) is not None:
            return waiting.ready()
        code = process.poll()
        return waiting.pending("it starts") if code is None else waiting.failed(f"it ended with {code}")

    try:
        waiting.until(
            listens,
            what="the forward in the background",
            timeout=timeout,
            waiter=waiting.Waiter(interval=0.05),
        )
    except BaseException:
        said = log.read_text().strip()
        if process.poll() is None:
            process.terminate()
            process.wait()
        records.forget(name)
        if process.returncode and said:
            raise _as_said(said, process.returncode) from None
        raise
    found = records.find(name)
    if found is None:
        raise CapiLlmError("the forward in the background ended at once", on=str(log))
    return found


def _as_said(said: str, code: int) -> CapiLlmError:
    text = said[said.rfind("Error: ") :].removeprefix("Error: ")
    what, _, fix = text.partition("\n  to go on: ")
    error = Ended(what, fix=fix)
    error.exit_code = code
    return error
