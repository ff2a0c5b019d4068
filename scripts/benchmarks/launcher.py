"""Runs a command and writes its wall time, processor time, peak memory and exit code to a file.

    python -I -S launcher.py RESULT COMMAND ARG …

A process of its own, and a small one: Linux counts what the parent had before ``exec`` towards
a child's peak memory.
"""

import os
import sys
import time

target, *command = sys.argv[1:]
started = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - started
with open(target, "w") as file:
    processor = usage.ru_utime + usage.ru_stime
    file.write(f"{seconds} {processor} {usage.ru_maxrss * 1024} {os.waitstatus_to_exitcode(status)}")
