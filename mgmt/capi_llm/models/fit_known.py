"""Configurations that are shipped, so that ``models fit`` works without the network.

The fields of each model's config.json at https://huggingface.co/NAME that parameters and KV cache follow
from. That they are right is tested: parameters counted from them are those of the published checkpoints.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

_BF16 = {"torch_dtype": "bfloat16"}


def _llama(hidden: int, layers: int, heads: int, kv: int, width: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": width,
        "vocab_size": 128256, "max_position_embeddings": 131072, "tie_word_embeddings": False,
    } | _BF16 | more  # fmt: skip


def _qwen(hidden: int, layers: int, heads: int, kv: int, width: int, **more: Any) -> dict[str, Any]:
    return _llama(hidden, layers, heads, kv, width) | {
        "model_type": "qwen2", "vocab_size": 152064, "max_position_embeddings": 32768,
    } | more  # fmt: skip


_GPT_OSS = _llama(
    2880, 24, 64, 8, 2880,
    model_type="gpt_oss", head_dim=64, vocab_size=201088, attention_bias=True, sliding_window=128,
    num_local_experts=32, num_experts_per_tok=4, quantization_config={"quant_method": "mxfp4"},
)  # fmt: skip

_DEEPSEEK_V3 = _llama(
    7168, 61, 128, 128, 18432,
    model_type="deepseek_v3", vocab_size=129280, max_position_embeddings=163840,
    kv_lora_rank=512, q_lora_rank=1536, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
    n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8, moe_intermediate_size=2048,
    first_k_dense_replace=3, moe_layer_freq=1, num_nextn_predict_layers=1, topk_method="noaux_tc",
    quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
)  # fmt: skip

KNOWN: Mapping[str, Mapping[str, Any]] = {
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": _llama(
        2048, 22, 32, 4, 5632, vocab_size=32000, max_position_embeddings=2048
    ),
    "meta-llama/Llama-3.2-1B-Instruct": _llama(
        2048, 16, 32, 8, 8192, head_dim=64, tie_word_embeddings=True
    ),
    "meta-llama/Llama-3.2-3B-Instruct": _llama(
        3072, 28, 24, 8, 8192, head_dim=128, tie_word_embeddings=True
    ),
    "meta-llama/Llama-3.1-8B-Instruct": _llama(4096, 32, 32, 8, 14336),
    "meta-llama/Llama-3.1-70B-Instruct": _llama(8192, 80, 64, 8, 28672),
    "mistralai/Mistral-7B-v0.1": _llama(
        4096, 32, 32, 8, 14336,
        model_type="mistral", vocab_size=32000, max_position_embeddings=32768, sliding_window=4096,
    ),
    "mistralai/Mixtral-8x7B-v0.1": _llama(
        4096, 32, 32, 8, 14336,
        model_type="mixtral", vocab_size=32000, max_position_embeddings=32768,
        num_local_experts=8, num_experts_per_tok=2,
    ),
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen(
        896, 24, 14, 2, 4864, vocab_size=151936, tie_word_embeddings=True
    ),
    "Qwen/Qwen2.5-7B-Instruct": _qwen(3584, 28, 28, 4, 18944),
    "Qwen/Qwen2.5-72B-Instruct": _qwen(8192, 80, 64, 8, 29568),
    "Qwen/Qwen3-8B": _qwen(
        4096, 36, 32, 8, 12288,
        model_type="qwen3", vocab_size=151936, head_dim=128, max_position_embeddings=40960,
    ),
    "Qwen/Qwen3-30B-A3B": _qwen(
        2048, 48, 32, 4, 6144,
        model_type="qwen3_moe", vocab_size=151936, head_dim=128, max_position_embeddings=40960,
        num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, decoder_sparse_step=1,
    ),
    "google/gemma-2-9b-it": _llama(
        3584, 42, 16, 8, 14336,
        model_type="gemma2", vocab_size=256000, head_dim=256, max_position_embeddings=8192,
        sliding_window=4096, tie_word_embeddings=True,
    ),
    "openai/gpt-oss-20b": _GPT_OSS,
    "openai/gpt-oss-120b": _GPT_OSS | {"num_hidden_layers": 36, "num_local_experts": 128},
    "deepseek-ai/DeepSeek-V3": _DEEPSEEK_V3,
    "deepseek-ai/DeepSeek-V2-Lite": _llama(
        2048, 27, 16, 16, 10944,
        model_type="deepseek_v2", vocab_size=102400, max_position_embeddings=163840,
        kv_lora_rank=512, q_lora_rank=None, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
        n_routed_experts=64, n_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1408,
        first_k_dense_replace=1, moe_layer_freq=1,
    ),
}  # fmt: skip
"""Configurations by name."""

ALIASES = {"tinyllama": "TinyLlama/TinyLlama-1.1B-Chat-v1.0"}


def find(name: str) -> tuple[str, Mapping[str, Any]] | None:
    """The full name and the configuration of ``name``, with or without its owner, in any case."""
    wanted = ALIASES.get(name.lower(), name).lower()
    for full, config in KNOWN.items():
        if wanted in (full.lower(), full.lower().partition("/")[2]):
            return full, config
    return None


def near(name: str) -> list[str]:
    """Names that may have been meant."""
    short = {full.partition("/")[2].lower(): full for full in KNOWN}
    return [short[item] for item in difflib.get_close_matches(name.lower().rpartition("/")[2], short, 3)]
