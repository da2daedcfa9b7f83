"""A small language model that writes which lines of a program change: the built-in operator, and how it is trained.

`line_edits` has the format and its tokens, `questions` what the model is asked and answers, `grammar` what may follow in an
answer, and `scope` which lines fit a program; `sampling` draws answers, and `operator` makes children of them. `lessons` finds
in runs what there is to learn, and `training` trains a model on it. `builtin` is the trained one that comes with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.mutation.edits.builtin import BuiltinMutation as BuiltinMutation
    from elm_rl.mutation.edits.operator import EditModelMutation as EditModelMutation
    from elm_rl.mutation.edits.operator import EditModelOptions as EditModelOptions
    from elm_rl.mutation.edits.training import EditTrainingConfig as EditTrainingConfig
    from elm_rl.mutation.edits.training import run_edit_training as run_edit_training

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "builtin": ["BuiltinMutation"],
        "operator": ["EditModelMutation", "EditModelOptions"],
        "training": ["EditTrainingConfig", "run_edit_training"],
    },
)
