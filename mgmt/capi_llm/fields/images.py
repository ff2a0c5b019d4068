"""Names of container images, and of a kubeconfig's contexts."""

from __future__ import annotations

import re

from capi_llm.errors import BadInput
from capi_llm.fields.names import shown

REPOSITORY = r"[a-z0-9][A-Za-z0-9._/:-]{0,254}"
"""With or without a tag."""

IMAGE = REPOSITORY + r"(@sha256:[0-9a-f]{64})?"
CONTEXT = r"[!-~]{1,253}"


def image(text: str, where: str) -> str:
    """An image's name as ``docker pull`` takes it: ``kindest/node:v1.33.1``, with a digest if wanted."""
    if not re.fullmatch(IMAGE, text):
        raise BadInput(
            f"{where}: {shown(text)} is not the name of an image",
            why="it is a repository in lowercase, a tag after ':', and a digest after '@' if wanted",
            fix="e.g. docker.io/library/redis:7.4",
        )
    return text


def context(text: str, where: str) -> str:
    """A context's name in a kubeconfig."""
    if not re.fullmatch(CONTEXT, text):
        raise BadInput(
            f"{where}: {shown(text)} is not the name of a context",
            fix="kubectl config get-contexts -o name lists them",
        )
    return text
