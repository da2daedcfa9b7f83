"""What a model of line edits learns from: the children of evolution runs, each with what became of it.

Every child that a run made is logged, the failures too, and a parent has several. So a lesson is one parent with many answers:
the parent is read once for all of them. Beside its children a lesson holds some of the parent's later descendants, as children
made in one step: each step of the way was admitted, and together they are a leap that no single random edit makes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elm_rl.errors import ConfigError
from elm_rl.mutation.edits.questions import Verdict, verdict_of_gain
from elm_rl.mutation.operator import COMMIT_MESSAGES, FUNCTION_MESSAGE


@dataclass(frozen=True, kw_only=True)
class LessonConfig:
    """Which children are learnt from."""

    after_iteration: int = 60
    """Children of earlier iterations are left out: a young map admits nearly anything."""
    answers: int = 12
    """Most children of one parent; admitted ones first, then drawn at random."""
    leaps: int = 6
    """Most descendants of one parent that are learnt as if they were its children; 0 learns none."""
    generations: int = 4
    """How many steps a descendant may be away."""

    def __post_init__(self) -> None:
        for name, least in (("after_iteration", 0), ("answers", 1), ("leaps", 0), ("generations", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {least} or more.")


@dataclass(frozen=True)
class Answer:
    """One change that could be asked of a parent.

    Attributes:
        child: Text of the child.
        message: The commit message.
        verdict: What became of it, or would have, when the parent was first asked.
    """

    child: str
    message: str
    verdict: Verdict


@dataclass(frozen=True)
class Lesson:
    """A parent with changes that were made to it.

    Attributes:
        parent: Text of the parent.
        fitness: How far it walks, walker units.
        measures: What placed it in its archive, by name.
        answers: Its changes.
        lineage: What the children of one root share; lessons are held out by it.
    """

    parent: str
    fitness: float
    measures: Mapping[str, float]
    answers: tuple[Answer, ...]
    lineage: str

    @property
    def children(self) -> list[str]:
        """What its changes made of it."""
        return [answer.child for answer in self.answers]

    def keeping(self, wanted: Callable[[str], bool]) -> Lesson | None:
        """With the wanted ones of its changes alone; None where there are none."""
        answers = tuple(answer for answer in self.answers if wanted(answer.child))
        return replace(self, answers=answers) if answers else None


def find_lessons(
    admitted: Iterable[Mapping[str, Any]],
    children: Iterable[Mapping[str, Any]],
    config: LessonConfig,
    *,
    run: int = 0,
    seed: int = 0,
) -> list[Lesson]:
    """Finds the lessons of one run.

    Args:
        admitted: Lines of its ``admitted.jsonl``.
        children: Lines of its ``children.jsonl.gz``.
        config: What to learn from.
        run: Number of the run, which keeps the lineages of several runs apart.
        seed: Seed of what is drawn at random.
    """
    records = {record["id"]: record for record in admitted}
    families: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in children:
        if line["program"] is not None and line["message"] in _MESSAGES:
            families[line["parents"][0]].append(line)
    history = _History(records.values())
    rng = np.random.default_rng(seed)
    lessons = []
    for parent in records.values():
        late = [line for line in families[parent["id"]] if line["iteration"] > config.after_iteration]
        if not late:
            continue
        answers = _chosen([_answer(line) for line in late], config.answers, rng)
        if config.leaps:
            when = min(line["iteration"] for line in late)
            leaps = _leaps(parent, families, records, history, when, config.generations)
            answers += _chosen(leaps, config.leaps, rng)
        kept = {answer.child: answer for answer in reversed(answers) if answer.child != parent["program"]}
        if kept:
            measures = {name: parent[name] for name in ("height", "width") if name in parent}
            lineage = f"{run}/{parent['root']}"
            lessons.append(Lesson(parent["program"], parent["fitness"], measures, tuple(kept.values()), lineage))
    return lessons


_MESSAGES = frozenset(message for message, _ in COMMIT_MESSAGES)


def _answer(line: Mapping[str, Any]) -> Answer:
    if line["error"] is not None:
        verdict = Verdict.INVALID
    elif not line["new"]:
        verdict = Verdict.KNOWN
    else:
        verdict = verdict_of_gain(line["gain"] if line["admitted"] is not None else 0.0)
    return Answer(line["program"], line["message"], verdict)


def _chosen(answers: Sequence[Answer], most: int, rng: np.random.Generator) -> list[Answer]:
    """At most so many, those that entered the map first."""
    order = rng.permutation(len(answers)).tolist()
    order.sort(key=lambda i: answers[i].verdict <= Verdict.REFUSED)
    return [answers[i] for i in order[:most]]


def _leaps(
    parent: Mapping[str, Any],
    families: Mapping[int, Sequence[Mapping[str, Any]]],
    records: Mapping[int, Mapping[str, Any]],
    history: _History,
    when: int,
    generations: int,
) -> list[Answer]:
    """Descendants beyond the children that would have entered the map of iteration ``when``."""
    leaps = []
    generation = [parent["id"]]
    for step in range(1, generations + 1):
        born = [line for identity in generation for line in families.get(identity, ()) if line["admitted"] is not None]
        generation = [line["admitted"] for line in born]
        for identity in generation if step > 1 else ():
            record = records[identity]
            gain = record["fitness"] - history.best(record, when)
            if gain > 0:
                leaps.append(Answer(record["program"], FUNCTION_MESSAGE, verdict_of_gain(gain)))
    return leaps


class _History:
    """What each niche held at which time."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._times: dict[tuple[str, int], list[int]] = defaultdict(list)
        self._fitness: dict[tuple[str, int], list[float]] = defaultdict(list)
        for record in records:
            niche = record["archive"], record["niche"]
            self._times[niche].append(record["iteration"])
            self._fitness[niche].append(record["fitness"])

    def best(self, record: Mapping[str, Any], iteration: int) -> float:
        """Fitness that the niche of a record held after an iteration; 0 while it was empty."""
        niche = record["archive"], record["niche"]
        place = bisect_right(self._times[niche], iteration)
        return self._fitness[niche][place - 1] if place else 0.0
