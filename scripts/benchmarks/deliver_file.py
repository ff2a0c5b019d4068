"""Delivers a bundle through :mod:`capi_llm.apps.direct`, as a process of its own.

python deliver_file.py KUBECONFIG HELM CACHE BUNDLE
"""

import sys
from pathlib import Path

from capi_llm.apps import fleetfile
from capi_llm.apps.direct import Direct
from capi_llm.apps.engine import Release, Target
from capi_llm.apps.helm import Helm
from capi_llm.kube.client import Api

kubeconfig, helm, cache, folder = map(Path, sys.argv[1:])
bundle = fleetfile.read(folder)
with Api.from_kubeconfig(kubeconfig) as api:
    engine = Direct(api, api, Target("bench"), Helm(helm, cache))
    (done,) = engine.apply([Release(bundle, bundle.release, bundle.namespace, bundle.values)])
print(len(done.objects), "objects,", done.writes, "written,", len(done.pruned), "deleted")
