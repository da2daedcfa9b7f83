"""Where a model computes and in which number format: chosen well when left out, checked when given."""

from __future__ import annotations

import torch
from transformers import PretrainedConfig

from elm_rl.errors import ConfigError

AUTO = "auto"
"""The device or dtype that suits the machine and the model."""

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Number formats of weights, by the names that are taken for ``dtype``."""

_WIDE = 512
"""Hidden size above which bfloat16 pays on a CPU: at 576 (135M parameters) it reads prompts three to five times as fast as
float32 and writes as fast; at 128 (1M parameters) it writes half as fast in a batch."""


def choose_device(name: str = AUTO) -> torch.device:
    """The device of a name such as ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; for ``auto`` the best there is, in that order.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    here = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    here += ["mps"] * _has_mps() + ["cpu"]
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    # "cuda" alone is the first of them.
    if device is None or (str(device) not in here and not (str(device) == "cuda" and "cuda:0" in here)):
        raise ConfigError(f"device is {name!r}; expected {AUTO} or what this machine has: {', '.join(here)}.")
    return device


def check_dtype(name: str) -> None:
    """Raises ConfigError unless ``name`` is ``auto`` or one of :data:`DTYPES`."""
    if name != AUTO and name not in DTYPES:
        raise ConfigError(f"dtype is {name!r}; expected {AUTO}, {', '.join(DTYPES)}.")


def choose_dtype(name: str, device: torch.device, config: PretrainedConfig) -> torch.dtype:
    """The number format of a name; for ``auto`` bfloat16 where the device computes in it, else float32.

    A CPU that has instructions for bfloat16 gets it for wide models only: see :data:`_WIDE`.

    Args:
        name: ``auto`` or one of :data:`DTYPES`.
        device: Where the model will compute.
        config: The model's configuration.

    Raises:
        ConfigError: There is no such format.
    """
    check_dtype(name)
    if name != AUTO:
        return DTYPES[name]
    native = has_bfloat16(device) and (device.type != "cpu" or _width(config) > _WIDE)
    return torch.bfloat16 if native else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16, and does not merely emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _cpu_has_bfloat16()


def _width(config: PretrainedConfig) -> int:
    return int(getattr(config.get_text_config(), "hidden_size", None) or 0)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _cpu_has_bfloat16() -> bool:
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)
