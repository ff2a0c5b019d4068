"""A model of random numbers that a real server loads: a GGUF of the llama family, smaller than a picture.

It says words without sense, the same ones for the same seed. Control tokens and bytes have zeros as their
row of the output, so that words are what comes out. Needs numpy and gguf (PyPI).
"""

from __future__ import annotations

import sys
from pathlib import Path

CONTEXT, WIDTH, LAYERS, HEADS, FORWARD = 512, 64, 2, 4, 128
SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "ri", "so", "tu")


def words() -> list[str]:
    return [first + second for first in SYLLABLES for second in SYLLABLES]


def write(path: Path, seed: int = 7) -> int:
    """Write the model to ``path``; returns how many parameters it has."""
    import gguf
    import numpy as np

    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256
    silent = len(tokens)
    tokens += [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in words()]
    types += [kinds.NORMAL] * (len(tokens) - silent)

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([0.0] * silent + [-float(n) for n in range(len(tokens) - silent)])
    writer.add_token_types([int(kind) for kind in types])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    random, count = np.random.default_rng(seed), 0

    def add(name: str, *shape: int, scale: float = 0.1) -> None:
        nonlocal count
        numbers = random.normal(0, scale, shape).astype(np.float32)
        if name == "output.weight":
            numbers[:silent] = 0
        if name.endswith("norm.weight"):
            numbers = np.ones(shape, np.float32)
        writer.add_tensor(name, numbers)
        count += numbers.size

    add("token_embd.weight", len(tokens), WIDTH, scale=1)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", WIDTH, WIDTH, scale=0.3)
        for name in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{name}.weight", FORWARD, WIDTH, scale=0.3)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, FORWARD, scale=0.3)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", WIDTH)
    add("output_norm.weight", WIDTH)
    add("output.weight", len(tokens), WIDTH, scale=0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return count


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} parameters")
