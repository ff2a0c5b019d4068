"""Whether a model fits: weights + KV cache + overhead of each GPU against what a server may take of it. Pure.

Weights and KV cache are exact, by formula or from the sizes of the checkpoint's tensors. Overhead, which is
what a server needs besides them, is a range: a deployment *fits* if the high end does, may fit if only the
low end does, and does not if not even that. docs/fit.md has every formula with its source.
"""

from __future__ import annotations

import enum
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from capi_llm.errors import BadInput
from capi_llm.models import fit_parameters, fit_precision
from capi_llm.models.fit_config import Architecture, Quantized
from capi_llm.models.fit_parameters import Matrix
from capi_llm.models.gpus import Gpu

GIB = 1 << 30

UTILIZATION = 0.9
"""What vLLM takes of a GPU (``--gpu-memory-utilization``); SGLang's share is about the same."""

_BATCH = (1024, 8192)
"""Tokens that are computed at a time: vLLM's ``--max-num-batched-tokens``, by GPU and use."""
_LOGITS = (1, 3)
"""Copies of a float32 number per sequence and word of the vocabulary, while a token is chosen."""
_CONTEXT = (0.05 * GIB, 0.5 * GIB)
"""What CUDA and its libraries take beside PyTorch."""
_GRAPHS = (0.0, 1.0 * GIB)
"""CUDA graphs; none with ``--enforce-eager``."""
_BETWEEN = (0.1 * GIB, 1.0 * GIB)
"""Buffers between GPUs of one model."""


class Verdict(enum.StrEnum):
    """Whether it fits."""

    FITS = "fits"
    TIGHT = "may fit"
    NOT = "does not fit"


@dataclass(frozen=True)
class Model:
    """What is to be deployed. ``stored`` is bytes of the checkpoint's tensors, where they are known."""

    name: str
    arch: Architecture
    stored: int | None = None


@dataclass(frozen=True)
class Deployment:
    """How. ``count`` GPUs hold one copy together (tensor parallelism); ``shares`` copies share one GPU.

    ``quantization`` and ``dtype`` empty or "auto": as the checkpoint is. ``concurrency`` sequences of
    ``context`` tokens are to be in the KV cache at a time.
    """

    gpu: Gpu
    context: int
    count: int = 1
    shares: int = 1
    concurrency: int = 1
    dtype: str = "auto"
    quantization: str = ""
    kv_dtype: str = "auto"
    utilization: float = UTILIZATION


@dataclass(frozen=True)
class Fit:
    """The verdict with its numbers: bytes, for each GPU."""

    verdict: Verdict
    weights: int
    exact: str
    """Where ``weights`` comes from."""
    kv: int
    kv_token: int
    """Of one token more, in layers without a window."""
    overhead: tuple[int, int]
    available: int
    room: int
    """How many sequences of that length the KV cache has room for, at the high end of the overhead."""

    @property
    def needed(self) -> tuple[int, int]:
        """All of it, at the low and at the high end of the overhead."""
        return self.weights + self.kv + self.overhead[0], self.weights + self.kv + self.overhead[1]


def check(model: Model, how: Deployment) -> None:
    """Raise BadInput for what no server would start with, whatever the memory."""
    arch = model.arch
    if not 1 <= how.context <= arch.context:
        raise BadInput(
            f"--context {how.context} is not a length for {model.name}",
            why=f"it was made for up to {arch.context} tokens",
            fix=f"--context {arch.context}",
        )
    if how.count > 1 and how.shares > 1:
        raise BadInput(
            "--count and --shares exclude each other",
            why="a pod gets one time-slice; two of them may be of the same GPU, and give it no more memory",
            fix="leave one of them out",
        )
    if arch.heads % how.count:
        good = [number for number in range(1, 65) if arch.heads % number == 0]
        raise BadInput(
            f"--count {how.count} can not share {arch.heads} attention heads",
            why="tensor parallelism gives each GPU the same number of them",
            fix=f"--count {min(good, key=lambda number: (abs(number - how.count), number))}",
        )
    if how.quantization and arch.quantized and arch.quantized.method != how.quantization:
        raise BadInput(
            f"--quantization {how.quantization} is not for {model.name}",
            why=f"its weights are stored in {arch.quantized.method}",
            fix="leave it out",
        )
    _check_gpu(model, how)


