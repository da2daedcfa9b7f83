"""Examples that share a prompt, side by side in one sequence: the prompt is read once for all its completions.

Each completion sees the prompt and itself, and stands at the positions behind the prompt as if it were alone; so the loss is
that of the same examples one by one, at a fraction of the work where prompts are longer than completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

IGNORED = -100  # the label that cross entropy leaves out


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt with several completions.

    Attributes:
        prompt: Token ids that are given.
        completions: Token ids to learn, each with its end token; the first of each is given too.
        learnt: For each token of the prompt, whether it is learnt after all; none of them if left out.
    """

    prompt: Sequence[int]
    completions: Sequence[Sequence[int]]
    learnt: Sequence[bool] = ()


def packed_row(example: SharedPrompt, longest: int) -> dict[str, list[int]] | None:
    """The row of an example: ids, labels, positions, and segments (0 for the prompt, then 1, 2 and so on).

    Args:
        example: A prompt with its completions.
        longest: Most positions the model has; completions that would go beyond are left out.

    Returns:
        None where nothing is left.
    """
    prompt = list(example.prompt)
    learnt = example.learnt or [False] * len(prompt)
    labels = [token if each else IGNORED for token, each in zip(prompt, learnt, strict=True)]
    row = {
        "input_ids": prompt[:],
        "labels": labels,
        "position_ids": list(range(len(prompt))),
        "segments": [0] * len(prompt),
    }
    kept = [list(ids) for ids in example.completions if len(ids) > 1 and len(prompt) + len(ids) <= longest]
    for number, ids in enumerate(kept, start=1):
        row["input_ids"] += ids
        # The token before the first is one of another completion, which cannot tell it.
        row["labels"] += [IGNORED, *ids[1:]]
        row["position_ids"] += range(len(prompt), len(prompt) + len(ids))
        row["segments"] += [number] * len(ids)
    return row if kept else None


def segment_mask(segments: torch.Tensor) -> torch.Tensor:
    """Which position sees which: those before it of the prompt and of its own completion.

    Args:
        segments: Numbers of the segments, (batch, length); -1 for padding, which sees itself alone.

    Returns:
        Booleans, (batch, 1, length, length).
    """
    length = segments.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    own = segments[:, :, None] == segments[:, None, :]
    seen = before & (own | (segments[:, None, :] == 0)) & (segments[:, :, None] >= 0)
    return (seen | torch.eye(length, dtype=torch.bool, device=segments.device))[:, None]
