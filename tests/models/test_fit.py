"""Whether a model fits: parameters as in published checkpoints, KV cache as in papers, and the verdict."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_llm.errors import BadInput
from capi_llm.models import fit_advice, fit_config, fit_known, fit_parameters, fit_precision, gpus
from capi_llm.models.fit import Deployment, Model, Verdict, examine, kv_bytes, kv_token
from capi_llm.models.fit_config import Quantized

_INDEX = "model.safetensors.index.json, metadata.total_size"

PUBLISHED = (
    # Chosen before the formulas were written: model, parameters, bytes of its tensors, where both stand.
    ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 2_200_096_768, "safetensors: 1.1B params, BF16"),
    ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248, 16_060_522_496, _INDEX),
    ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, 15_231_233_024, _INDEX),
    ("Qwen/Qwen3-30B-A3B", 30_532_122_624, 61_064_245_248, "safetensors: 30.5B params, BF16"),
    ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, 93_405_585_408, _INDEX),
    ("google/gemma-2-9b-it", 9_241_705_984, 18_483_411_968, _INDEX),
    ("openai/gpt-oss-20b", 20_914_757_184, 13_761_264_768, f"arXiv 2508.10925, table 1: 20.91B; {_INDEX}"),
    # 680,571,043,840 of FP8, 3,918,786,560 of BF16 and 41,555,600 of FP32, which are scales but for
    # 256 × 59 corrections of the router; the module for next tokens is among them.
    ("deepseek-ai/DeepSeek-V3", 684_531_386_000 - 41_555_600 + 256 * 59, 688_574_839_360, "safetensors"),
)
"""The pages are those of the models at https://huggingface.co."""


def architecture(name: str) -> fit_config.Architecture:
    return fit_config.parse(fit_known.KNOWN[name])


def model(name: str) -> Model:
    return Model(name, architecture(name))


LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
L4 = gpus.find("L4")


def test_eight_models_against_published_figures(capsys: pytest.CaptureFixture[str]) -> None:
    misses = []
    for name, parameters, size, source in PUBLISHED:
        arch = architecture(name)
        found = fit_parameters.matrices(arch, next_layers=True)
        counted = fit_parameters.total(found)
        dtype = fit_precision.dtype_of(arch.dtype, "auto")
        weighed = fit_precision.total(found, dtype, arch.quantized)
        if (counted, weighed) != (parameters, size):
            misses.append(f"{name}: {counted:,} parameters for {parameters:,}, {weighed:,} bytes for {size:,}"
                          f" ({source})")  # fmt: skip
    assert len(PUBLISHED) == 8
    assert not misses, "\n".join(misses)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
        ("meta-llama/Llama-3.1-70B-Instruct", 70_553_706_496),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-72B-Instruct", 72_706_203_648),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("deepseek-ai/DeepSeek-V2-Lite", 15_706_484_224),
    ],
)
def test_the_other_shipped_configurations(name: str, parameters: int) -> None:
    assert fit_parameters.total(fit_parameters.matrices(architecture(name))) == parameters


def test_active_weights_of_deepseek_v3_are_those_of_its_paper() -> None:
    """671 billion without the module for next tokens (arXiv 2412.19437)."""
    total = fit_parameters.total(fit_parameters.matrices(architecture("deepseek-ai/DeepSeek-V3")))
    assert round(total / 1e9) == 671


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # arXiv 2505.09343 (Insights into DeepSeek-V3), table 1: KV cache per token in KB of 1000, BF16.
        ("deepseek-ai/DeepSeek-V3", 70_272),
        ("Qwen/Qwen2.5-72B-Instruct", 327_680),
    ],
)
def test_kv_cache_of_a_token_is_that_of_a_paper(name: str, published: int) -> None:
    arch = architecture(name)
    assert kv_bytes(arch, Deployment(L4, 1), 1) == published
    assert kv_bytes(arch, Deployment(L4, 100), 7) == 700 * published


def test_kv_cache_of_llama_405b_is_that_of_the_same_paper() -> None:
    arch = architecture(LLAMA)
    big = replace(arch, windows=(0,) * 126, kv_heads=8, head_dim=128)
    assert kv_bytes(big, Deployment(L4, 1), 1) == 516_096


def test_a_window_keeps_what_it_looks_back_to() -> None:
    gemma, mistral, oss = map(
        architecture, ("google/gemma-2-9b-it", "mistralai/Mistral-7B-v0.1", "openai/gpt-oss-20b")
    )
    assert gemma.windows[:2] == (4096, 0)
    assert kv_bytes(gemma, Deployment(L4, 8192), 1) == 21 * (4096 + 8192) * 2 * 8 * 256 * 2
    assert kv_bytes(mistral, Deployment(L4, 32768), 1) == kv_bytes(mistral, Deployment(L4, 4096), 1)
    assert sum(window == 128 for window in oss.windows) == 12


