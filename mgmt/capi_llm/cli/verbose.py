"""``-v`` and ``--debug``: what is done, one structured line each, on stderr.

Modules log through the standard library, so that nothing is imported where nobody asks;
here structlog gives the lines their form.
"""

from __future__ import annotations

import logging
import sys


def start(*, debug: bool) -> None:
    """Send the log to stderr: from INFO on, or from DEBUG on."""
    import structlog

    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
        )
    )
    log = logging.getLogger("capi_llm")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.INFO)
