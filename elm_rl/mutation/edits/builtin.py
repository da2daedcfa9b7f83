"""The built-in operator: a model of line edits that was trained with this project and comes with it.

Its card, ``builtin_model/README.md``, says on which runs it was trained, with which command, and how it fares.
"""

from __future__ import annotations

from pathlib import Path

from elm_rl.mutation.edits.operator import EditModelMutation, EditModelOptions

BUILTIN_MODEL = Path(__file__).parent / "builtin_model"
"""The folder of the model: safetensors, tokenizer, card."""


class BuiltinMutation(EditModelMutation):
    """The operator `EditModelMutation` with the model that comes with the package.

    Args:
        options: How it is asked.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The model cannot be loaded.
    """

    def __init__(self, options: EditModelOptions | None = None, *, name: str = "builtin") -> None:
        super().__init__(BUILTIN_MODEL, options, name=name)