def test_more_gpus_have_fewer_heads_each_and_at_least_one() -> None:
    llama, deepseek = architecture(LLAMA), architecture("deepseek-ai/DeepSeek-V3")
    sizes = [kv_token(llama, Deployment(L4, 1, count)) for count in (1, 2, 8, 16, 32)]
    assert sizes == [4096, 2048, 512, 512, 512]
    assert kv_token(deepseek, Deployment(L4, 1, 8)) == kv_token(deepseek, Deployment(L4, 1))


@pytest.mark.parametrize(
    ("quantized", "out", "into", "expected"),
    [
        (Quantized("fp8"), 256, 130, 256 * 130 + 4),
        (Quantized("fp8", block=(128, 128)), 257, 129, 257 * 129 + 4 * 3 * 2),
        (Quantized("int8"), 64, 32, 64 * 32 + 2 * 64),
        (Quantized("awq", 4, 128), 64, 256, 64 * 128 + 2 * 64 * 2 + 64),
        (Quantized("gptq", 4, 128), 64, 256, 64 * 128 + 2 * 64 * 2 + 64 + 4 * 256),
        (Quantized("awq", 4, -1), 64, 256, 64 * 128 + 2 * 64 + 32),
    ],
)
def test_bytes_of_a_quantized_matrix(quantized: Quantized, out: int, into: int, expected: int) -> None:
    matrix = fit_parameters.Matrix("mlp", out, into, 3)
    assert fit_precision.size(matrix, "bfloat16", quantized) == 3 * expected
    plain = replace(matrix, kind=fit_parameters.Kind.PLAIN)
    assert fit_precision.size(plain, "bfloat16", quantized) == 3 * out * into * 2


def test_the_verdict_follows_the_numbers() -> None:
    fits = examine(model(LLAMA), Deployment(L4, 8192))
    tight = examine(model(LLAMA), Deployment(L4, 8192, concurrency=4))
    no = examine(model(LLAMA), Deployment(gpus.find("T4"), 8192))
    assert [item.verdict for item in (fits, tight, no)] == [Verdict.FITS, Verdict.TIGHT, Verdict.NOT]
    assert fits.needed[1] <= fits.available
    assert tight.needed[0] <= tight.available < tight.needed[1]
    assert no.available < no.needed[0]
    assert fits.weights == 16_060_522_496
    assert fits.kv == 8192 * 131_072
    assert examine(model(LLAMA), Deployment(L4, 8192, concurrency=fits.room)).verdict is not Verdict.NOT
    half = examine(model(LLAMA), Deployment(L4, 1024, shares=2))
    assert half.available == fits.available // 2
    assert half.verdict is Verdict.NOT


def test_measured_overheads_lie_in_the_range() -> None:
    """What vLLM printed for Llama 3.1 8B: activations and memory beside PyTorch, in GiB (docs/fit.md)."""
    low, high = examine(model(LLAMA), Deployment(L4, 131072)).overhead
    for measured in (0.22 + 0.05, 1.19 + 0.12, 1.19 + 0.12 + 0.96):
        assert low <= measured * (1 << 30) <= high


def test_sizes_of_the_checkpoint_are_used_where_it_is_loaded_as_it_is() -> None:
    stored = replace(model(LLAMA), stored=10_000_000_000)
    assert examine(stored, Deployment(L4, 1024)).weights == 10_000_000_000
    assert examine(stored, Deployment(gpus.find("T4"), 1024, count=2)).weights == 5_000_000_000
    assert examine(stored, Deployment(L4, 1024, quantization="fp8")).weights < 9.1e9
    unknown = replace(stored, arch=replace(stored.arch, model_type="else"))
    assert examine(unknown, Deployment(L4, 1024)).weights == 10_000_000_000
    with pytest.raises(BadInput, match=r"index\.json"):
        examine(replace(unknown, stored=None), Deployment(L4, 1024))


def test_a_model_stored_in_float32_is_loaded_in_half_of_it() -> None:
    arch = replace(architecture(LLAMA), dtype="float32")
    assert examine(Model("m", arch, 4 * 8_030_261_248), Deployment(L4, 1024)).weights == 16_060_522_496


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"context": 131073}, "--context 131072"),
        ({"count": 3}, "--count 2"),
        ({"count": 2, "shares": 2}, "leave one of them out"),
        ({"gpu": gpus.find("T4"), "quantization": "fp8"}, "compute capability 8.0"),
        ({"gpu": gpus.find("T4"), "dtype": "bfloat16"}, "leave out --dtype"),
        ({"gpu": gpus.find("A100-80GB"), "kv_dtype": "fp8"}, "compute capability 8.9"),
    ],
)
def test_what_no_server_would_start_with_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        examine(model(LLAMA), replace(Deployment(L4, 1024), **changes))
    assert said in str(refused.value)


