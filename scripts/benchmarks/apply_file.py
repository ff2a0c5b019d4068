"""Applies a file of objects through :mod:`capi_llm.kube.apply`, as a process of its own.

python apply_file.py KUBECONFIG FILE
"""

import json
import sys
from pathlib import Path

from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api

with Api.from_kubeconfig(Path(sys.argv[1])) as api:
    results = apply(api, json.loads(Path(sys.argv[2]).read_text())["items"])
for result in results:
    print(result.ref, result.action)
