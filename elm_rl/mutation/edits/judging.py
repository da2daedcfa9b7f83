"""What a model of line edits expects of answers: which of several is likely to raise the QD score of the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from elm_rl.models.packed_examples import IGNORED, SharedPrompt, packed_row, segment_mask
from elm_rl.mutation.edits.line_edits import EditCoder
from elm_rl.mutation.edits.questions import VERDICT_GAINS, VERDICT_SHARES, Verdict, verdict_token

_TOGETHER = 2
"""Questions that are read together: each with all its answers is some hundred tokens, and the shorter wait for the longer."""


@torch.inference_mode()
def judge_answers(
    model: PreTrainedModel, coder: EditCoder, asked: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
) -> list[list[float]]:
    """What a model expects answers to bring, in walker units of the map's QD score.

    The model has learnt what is written where each verdict is asked for. Turned round by Bayes' rule, that says which verdict
    an answer is likely to get.

    Args:
        model: A causal language model over the coder's vocabulary.
        coder: The vocabulary.
        asked: The ids of each question, with those of the answers to it, without their end.

    Returns:
        For each question, what each answer to it is expected to bring.
    """
    expected: list[list[float]] = []
    for begin in range(0, len(asked), _TOGETHER):
        expected += _judge(model, coder, asked[begin : begin + _TOGETHER])
    return expected


def _judge(
    model: PreTrainedModel, coder: EditCoder, asked: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
) -> list[list[float]]:
    different = [list(dict.fromkeys(map(tuple, answers))) for _, answers in asked]
    rows = []
    for (question, _), answers in zip(asked, different, strict=True):
        branches = [[verdict_token(coder, verdict), *ids, coder.end] for ids in answers for verdict in Verdict]
        row = packed_row(SharedPrompt(question, branches), longest=len(question) + max(map(len, branches)))
        assert row is not None
        rows.append(row)
    width = max(len(row["input_ids"]) for row in rows)
    padded = {
        name: torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in rows], device=model.device)
        for name, fill in (("input_ids", 0), ("labels", IGNORED), ("position_ids", 0), ("segments", -1))
    }
    hidden = model.base_model(
        input_ids=padded["input_ids"],
        attention_mask=segment_mask(padded["segments"]),
        position_ids=padded["position_ids"],
        use_cache=False,
    ).last_hidden_state
    learnt = padded["labels"][:, 1:] != IGNORED
    logits = model.get_output_embeddings()(hidden[:, :-1][learnt])
    logs = -torch.nn.functional.cross_entropy(logits, padded["labels"][:, 1:][learnt], reduction="none")
    places = learnt.nonzero()[:, 0].cpu().numpy(), padded["segments"][:, 1:][learnt].cpu().numpy()
    likely = np.zeros((len(rows), int(padded["segments"].max()) + 1))
    np.add.at(likely, places, logs.double().cpu().numpy())
    result = []
    for number, ((_, given), kinds) in enumerate(zip(asked, different, strict=True)):
        each = likely[number, 1 : 1 + len(kinds) * len(Verdict)].reshape(len(kinds), len(Verdict)) + np.log(
            VERDICT_SHARES
        )
        odds = np.exp(each - each.max(axis=1, keepdims=True))
        gains = dict(zip(kinds, odds @ VERDICT_GAINS / odds.sum(axis=1), strict=True))
        result.append([float(gains[tuple(ids)]) for ids in given])
    return result
