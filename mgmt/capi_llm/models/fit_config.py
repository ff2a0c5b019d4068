"""A model's ``config.json``, as Hugging Face writes it, as an :class:`Architecture`. Pure.

What a file leaves out has the default of its ``model_type`` in transformers (``configuration_*.py``, v4.57).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capi_llm.errors import BadInput


@dataclass(frozen=True)
class Family:
    """What a ``model_type`` has that its config.json does not say."""

    tied: bool = False
    """Whether input and output embeddings are one, where the file does not say it."""
    qkv_bias: bool = False
    head_norms: bool = False
    """A norm over each head of q and of k."""
    layer_norms: int = 2
    sinks: bool = False
    """A number per head for attention to nothing (gpt-oss)."""
    router_bias: bool = False
    expert_bias: bool = False
    window_layers: str = "all"
    """Which layers have the window of ``sliding_window``: all, even ones, five of six, or none."""


FAMILIES = {
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "phi3": Family(),
    "qwen2": Family(qkv_bias=True, window_layers="none"),
    "qwen2_moe": Family(qkv_bias=True, window_layers="none"),
    "qwen3": Family(head_norms=True, window_layers="none"),
    "qwen3_moe": Family(head_norms=True, window_layers="none"),
    "gemma": Family(tied=True),
    "gemma2": Family(tied=True, layer_norms=4, window_layers="even"),
    "gemma3_text": Family(tied=True, layer_norms=4, head_norms=True, window_layers="five of six"),
    "deepseek_v2": Family(),
    "deepseek_v3": Family(),
    "gpt_oss": Family(sinks=True, router_bias=True, expert_bias=True, window_layers="even"),
}
"""Every ``model_type`` whose parameters are counted by formula."""


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: ``count`` of ``width`` in each of its layers, ``active`` at a time.

    ``shared`` is the width of the experts that all tokens go through, 0 for none.
    """

    count: int
    active: int
    width: int
    shared: int = 0
    shared_gate: bool = False
    bias: bool = False
    """Whether the router corrects its choice by a number per expert (DeepSeek-V3)."""


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek): what is cached is a vector of ``kv_rank`` + ``rope``."""

    kv_rank: int
    q_rank: int
    nope: int
    rope: int
    value: int


@dataclass(frozen=True)
class Quantized:
    """How weights are stored, or are to be: see :mod:`capi_llm.models.fit_precision`."""

    method: str
    bits: int = 0
    group: int = 0
    block: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Architecture:
    """What parameters and KV cache follow from. Sizes are numbers of elements."""

    model_type: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    """Of the MLP of a dense layer."""
    vocabulary: int
    context: int
    """Longest that the model was made for, in tokens."""
    tied: bool
    dtype: str
    attention_bias: bool
    mlp_bias: bool
    windows: tuple[int, ...]
    """Of each layer: how many tokens it looks back, 0 for all."""
    sparse: tuple[bool, ...]
    """Of each layer: whether it is a mixture of experts."""
    experts: Experts | None = None
    latent: Latent | None = None
    quantized: Quantized | None = None
    next_layers: int = 0
    """Layers for predicting more than one token, which are stored behind the others."""
    text_only: bool = True

    @property
    def layers(self) -> int:
        return len(self.windows)

    @property
    def family(self) -> Family | None:
        return FAMILIES.get(self.model_type)


class _Reader:
    """The file's values, checked. ``where`` names it in messages."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self._config, self._where = config, where

    def number(self, *names: str, default: int | None = None, least: int = 1) -> int:
        for name in names:
            value = self._config.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
                raise BadInput(
                    f"{self._where}: {name} is {str(value)[:40]!r}",
                    why=f"it has to be a whole number from {least} on",
                    fix="take the config.json of a model in the format of Hugging Face transformers",
                )
            return value
        if default is None:
            raise BadInput(
                f"{self._where}: {names[0]} is missing",
                why="weights and KV cache can not be computed without it",
                fix="take the config.json of a model in the format of Hugging Face transformers",
            )
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._config.get(name)
        return default if value is None else bool(value)

    def part(self, name: str) -> Mapping[str, Any]:
        value = self._config.get(name)
        return value if isinstance(value, dict) else {}

    def get(self, name: str) -> Any:
        return self._config.get(name)


