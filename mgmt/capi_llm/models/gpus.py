"""The one table of GPUs: how much memory a program finds on one.

``memory`` is MiB as nvidia-smi shows it, which is less than what is sold: firmware, and ECC on cards with
GDDR6, take their part. ``sold`` and ``source`` are the maker's. What a driver shows differs by some MiB from
version to version.
"""

from __future__ import annotations

from dataclasses import dataclass

from capi_llm.errors import BadInput
from capi_llm.fields import nearest


@dataclass(frozen=True)
class Gpu:
    """One model of GPU; ``product`` is what GPU feature discovery calls it in ``nvidia.com/gpu.product``."""

    name: str
    memory: int
    sold: str
    capability: float
    """Compute capability, https://developer.nvidia.com/cuda-gpus; 0 where it is not known."""
    source: str
    product: str = ""

    @property
    def bytes(self) -> int:
        return self.memory << 20


_SITE = "https://www.nvidia.com/en-us"

GPUS = (
    Gpu("T4", 15360, "16 GB", 7.5, f"{_SITE}/data-center/tesla-t4/", "Tesla-T4"),
    Gpu("V100-16GB", 16384, "16 GB", 7.0, f"{_SITE}/data-center/v100/", "Tesla-V100-SXM2-16GB"),
    Gpu("V100-32GB", 32768, "32 GB", 7.0, f"{_SITE}/data-center/v100/", "Tesla-V100-SXM2-32GB"),
    Gpu("A10", 23028, "24 GB", 8.6, f"{_SITE}/data-center/products/a10-gpu/", "NVIDIA-A10"),
    Gpu("A10G", 23028, "24 GB", 8.6, "https://aws.amazon.com/ec2/instance-types/g5/", "NVIDIA-A10G"),
    Gpu("L4", 23034, "24 GB", 8.9, f"{_SITE}/data-center/l4/", "NVIDIA-L4"),
    Gpu("RTX3090", 24576, "24 GB", 8.6, f"{_SITE}/geforce/graphics-cards/30-series/rtx-3090-3090ti/",
        "NVIDIA-GeForce-RTX-3090"),
    Gpu("RTX4090", 24564, "24 GB", 8.9, f"{_SITE}/geforce/graphics-cards/40-series/rtx-4090/",
        "NVIDIA-GeForce-RTX-4090"),
    Gpu("RTX5090", 32607, "32 GB", 12.0, f"{_SITE}/geforce/graphics-cards/50-series/rtx-5090/",
        "NVIDIA-GeForce-RTX-5090"),
    Gpu("A40", 46068, "48 GB", 8.6, f"{_SITE}/data-center/a40/", "NVIDIA-A40"),
    Gpu("L40S", 46068, "48 GB", 8.9, f"{_SITE}/data-center/l40s/", "NVIDIA-L40S"),
    Gpu("A100-40GB", 40960, "40 GB", 8.0, f"{_SITE}/data-center/a100/", "NVIDIA-A100-SXM4-40GB"),
    Gpu("A100-80GB", 81920, "80 GB", 8.0, f"{_SITE}/data-center/a100/", "NVIDIA-A100-SXM4-80GB"),
    Gpu("H100", 81559, "80 GB", 9.0, f"{_SITE}/data-center/h100/", "NVIDIA-H100-80GB-HBM3"),
    Gpu("H200", 143771, "141 GB", 9.0, f"{_SITE}/data-center/h200/", "NVIDIA-H200"),
    Gpu("B200", 183359, "180 GB", 10.0, f"{_SITE}/data-center/dgx-b200/", "NVIDIA-B200"),
)  # fmt: skip
"""Every GPU that is known by name."""


def find(name: str) -> Gpu:
    """The GPU called ``name``, in any case, also as its nodes are labelled. Raises BadInput."""
    wanted = name.lower().replace(" ", "-").removesuffix("-shared")
    for gpu in GPUS:
        if wanted in (gpu.name.lower(), gpu.product.lower()):
            return gpu
    names = [gpu.name for gpu in GPUS]
    close = nearest(name.upper(), names)
    raise BadInput(
        f"there is no GPU {name[:40]!r} in the table",
        why=f"there are {', '.join(names)}",
        fix=f"did you mean {close!r}?" if close else "give its memory: --gpu-memory 24Gi",
    )


def of_memory(size: int) -> Gpu:
    """A GPU that is known by its memory only; ``size`` is in bytes."""
    return Gpu(f"GPU of {size / (1 << 30):.1f} GiB", size >> 20, "", 0.0, "")
