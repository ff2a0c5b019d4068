"""``python -m capi_llm.gateway.server``: LiteLLM, for as long as its stdin is open.

The other end of stdin is the runner's alone, so LiteLLM ends with it, however that ends.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading


def main() -> None:
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    cli = importlib.import_module("litellm.proxy.proxy_cli")
    cli.run_server(sys.argv[1:])


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
