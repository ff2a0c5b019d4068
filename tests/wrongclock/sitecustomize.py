"""On PYTHONPATH of a command that faketime gives another clock.

libfaketime 0.9.10 answers clock_nanosleep of an absolute time, which is what ``time.sleep`` calls
since Python 3.11, with EINVAL on every clock. A lock's timed wait is left as it is.
"""

import threading
import time


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


time.sleep = _sleep