def test_another_quantization_than_that_of_the_checkpoint_is_refused() -> None:
    with pytest.raises(BadInput, match="stored in mxfp4"):
        examine(model("openai/gpt-oss-20b"), Deployment(L4, 1024, quantization="fp8"))
    arch = replace(architecture(LLAMA), quantized=Quantized("bitsandbytes", 4))
    with pytest.raises(BadInput, match=r"index\.json"):
        examine(Model("m", arch), Deployment(L4, 1024))
    assert examine(Model("m", arch, 5 << 30), Deployment(L4, 1024)).weights == 5 << 30


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (LLAMA, {"--quantization awq", "--count 2", "--gpu A10"}),
        ("Qwen/Qwen2.5-72B-Instruct", {"--gpu B200"}),
        ("deepseek-ai/DeepSeek-V2-Lite", {"--count 4", "--quantization awq", "--gpu A100-40GB"}),
    ],
)
def test_what_would_fit_is_said(name: str, options: set[str]) -> None:
    found = fit_advice.advise(model(name), Deployment(gpus.find("T4"), 4096))
    assert options <= {item.options for item in found}


DEPLOYMENTS = st.builds(
    Deployment,
    gpu=st.sampled_from(gpus.GPUS),
    context=st.integers(1, 8192),
    count=st.sampled_from((1, 2, 4)),
    concurrency=st.integers(1, 300),
    quantization=st.sampled_from(("", "awq", "gptq")),
)


@given(st.sampled_from((LLAMA, "Qwen/Qwen3-30B-A3B", "google/gemma-2-9b-it")), DEPLOYMENTS)
def test_every_advice_fits_and_is_a_change(name: str, how: Deployment) -> None:
    wanted = model(name)
    try:
        fit = examine(wanted, how)
    except BadInput:
        return
    for advice in fit_advice.advise(wanted, how):
        assert advice.how != how
        assert examine(wanted, advice.how) == advice.fit
        if fit.verdict is not Verdict.FITS:
            assert advice.fit.verdict is Verdict.FITS


@given(DEPLOYMENTS, st.integers(0, 1000), st.integers(0, 100))
def test_more_is_never_less(how: Deployment, tokens: int, sequences: int) -> None:
    how = replace(how, gpu=L4)
    wanted = model(LLAMA)
    more = replace(how, context=how.context + tokens, concurrency=how.concurrency + sequences)
    less, larger = examine(wanted, how), examine(wanted, more)
    assert all(a <= b for a, b in zip(less.needed, larger.needed, strict=True))
    assert less.kv <= larger.kv
    if less.verdict is Verdict.NOT:
        assert larger.verdict is Verdict.NOT


CONFIG = dict(fit_known.KNOWN[LLAMA])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers is 'many'"),
        ({"num_attention_heads": True}, "num_attention_heads"),
        ({"vocab_size": 0}, "vocab_size is '0'"),
        ({"num_hidden_layers": 2000}, "no model has more than 1000"),
        ({"num_key_value_heads": 5}, "32 attention heads can not share 5"),
        ({"num_local_experts": 8}, "num_experts_per_tok is missing"),
        ({"quantization_config": {"quant_method": "awq", "bits": "four"}}, "bits is 'four'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        fit_config.parse(CONFIG | changes)
    assert said in str(refused.value)


@given(
    st.dictionaries(
        st.sampled_from([*CONFIG, "sliding_window", "num_experts", "kv_lora_rank", "quantization_config"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
)  # fmt: skip
def test_any_configuration_is_taken_or_refused(changes: dict[str, Any]) -> None:
    with contextlib.suppress(BadInput):
        examine(Model("m", fit_config.parse(CONFIG | changes)), Deployment(L4, 1))


def test_a_model_for_more_than_text_has_the_attention_of_its_text() -> None:
    arch = fit_config.parse({"model_type": "gemma3", "text_config": CONFIG, "vision_config": {}})
    assert arch.kv_heads == 8
    with pytest.raises(BadInput, match="images or sound"):
        fit_parameters.matrices(arch)


def test_gpus_are_found_by_name_and_by_their_label() -> None:
    assert gpus.find("l4") == gpus.find("NVIDIA-L4") == gpus.find("NVIDIA-L4-SHARED") == L4
    with pytest.raises(BadInput, match="H100"):
        gpus.find("H10")
    assert all(gpu.source.startswith("https://") and gpu.capability >= 7 for gpu in gpus.GPUS)