def parse(config: Mapping[str, Any], where: str = "config.json") -> Architecture:
    """The architecture that ``config`` describes; of a model for more than text, its text part.

    Raises BadInput with the field that is missing or wrong.
    """
    outer = config
    inner = config.get("text_config")
    if isinstance(inner, dict):
        config = {**inner, "quantization_config": config.get("quantization_config")}
    read = _Reader(config, where)
    model_type = str(config.get("model_type") or outer.get("model_type") or "")
    family = FAMILIES.get(model_type, Family())
    heads = read.number("num_attention_heads")
    hidden = read.number("hidden_size")
    layers = read.number("num_hidden_layers")
    if layers > 1000:
        raise BadInput(f"{where}: num_hidden_layers is {layers}", fix="no model has more than 1000")
    latent = _latent(read)
    kv_heads = read.number("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise BadInput(f"{where}: {heads} attention heads can not share {kv_heads} heads of keys and values",
                       fix="look at num_attention_heads and num_key_value_heads")  # fmt: skip
    experts = _experts(read)
    dtype = config.get("torch_dtype") or config.get("dtype") or outer.get("torch_dtype") or outer.get("dtype")
    return Architecture(
        model_type=model_type,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=read.number("head_dim", default=max(1, hidden // heads)),
        width=read.number("intermediate_size", default=experts.width if experts else None),
        vocabulary=read.number("vocab_size"),
        context=read.number("max_position_embeddings"),
        tied=read.flag("tie_word_embeddings", default=family.tied),
        dtype=str(dtype or "bfloat16"),
        attention_bias=read.flag("attention_bias", default=False),
        mlp_bias=read.flag("mlp_bias", default=False),
        windows=_windows(read, family, layers),
        sparse=_sparse(read, experts, layers),
        experts=experts,
        latent=latent,
        quantized=_quantized(read),
        next_layers=read.number("num_nextn_predict_layers", default=0, least=0),
        text_only=not any(key in outer for key in ("vision_config", "audio_config")),
    )


def _latent(read: _Reader) -> Latent | None:
    if not read.get("kv_lora_rank"):
        return None
    return Latent(
        read.number("kv_lora_rank"),
        read.number("q_lora_rank", default=0, least=0),
        read.number("qk_nope_head_dim"),
        read.number("qk_rope_head_dim"),
        read.number("v_head_dim"),
    )


def _experts(read: _Reader) -> Experts | None:
    count = read.number("num_local_experts", "num_experts", "n_routed_experts", default=0, least=0)
    if not count:
        return None
    width = read.number("moe_intermediate_size", "intermediate_size")
    shared = read.number("n_shared_experts", default=0, least=0) * width
    own = read.number("shared_expert_intermediate_size", default=0, least=0)
    return Experts(
        count,
        min(count, read.number("num_experts_per_tok", "experts_per_token")),
        width,
        shared or own,
        shared_gate=own > 0,
        bias=read.get("topk_method") == "noaux_tc",
    )


def _sparse(read: _Reader, experts: Experts | None, layers: int) -> tuple[bool, ...]:
    """DeepSeek's first layers are dense; Qwen's every ``decoder_sparse_step``-th is not, but those named."""
    if experts is None:
        return (False,) * layers
    first = read.number("first_k_dense_replace", default=0, least=0)
    every = read.number("moe_layer_freq", default=1)
    step = read.number("decoder_sparse_step", default=1)
    dense = set(read.get("mlp_only_layers") or ())
    return tuple(
        n >= first and n % every == 0 and (n + 1) % step == 0 and n not in dense for n in range(layers)
    )


def _windows(read: _Reader, family: Family, layers: int) -> tuple[int, ...]:
    """``layer_types`` where it is there, else what the family does."""
    window = read.number("sliding_window", default=0, least=0)
    types = read.get("layer_types")
    if isinstance(types, list) and len(types) == layers:
        return tuple(window if kind == "sliding_attention" else 0 for kind in types)
    if read.get("use_sliding_window"):
        # Qwen: layers from max_window_layers on have it.
        first = read.number("max_window_layers", default=layers, least=0)
        return tuple(window if n >= first else 0 for n in range(layers))
    pattern = read.number("sliding_window_pattern", default=6)
    slides: dict[str, Callable[[int], bool]] = {
        "all": lambda n: True,
        "even": lambda n: n % 2 == 0,
        "five of six": lambda n: (n + 1) % pattern != 0,
        "none": lambda n: False,
    }
    return tuple(window if slides[family.window_layers](n) else 0 for n in range(layers))


def _quantized(read: _Reader) -> Quantized | None:
    given = read.part("quantization_config")
    method = str(given.get("quant_method") or "")
    if not method:
        return None
    inner = _Reader(given, "config.json: quantization_config")
    block = given.get("weight_block_size")
    good = isinstance(block, list) and len(block) == 2 and all(isinstance(n, int) and n > 0 for n in block)
    return Quantized(
        method,
        inner.number("bits", "w_bit", default=0, least=0),
        inner.number("group_size", "q_group_size", default=0, least=-1),
        (block[0], block[1]) if good and block else (0, 0),
    )
