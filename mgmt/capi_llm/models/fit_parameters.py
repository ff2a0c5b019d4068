"""Every parameter of a model, as matrices: how many, of what kind, and whether GPUs share them. Pure.

Formulas follow transformers' ``modeling_*.py``; biases and norms are matrices of one row.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from capi_llm.errors import BadInput
from capi_llm.models.fit_config import FAMILIES, Architecture, Experts, Family, Latent


class Kind(enum.Enum):
    """What quantization does to a matrix: it takes LINEAR and EXPERT ones, and leaves the others."""

    LINEAR = "linear"
    EXPERT = "expert"
    PLAIN = "plain"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class Matrix:
    """``count`` matrices of ``out`` × ``into``; ``split``: tensor parallelism divides them among GPUs."""

    part: str
    out: int
    into: int
    count: int = 1
    kind: Kind = Kind.LINEAR
    split: bool = True

    @property
    def parameters(self) -> int:
        return self.out * self.into * self.count


def matrices(arch: Architecture, *, next_layers: bool = False) -> list[Matrix]:
    """All parameters. ``next_layers``: those for predicting more tokens too, which a server leaves out.

    Raises BadInput for a ``model_type`` that is not known.
    """
    family = arch.family
    if family is None or not arch.text_only:
        what = f"model_type {arch.model_type!r}" if family is None else "what a model has for images or sound"
        raise BadInput(
            f"the parameters of {what} are not known by formula",
            why=f"known are {', '.join(FAMILIES)}, for text",
            fix="give a folder that has model.safetensors.index.json too: its sizes are used",
        )
    found = [Matrix("embeddings", arch.vocabulary, arch.hidden, 1, Kind.PLAIN)]
    if not arch.tied:
        found.append(Matrix("output", arch.vocabulary, arch.hidden, 1, Kind.PLAIN))
    found.append(_plain("norms", arch.hidden))
    dense = sum(not sparse for sparse in arch.sparse)
    sparse = arch.layers - dense
    found += _layers(arch, family, dense, experts=None)
    found += _layers(arch, family, sparse, experts=arch.experts)
    if next_layers and arch.next_layers:
        found += _next(arch, family)
    return [item for item in found if item.parameters]


def total(found: list[Matrix]) -> int:
    """How many parameters ``found`` has."""
    return sum(item.parameters for item in found)


def _plain(part: str, size: int, count: int = 1, *, split: bool = False) -> Matrix:
    return Matrix(part, 1, size, count, Kind.PLAIN, split)


def _layers(arch: Architecture, family: Family, count: int, experts: Experts | None) -> Iterator[Matrix]:
    """``count`` layers of one sort: attention, MLP or experts, norms."""
    if arch.latent:
        yield from _latent(arch, arch.latent, count)
    else:
        yield from _attention(arch, family, count)
    if experts:
        yield from _experts(arch, family, experts, count)
    else:
        yield Matrix("mlp", arch.width, arch.hidden, 2 * count)
        yield Matrix("mlp", arch.hidden, arch.width, count)
        if arch.mlp_bias:
            yield _plain("mlp", 2 * arch.width + arch.hidden, count)
    yield _plain("norms", family.layer_norms * arch.hidden, count)


def _attention(arch: Architecture, family: Family, count: int) -> Iterator[Matrix]:
    queries, keys = arch.heads * arch.head_dim, arch.kv_heads * arch.head_dim
    yield Matrix("attention", queries, arch.hidden, count)
    yield Matrix("attention", keys, arch.hidden, 2 * count)
    yield Matrix("attention", arch.hidden, queries, count)
    if family.qkv_bias or arch.attention_bias:
        yield _plain("attention", queries + 2 * keys, count)
    if arch.attention_bias:
        yield _plain("attention", arch.hidden, count)
    if family.head_norms:
        yield _plain("attention", 2 * arch.head_dim, count)
    if family.sinks:
        yield _plain("attention", arch.heads, count)


def _latent(arch: Architecture, latent: Latent, count: int) -> Iterator[Matrix]:
    # The projections down to the latent vectors are on every GPU.
    queries = arch.heads * (latent.nope + latent.rope)
    if latent.q_rank:
        yield Matrix("attention", latent.q_rank, arch.hidden, count, split=False)
        yield _plain("attention", latent.q_rank, count)
        yield Matrix("attention", queries, latent.q_rank, count)
    else:
        yield Matrix("attention", queries, arch.hidden, count)
    yield Matrix("attention", latent.kv_rank + latent.rope, arch.hidden, count, split=False)
    yield _plain("attention", latent.kv_rank, count)
    yield Matrix("attention", arch.heads * (latent.nope + latent.value), latent.kv_rank, count)
    yield Matrix("attention", arch.hidden, arch.heads * latent.value, count)


def _experts(arch: Architecture, family: Family, experts: Experts, count: int) -> Iterator[Matrix]:
    each = experts.count * count
    yield Matrix("experts", experts.width, arch.hidden, 2 * each, Kind.EXPERT)
    yield Matrix("experts", arch.hidden, experts.width, each, Kind.EXPERT)
    yield Matrix("router", experts.count, arch.hidden, count, Kind.PLAIN, split=False)
    if family.expert_bias:
        yield _plain("experts", 2 * experts.width + arch.hidden, each, split=True)
    if family.router_bias:
        yield _plain("router", experts.count, count)
    if experts.bias:
        yield Matrix("router", 1, experts.count, count, Kind.FLOAT32, split=False)
    if experts.shared:
        yield Matrix("shared experts", experts.shared, arch.hidden, 2 * count)
        yield Matrix("shared experts", arch.hidden, experts.shared, count)
    if experts.shared_gate:
        yield _plain("shared experts", arch.hidden, count)


def _next(arch: Architecture, family: Family) -> list[Matrix]:
    """DeepSeek-V3's module: a layer, norms and a projection, and the embeddings and output once more.

    https://github.com/deepseek-ai/DeepSeek-V3/blob/main/README_WEIGHTS.md
    """
    count = arch.next_layers
    return [
        *_layers(arch, family, count, arch.experts),
        Matrix("next tokens", arch.hidden, 2 * arch.hidden, count, Kind.PLAIN),
        _plain("next tokens", 3 * arch.hidden, count),
        Matrix("next tokens", arch.vocabulary, arch.hidden, 2 * count, Kind.PLAIN),
    ]
