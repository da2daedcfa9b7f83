"""Language models over programs.

`tokenizer` makes programs tokens. `language_model` has the sizes, and how models are saved and loaded (`sources`: from
where; `devices`: to where),
`sampling` how they write; `conditioning` tells a model which terrain to write for. `supervised_training` is the loop of
every supervised stage, with its settings in `training_options`, its log in `training_progress` and its checkpoints in
`training_checkpoints`; `adapters` are for large models (LoRA); and `pretraining` is stage 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.models.conditioning.policy import TerrainPolicy as TerrainPolicy
    from elm_rl.models.conditioning.policy import TerrainPolicyConfig as TerrainPolicyConfig
    from elm_rl.models.conditioning.policy import condition as condition
    from elm_rl.models.language_model import MODEL_SIZES as MODEL_SIZES
    from elm_rl.models.language_model import load_language_model as load_language_model
    from elm_rl.models.language_model import load_policy as load_policy
    from elm_rl.models.language_model import make_model as make_model
    from elm_rl.models.language_model import save_language_model as save_language_model
    from elm_rl.models.pretraining import PretrainConfig as PretrainConfig
    from elm_rl.models.pretraining import run_pretrain as run_pretrain
    from elm_rl.models.sampling import sample_answers as sample_answers
    from elm_rl.models.sampling import sample_completions as sample_completions
    from elm_rl.models.supervised_training import Example as Example
    from elm_rl.models.supervised_training import train_causal_lm as train_causal_lm
    from elm_rl.models.tokenizer import decode_program as decode_program
    from elm_rl.models.tokenizer import encode_text as encode_text
    from elm_rl.models.tokenizer import train_tokenizer as train_tokenizer
    from elm_rl.models.training_options import TrainConfig as TrainConfig
    from elm_rl.models.training_options import TrainResult as TrainResult

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "conditioning": ["TerrainPolicy", "TerrainPolicyConfig", "condition"],
        "language_model": [
            "MODEL_SIZES",
            "load_language_model",
            "make_model",
            "load_policy",
            "save_language_model",
        ],
        "pretraining": ["PretrainConfig", "run_pretrain"],
        "sampling": ["sample_answers", "sample_completions"],
        "supervised_training": ["Example", "train_causal_lm"],
        "tokenizer": ["decode_program", "encode_text", "train_tokenizer"],
        "training_options": ["TrainConfig", "TrainResult"],
    },
)
