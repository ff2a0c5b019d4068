"""``models fit``: whether a model fits a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capi_llm import versions
from capi_llm.cli.console import MARKS, columns, data
from capi_llm.cli.options import State, output, pass_state

if TYPE_CHECKING:
    from capi_llm.models.fit import Deployment, Fit, Model
    from capi_llm.models.fit_advice import Advice

_MARKS = {"fits": MARKS["Ready"], "may fit": ("!", "yellow"), "does not fit": MARKS["Failed"]}


@click.command()
@click.argument("model")
@click.option("--gpu", "gpu_name", default="", metavar="NAME", help="GPU of the table, such as L4.")
@click.option(
    "--gpu-memory", default="", metavar="SIZE", help="A GPU that is not in it: its memory, as 24Gi."
)
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
              help="GPUs that hold the model together (tensor parallelism).")  # fmt: skip
@click.option("--shares", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
              help="Time-slices of the GPU; the model has one.")  # fmt: skip
@click.option("--context", type=click.IntRange(1), metavar="TOKENS",
              help="Longest sequence.  [default: 8192, or what the model was made for]")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 100000), default=1, show_default=True, metavar="N",
              help="Sequences of that length at a time.")  # fmt: skip
@click.option("--dtype", type=click.Choice(("auto", "bfloat16", "float16", "float32")), default="auto",
              show_default=True, help="Data type of weights.")  # fmt: skip
@click.option(
    "--quantization",
    type=click.Choice(("fp8", "int8", "awq", "gptq")),
    help="Of weights; all but fp8 need a checkpoint that is stored so.  [default: as it is stored]",
)
@click.option("--kv-dtype", type=click.Choice(("auto", "fp8")), default="auto", show_default=True,
              help="Data type of the KV cache.")  # fmt: skip
@click.option("--utilization", type=click.FloatRange(0.1, 1.0), default=0.9, show_default=True,
              metavar="SHARE", help="Share of the GPU that the server takes.")  # fmt: skip
@output("table", "json", "yaml")
@pass_state
def fit(
    state: State,
    model: str,
    gpu_name: str,
    gpu_memory: str,
    count: int,
    shares: int,
    context: int | None,
    concurrency: int,
    dtype: str,
    quantization: str | None,
    kv_dtype: str,
    utilization: float,
    output: str,
) -> int:
    """Whether MODEL fits a GPU: weights, KV cache and overhead against its memory.

    \b
    MODEL is a config.json or its folder, a name of the table, or OWNER/NAME on Hugging Face:
      capi-llm models fit llama-3.1-8b-instruct --gpu L4 --context 8192
      capi-llm models fit ./my-model --gpu A100-80GB --count 2 --concurrency 32
    Ends with 1 where it can not fit, and says which settings would.
    """
    from capi_llm.errors import BadInput
    from capi_llm.fields import memory
    from capi_llm.models import fit_advice, fit_source, gpus
    from capi_llm.models.fit import Deployment, Verdict, examine

    if bool(gpu_name) == bool(gpu_memory):
        raise BadInput("one of --gpu and --gpu-memory is needed", fix="such as --gpu L4")
    gpu = gpus.find(gpu_name) if gpu_name else gpus.of_memory(_bytes(memory(gpu_memory, "--gpu-memory")))
    found, source = fit_source.find(model, offline=state.settings.offline)
    how = Deployment(
        gpu,
        context or min(8192, found.arch.context),
        count,
        shares,
        concurrency,
        dtype,
        quantization or "",
        kv_dtype,
        utilization,
    )
    verdict = examine(found, how)
    advice = [] if verdict.verdict is Verdict.FITS else fit_advice.advise(found, how)
    if output == "table":
        _show(found, how, verdict, advice, source)
    else:
        data({"apiVersion": versions.API_VERSION} | _as_json(found, how, verdict, advice, source), output)
    return 1 if verdict.verdict is Verdict.NOT else 0


_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1 << (10 * (n + 1)) for n, letter in enumerate("KMGTP")
}


def _bytes(text: str) -> int:
    number = text.rstrip("KMGTPki")
    return int(float(number) * _UNITS[text.removeprefix(number)])


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.2f} GiB"


def _show(model: Model, how: Deployment, fit: Fit, advice: list[Advice], source: str) -> None:
    low, high = fit.needed
    mark, colour = _MARKS[fit.verdict.value]
    gpus = how.gpu.name if how.count == 1 else f"{how.count} × {how.gpu.name}"
    share = f", 1 of {how.shares} time-slices" if how.shares > 1 else ""
    click.echo(
        f"{click.style(mark, fg=colour)} {model.name} {fit.verdict} on {gpus}{share}: "
        f"{_gib(low)} to {_gib(high)} are needed, {_gib(fit.available)} are there"
    )
    each = " of each GPU" if how.count > 1 else ""
    rows = [
        ("weights", _gib(fit.weights), f"exact, {fit.exact}"),
        ("KV cache", _gib(fit.kv), f"exact, {how.concurrency} × {how.context} tokens"),
        ("overhead", f"{_gib(fit.overhead[0])} to {_gib(fit.overhead[1])}", "estimated"),
        ("available", _gib(fit.available), _of_what(how)),
    ]
    click.echo("\n".join(f"  {line}" for line in columns(rows)))
    click.echo(f"  room for {fit.room} sequences of {how.context} tokens{each and ', in each GPU'}")
    click.echo(f"  configuration: {source}")
    if fit.verdict.value == "fits":
        click.echo(f"  vLLM: {' '.join(_flags(how))}")
    elif advice:
        click.echo("  It fits with one of:")
        lines = columns(
            [(item.options, f"{_gib(item.fit.needed[1])} of {_gib(item.fit.available)}") for item in advice]
        )
        click.echo("\n".join(f"    {line}" for line in lines))
    else:
        click.echo("  No change of settings that was tried makes it fit.")


def _of_what(how: Deployment) -> str:
    share = f"{how.utilization:g} of" if how.shares == 1 else f"{how.utilization:g} / {how.shares} of"
    return f"{share} {_gib(how.gpu.bytes)}"


def _flags(how: Deployment) -> list[str]:
    """The options of ``vllm serve`` that say the same."""
    from capi_llm.models.fit_precision import LEAST_BFLOAT16

    flags = [
        f"--gpu-memory-utilization {int(how.utilization / how.shares * 100) / 100:.2f}",
        f"--max-model-len {how.context}",
        f"--max-num-seqs {how.concurrency}",
    ]
    flags += [f"--tensor-parallel-size {how.count}"] if how.count > 1 else []
    half = 0 < how.gpu.capability < LEAST_BFLOAT16  # a model of bfloat16 is refused there, and float16 is not
    dtype = "float16" if half and how.dtype == "auto" else how.dtype
    flags += [f"--dtype {dtype}"] if dtype != "auto" else []
    flags += [f"--quantization {how.quantization}"] if how.quantization in ("fp8", "awq", "gptq") else []
    return flags + (["--kv-cache-dtype fp8"] if how.kv_dtype == "fp8" else [])


def _as_json(model: Model, how: Deployment, fit: Fit, advice: list[Advice], source: str) -> dict[str, Any]:
    return {
        "model": model.name,
        "source": source,
        "verdict": fit.verdict.value,
        "ok": fit.verdict.value != "does not fit",
        "deployment": _settings(how),
        "perGpu": _numbers(fit),
        "weightsFrom": fit.exact,
        "room": fit.room,
        "advice": [
            {"options": item.options, "deployment": _settings(item.how), "perGpu": _numbers(item.fit)}
            for item in advice
        ],
    }


def _settings(how: Deployment) -> dict[str, Any]:
    return {
        "gpu": how.gpu.name,
        "gpuMemoryBytes": how.gpu.bytes,
        "count": how.count,
        "shares": how.shares,
        "context": how.context,
        "concurrency": how.concurrency,
        "dtype": how.dtype,
        "quantization": how.quantization,
        "kvDtype": how.kv_dtype,
        "utilization": how.utilization,
    }


def _numbers(fit: Fit) -> dict[str, Any]:
    low, high = fit.needed
    return {
        "weightsBytes": fit.weights,
        "kvCacheBytes": fit.kv,
        "kvCacheBytesOfOneToken": fit.kv_token,
        "overheadBytes": {"low": fit.overhead[0], "high": fit.overhead[1]},
        "neededBytes": {"low": low, "high": high},
        "availableBytes": fit.available,
    }
