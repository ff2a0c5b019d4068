"""``capi-llm apps`` as tests run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sandboxes import Sandbox


class Commands:
    """``capi-llm apps VERB demo`` with the test's own bundles."""

    def __init__(self, sandbox: Sandbox, namespace: str, folder: Path) -> None:
        self._sandbox, self._namespace, self.folder = sandbox, namespace, folder

    def run(self, verb: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        more = ("-n", self._namespace, "--bundle-dir", str(self.folder))
        return self._sandbox.cli("apps", verb, "demo", *argv, *more, check=check)
