"""Upstream CustomResourceDefinitions, which lie beside the repository and not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from capi_llm.kube.apply import apply
from capi_llm.kube.client import Api

BESIDE = Path(os.environ.get("SHARED") or Path(__file__).parent.parent.parent / "shared")
"""The folder ``shared`` beside the checkout, or what the environment variable SHARED says."""


def install(api: Api, name: str) -> None:
    """Install ``crds/NAME.yaml``; skip the test where the folder is not there."""
    path = BESIDE / "crds" / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"{path} is not there; SHARED=FOLDER names another folder")
    # Applied as another manager, so that nothing of capi-llm's own applies counts them.
    with path.open() as file:
        apply(api, [obj for obj in yaml.load_all(file, yaml.CSafeLoader) if obj], manager="test")
