"""Forwards until its stdin ends, and prints the local port: what `forwarding` measures, without a plane.

python forward_file.py KUBECONFIG NAMESPACE TARGET
"""

import sys
from pathlib import Path

from capi_llm import forward

kubeconfig, namespace, target = sys.argv[1:]
with forward.forwarding(Path(kubeconfig), target, namespace=namespace) as local:
    print(next(iter(local.values())).port, flush=True)
    sys.stdin.read()
