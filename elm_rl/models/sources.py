"""Where a pretrained model is: a folder, a GGUF file, or a name on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from elm_rl.errors import ElmError

GGUF_SUFFIX = ".gguf"
_GGUF_BEGINNING = b"GGUF"

_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "*.model", "*.tiktoken")
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth")


@dataclass(frozen=True)
class ModelSource:
    """What ``from_pretrained`` is to read.

    Attributes:
        label: The model as the user named it.
        name: Folder or hub name.
        folder: The folder; None for a hub name.
        gguf_file: Name of the GGUF file in the folder, for models that are one.
    """

    label: str
    name: str
    folder: Path | None = None
    gguf_file: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Arguments that every ``from_pretrained`` of this model takes: no code of the model's repository is run."""
        arguments: dict[str, Any] = {"trust_remote_code": False}
        return arguments | ({"gguf_file": self.gguf_file} if self.gguf_file else {})

    def weight_arguments(self) -> dict[str, Any]:
        """Arguments for reading the weights: safetensors, which are nothing but numbers, or GGUF, unpacked to plain tensors."""
        if self.gguf_file is None:
            return {"use_safetensors": True}
        # Where transformers can keep weights packed, it is told not to: packed ones cannot be trained or saved.
        packing = getattr(transformers, "GgufConfig", None)
        return {} if packing is None else {"quantization_config": packing(dequantize=True)}

    def place(self) -> str:
        """The model, to begin a sentence about a fault in it."""
        if self.gguf_file is not None:
            return f"The GGUF file '{self.label}' cannot be read"
        if self.folder is not None:
            return f"The model folder '{self.label}' cannot be read"
        return (
            f"No model {self.label!r} could be loaded: it is no folder here, and the Hugging Face hub does not give it"
        )

    def remedy(self) -> str:
        """What to do about that fault, to end the sentence."""
        if self.folder is None:
            return "check the name and the connection, or give a folder or a GGUF file"
        if self.gguf_file is not None:
            return "get it anew or give another"
        return "restore it from a copy, train it again or give another"

    def has_tokenizer_files(self) -> bool:
        """Whether a folder has any file that a tokenizer could be read from; a GGUF file and the hub may hold one."""
        if self.folder is None or self.gguf_file is not None:
            return True
        return any(next(self.folder.glob(pattern), None) is not None for pattern in _TOKENIZER_FILES)


def find_model(name_or_path: str | Path) -> ModelSource:
    """Tells a folder, a GGUF file and a hub name apart, and looks whether the first two are there.

    Args:
        name_or_path: A folder with ``config.json``; a path that ends with ``.gguf``; or a name such as ``owner/model``.

    Raises:
        ElmError: There is no such folder or file, or it is visibly no model.
    """
    name = str(name_or_path)
    if not name.strip():
        raise ElmError("No model is named; give a model folder, a GGUF file or a name on the hub.")
    path = Path(name).expanduser()
    if path.suffix.lower() == GGUF_SUFFIX and not path.is_dir():
        return _gguf_source(path)
    if path.is_dir():
        return _folder_source(path)
    if path.exists():
        raise ElmError(f"'{path}' is a file; give a model folder, a {GGUF_SUFFIX} file or a name on the hub.")
    # "owner/model" can be a hub name; anything else that is not on disk can only be a mistyped path.
    if isinstance(name_or_path, Path) or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ElmError(f"There is no model folder '{path}'; check the path, or train one with 'elm-rl pretrain'.")
    return ModelSource(name, name)


def _gguf_source(path: Path) -> ModelSource:
    if not path.exists():
        raise ElmError(f"There is no GGUF file '{path}'; check the path.")
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_GGUF_BEGINNING))
    except OSError as error:
        raise ElmError(f"The GGUF file '{path}' cannot be read: {error.strerror}; give another.") from error
    if beginning != _GGUF_BEGINNING:
        raise ElmError(f"'{path}' is no GGUF file: it does not begin with 'GGUF'; get it anew or give another.")
    try:
        import gguf  # noqa: F401 - transformers would name the package, but only in the middle of its work
    except ImportError as error:
        raise ElmError(f"To read the GGUF file '{path}' the package gguf is needed: pip install gguf.") from error
    return ModelSource(str(path), str(path.parent), path.parent, path.name)


def _folder_source(path: Path) -> ModelSource:
    if not (path / "config.json").is_file():
        files = sorted(file.name for file in path.glob(f"*{GGUF_SUFFIX}"))
        advice = f"name the file in it: '{path / files[0]}'" if files else "give a folder written by 'elm-rl pretrain'"
        raise ElmError(f"'{path}' holds no model (config.json is missing); {advice}.")
    pickles = [file.name for pattern in _PICKLES for file in path.glob(pattern)]
    if pickles and next(path.glob("*.safetensors"), None) is None:
        raise ElmError(
            f"The weights in '{path}' are pickles ({pickles[0]}), which could run code when they are read; convert them to "
            "safetensors where you trust them, as docs/models.md shows."
        )
    return ModelSource(str(path), str(path), path)
