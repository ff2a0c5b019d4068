"""Settings with which a deployment would fit; each is examined as the deployment itself was. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from capi_llm.errors import BadInput
from capi_llm.models.fit import Deployment, Fit, Model, Verdict, examine
from capi_llm.models.gpus import GPUS

LEAST_CONTEXT = 512
_STEP = 256
_MOST_GPUS = 16


@dataclass(frozen=True)
class Advice:
    """One change that makes it fit: as options, and what is needed then."""

    options: str
    how: Deployment
    fit: Fit


def advise(model: Model, how: Deployment) -> list[Advice]:
    """Changes of one setting each with which ``how`` fits; of two, where one is not enough.

    The last one is other GPUs of the table: as few as possible.
    """
    found = list(_single(model, how))
    if not found:
        found = list(_double(model, how))
    other = _other_gpus(model, how)
    return found + ([other] if other else [])


def _single(model: Model, how: Deployment) -> Iterator[Advice]:
    for change in (_context, _concurrency, _kv_dtype, _quantization, _shares, _count):
        advice = change(model, how)
        if advice:
            yield advice


def _double(model: Model, how: Deployment) -> Iterator[Advice]:
    """Quantized, and then whatever else helps."""
    for word in _weaker(model, how):
        changed = replace(how, quantization=word)
        options = f"--quantization {word} "
        rest = [replace(item, options=options + item.options) for item in _single(model, changed)]
        if rest:
            yield from rest
            return


def _tried(model: Model, how: Deployment, options: str) -> Advice | None:
    """The advice, where ``how`` fits."""
    try:
        fit = examine(model, how)
    except BadInput:
        return None
    return Advice(options, how, fit) if fit.verdict is Verdict.FITS else None


def _largest(good: Callable[[int], bool], high: int) -> int:
    """The largest of 0 to ``high`` that is good, where all below it are; 0 is not looked at."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low


def _context(model: Model, how: Deployment) -> Advice | None:
    def good(steps: int) -> bool:
        return _tried(model, replace(how, context=steps * _STEP), "") is not None

    context = _largest(good, (how.context - 1) // _STEP) * _STEP
    if context < LEAST_CONTEXT:
        return None
    return _tried(model, replace(how, context=context), f"--context {context}")


def _concurrency(model: Model, how: Deployment) -> Advice | None:
    def good(number: int) -> bool:
        return _tried(model, replace(how, concurrency=number), "") is not None

    number = _largest(good, how.concurrency - 1)
    return _tried(model, replace(how, concurrency=number), f"--concurrency {number}") if number else None


def _kv_dtype(model: Model, how: Deployment) -> Advice | None:
    if how.kv_dtype != "auto":
        return None
    return _tried(model, replace(how, kv_dtype="fp8"), "--kv-dtype fp8")


def _weaker(model: Model, how: Deployment) -> tuple[str, ...]:
    return () if how.quantization or model.arch.quantized else ("fp8", "awq")


def _quantization(model: Model, how: Deployment) -> Advice | None:
    for word in _weaker(model, how):
        if advice := _tried(model, replace(how, quantization=word), f"--quantization {word}"):
            return advice
    return None


def _shares(model: Model, how: Deployment) -> Advice | None:
    for number in range(how.shares - 1, 0, -1):
        if advice := _tried(model, replace(how, shares=number), f"--shares {number}"):
            return advice
    return None


def _count(model: Model, how: Deployment) -> Advice | None:
    """More GPUs; the copies that shared one have one each."""
    for number in range(how.count + 1, _MOST_GPUS + 1):
        options = f"--count {number}" + (" --shares 1" if how.shares > 1 else "")
        if advice := _tried(model, replace(how, count=number, shares=1), options):
            return advice
    return None


def _other_gpus(model: Model, how: Deployment) -> Advice | None:
    """Larger GPUs: as few as possible, and then the smallest."""
    larger = sorted((gpu for gpu in GPUS if gpu.memory > how.gpu.memory), key=lambda gpu: gpu.memory)
    for number in range(1, _MOST_GPUS + 1):
        for gpu in larger:
            shares = how.shares if number == 1 else 1
            count = "" if number == how.count else f" --count {number}"
            changed = replace(how, gpu=gpu, count=number, shares=shares)
            options = f"--gpu {gpu.name}{count}" + (" --shares 1" if shares != how.shares else "")
            if advice := _tried(model, changed, options):
                return advice
    return None