def _check_gpu(model: Model, how: Deployment) -> None:
    """Raise BadInput for what this GPU can not compute with."""
    own = model.arch.quantized.method if model.arch.quantized else ""
    method = how.quantization or own
    for what, least in (
        (f"--quantization {method}", fit_precision.LEAST.get(method, 0.0)),
        ("--kv-dtype fp8", fit_precision.LEAST_KV_FP8 if how.kv_dtype == "fp8" else 0.0),
        ("--dtype bfloat16", fit_precision.LEAST_BFLOAT16 if how.dtype == "bfloat16" else 0.0),
    ):
        if 0 < how.gpu.capability < least:
            raise BadInput(
                f"{what} is not for {how.gpu.name}",
                why=f"it needs compute capability {least}, and this GPU has {how.gpu.capability}",
                fix="take a newer GPU" if what == f"--quantization {own}" else f"leave out {what}",
            )


def examine(model: Model, how: Deployment) -> Fit:
    """The verdict. Raises BadInput as :func:`check`, and where weights are not known by formula."""
    check(model, how)
    weights, exact = _weights(model, how)
    one = kv_bytes(model.arch, how, 1)
    kv = one * how.concurrency
    overhead = _overhead(model.arch, how)
    available = int(how.gpu.bytes * how.utilization / how.shares)
    low, high = (weights + kv + part for part in overhead)
    verdict = Verdict.FITS if high <= available else Verdict.TIGHT if low <= available else Verdict.NOT
    left = available - weights - overhead[1]
    return Fit(
        verdict=verdict,
        weights=weights,
        exact=exact,
        kv=kv,
        kv_token=kv_token(model.arch, how) * sum(not window for window in model.arch.windows),
        overhead=overhead,
        available=available,
        room=max(0, left // one),
    )


def quantized(model: Model, how: Deployment) -> Quantized | None:
    """How weights are stored in GPUs."""
    if how.quantization and not (model.arch.quantized and model.arch.quantized.method == how.quantization):
        return Quantized(how.quantization)
    return model.arch.quantized


def kv_token(arch: Architecture, how: Deployment) -> int:
    """Bytes of one token in the KV cache of one layer, on one GPU.

    Grouped-query attention: keys and values of the heads that the GPU has, at least one. Latent attention:
    the latent vector, whole on every GPU.
    """
    name = fit_precision.dtype_of(arch.dtype, how.dtype) if how.kv_dtype == "auto" else how.kv_dtype
    each = fit_precision.KV_DTYPES[name]
    if arch.latent:
        return (arch.latent.kv_rank + arch.latent.rope) * each
    return 2 * max(1, -(-arch.kv_heads // how.count)) * arch.head_dim * each


def kv_bytes(arch: Architecture, how: Deployment, sequences: int) -> int:
    """The KV cache of so many sequences of ``how.context`` tokens; a window keeps what it looks back to."""
    layers = Counter(arch.windows)
    tokens = sum(count * min(how.context, window or how.context) for window, count in layers.items())
    return tokens * kv_token(arch, how) * sequences


def _weights(model: Model, how: Deployment) -> tuple[int, str]:
    """Bytes of weights of one GPU, and where they come from."""
    as_stored = not how.quantization and how.dtype == "auto" and "float32" not in model.arch.dtype
    if model.stored is not None and as_stored:
        return -(-model.stored // how.count), "sizes of the checkpoint's tensors"
    found = quantized(model, how)
    if found:
        fit_precision.check(found)
    dtype = fit_precision.dtype_of(model.arch.dtype, how.dtype)
    split, whole = _parts(_matrices(model.arch), how.count)
    size = -(-fit_precision.total(split, dtype, found) // how.count)
    return size + fit_precision.total(whole, dtype, found), "formula"


@functools.lru_cache(maxsize=16)
def _matrices(arch: Architecture) -> tuple[Matrix, ...]:
    """Counted once: advice looks at many deployments of one model."""
    return tuple(fit_parameters.matrices(arch))


def _parts(matrices: Sequence[Matrix], count: int) -> tuple[list[Matrix], list[Matrix]]:
    """What is divided among ``count`` GPUs, and what each has whole."""
    split = [item for item in matrices if item.split or count == 1]
    return split, [item for item in matrices if not item.split and count > 1]


def _overhead(arch: Architecture, how: Deployment) -> tuple[int, int]:
    experts = arch.experts
    width = arch.width if experts is None else max(
        arch.width if not all(arch.sparse) else 0, experts.active * experts.width + experts.shared
    )  # fmt: skip
    ends = []
    for batch, copies, context, graphs, between in zip(
        _BATCH, _LOGITS, _CONTEXT, _GRAPHS, _BETWEEN, strict=True
    ):
        tokens = min(batch, how.context * how.concurrency)
        # Of a layer: its input, output and two between; the MLP's two halves and their product.
        activations = tokens * 2 * (4 * arch.hidden + 3 * width // how.count)
        logits = copies * min(how.concurrency, 256) * arch.vocabulary * 4
        ends.append(int(activations + logits + context + graphs + (between if how.count > 1 else 0)))
    return ends[0], ends[1]
