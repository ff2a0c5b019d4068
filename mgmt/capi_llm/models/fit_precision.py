"""How many bytes a matrix takes, by data type and quantization. Pure.

    fp8    a byte each, and a float32 scale per matrix, or per block where the checkpoint says so (DeepSeek)
    int8   a byte each, and a scale of 16 bits per row (W8A8, compressed-tensors)
    awq    4 bits each; per group of 128 a scale of 16 bits and a zero point of 4 (AutoAWQ's GEMM format)
    gptq   as awq, and an index of 32 bits per column
    mxfp4  experts only: 4 bits each, and a scale of a byte per 32 (OCP Microscaling Formats 1.0)

Embeddings, output, routers, norms and biases stay in the data type of the model.
"""

from __future__ import annotations

from collections.abc import Iterable

from capi_llm.errors import BadInput
from capi_llm.models.fit_config import Quantized
from capi_llm.models.fit_parameters import Kind, Matrix

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of one number."""

KV_DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}

QUANTIZATIONS = ("fp8", "int8", "awq", "gptq")
"""What ``--quantization`` takes; a checkpoint may also be ``mxfp4``."""

LEAST = {"fp8": 8.0, "int8": 7.5, "awq": 7.5, "gptq": 7.0, "mxfp4": 8.0}
"""Least compute capability of a GPU for each in vLLM.

https://docs.vllm.ai/en/stable/features/quantization/, its table of supported hardware; mxfp4 by Marlin.
"""

LEAST_BFLOAT16 = 8.0
LEAST_KV_FP8 = 8.9

_KNOWN = (*QUANTIZATIONS, "mxfp4")


def dtype_of(name: str, wanted: str) -> str:
    """The data type that a server loads: ``wanted``, or the model's own; float32 is loaded as float16.

    https://docs.vllm.ai/en/stable/configuration/engine_args/#-dtype
    """
    own = name.removeprefix("torch.")
    if wanted != "auto":
        return wanted
    return "float16" if own in ("float32", "float") else own if own in DTYPES else "bfloat16"


def check(quantized: Quantized) -> Quantized:
    """``quantized``, where its bytes are known by formula. Raises BadInput."""
    bits = quantized.bits
    if quantized.method not in _KNOWN or (bits and bits != 4 and quantized.method in ("awq", "gptq")):
        raise BadInput(
            f"the size of weights in {quantized.method!r}{f' of {bits} bits' if bits else ''} is not known",
            why=f"known are {', '.join(_KNOWN)}",
            fix="give a folder that has model.safetensors.index.json too: its sizes are used",
        )
    return quantized


def size(matrix: Matrix, dtype: str, quantized: Quantized | None) -> int:
    """Bytes of all ``matrix.count`` of it."""
    if matrix.kind is Kind.FLOAT32:
        return matrix.parameters * 4
    method = quantized.method if quantized else ""
    takes = matrix.kind is Kind.EXPERT or (matrix.kind is Kind.LINEAR and method != "mxfp4")
    if quantized is None or not takes:
        return matrix.parameters * DTYPES[dtype]
    return matrix.count * _quantized(matrix.out, matrix.into, quantized)


def total(matrices: Iterable[Matrix], dtype: str, quantized: Quantized | None) -> int:
    """Bytes of all of them."""
    return sum(size(matrix, dtype, quantized) for matrix in matrices)


def _quantized(out: int, into: int, quantized: Quantized) -> int:
    cells = out * into
    if quantized.method == "fp8":
        high, wide = quantized.block
        return cells + 4 * (_up(out, high) * _up(into, wide) if high else 1)
    if quantized.method == "int8":
        return cells + 2 * out
    if quantized.method == "mxfp4":
        return out * (_up(into, 2) + _up(into, 32))
    group = quantized.group if quantized.group > 0 else into if quantized.group < 0 else 128
    groups = _up(into, group)
    index = 4 * into if quantized.method == "gptq" else 0
    return _up(cells, 2) + 2 * out * groups + _up(out * groups, 2) + index


def _up(number: int, by: int) -> int:
    return -(-number // by)
