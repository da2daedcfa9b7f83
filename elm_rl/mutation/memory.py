"""What an operator remembers of its changes: which raised the map most, and which mistakes are common.

Every few iterations this is distilled into a short text for the prompts of models that talk. What was noted counts half as much
after each distillation, so that old successes, which were easier, give way.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from elm_rl.errors import ConfigError
from elm_rl.mutation.operator import MutationOperator, Outcome

MAX_CHANGES = 12
"""Changes that are kept; the text shows as many of them as it has room for."""
MAX_ERRORS = 32
"""Kinds of errors that are kept; there are fewer."""
MAX_DIFF_LINES = 10
"""A change of more lines than this is kept by its figures alone."""
MAX_PROGRAM_CHARACTERS = 12_000
"""Longer programs are not compared with their parents."""
LINE_CHARACTERS = 100
"""What is kept of a line of a change."""
SENTENCE_CHARACTERS = 200
"""What is kept of the sentence that explains an error."""


@dataclass(frozen=True)
class Change:
    """A change that an archive took.

    Attributes:
        gain: How much it raised the QD score, halved with every distillation since.
        before: Distance of the parent.
        after: Distance of the child.
        measures: What places the child in the archive.
        diff: The change, in lines that begin with ``-`` or ``+``; empty where it is too long to be shown.
    """

    gain: float
    before: float
    after: float
    measures: Mapping[str, float]
    diff: str


@dataclass
class _Mistake:
    count: float
    sentence: str


class Memory:
    """Notes what became of an operator's children, and puts it into a few words.

    Args:
        every: Iterations between two distillations.
        characters: Length of the text at most.

    Attributes:
        text: What was distilled last; empty until then.

    Raises:
        ConfigError: ``every`` or ``characters`` is not positive.
    """

    def __init__(self, every: int = 5, characters: int = 1500) -> None:
        if every < 1 or characters < 1:
            raise ConfigError(f"A memory needs positive every and characters; got {every} and {characters}.")
        self._every = every
        self._characters = characters
        self._clear()

    def _clear(self) -> None:
        self.text = ""
        self._iterations = 0
        self._changes: list[Change] = []
        self._mistakes: dict[str, _Mistake] = {}
        self._tried = self._failed = self._copies = 0.0

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Notes the outcomes of one iteration, and distils all that was noted if it is time."""
        for outcome in outcomes:
            self._tried += 1
            if outcome.child.program == outcome.parent.program:
                self._copies += 1
            if outcome.error is not None:
                self._failed += 1
                self._note_mistake(outcome.error, outcome.explanation)
            elif outcome.admitted and outcome.fitness is not None and outcome.gain > 0:
                self._note_change(outcome, outcome.fitness)
        self._iterations += 1
        if self._iterations % self._every == 0:
            self.text = self._distil()
            self._fade()

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "text": self.text,
            "iterations": self._iterations,
            "changes": [asdict(change) for change in self._changes],
            "mistakes": {kind: asdict(mistake) for kind, mistake in self._mistakes.items()},
            "counts": [self._tried, self._failed, self._copies],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state`` gave; an empty state is that of a new memory."""
        self._clear()
        if state:
            self.text = state["text"]
            self._iterations = state["iterations"]
            self._changes = [Change(**change) for change in state["changes"]]
            self._mistakes = {kind: _Mistake(**mistake) for kind, mistake in state["mistakes"].items()}
            self._tried, self._failed, self._copies = state["counts"]

    def _note_mistake(self, kind: str, explanation: str) -> None:
        sentence = " ".join(explanation.split()).removeprefix(f"{kind}: ")[:SENTENCE_CHARACTERS]
        known = self._mistakes.pop(kind, _Mistake(0.0, sentence))
        self._mistakes[kind] = _Mistake(known.count + 1, sentence or known.sentence)
        if len(self._mistakes) > MAX_ERRORS:
            del self._mistakes[min(self._mistakes, key=lambda name: self._mistakes[name].count)]

    def _note_change(self, outcome: Outcome, fitness: float) -> None:
        if len(self._changes) == MAX_CHANGES and outcome.gain <= self._changes[-1].gain:
            return
        measures = {name: float(value) for name, value in outcome.measures.items()}
        diff = _short_diff(outcome.parent.program, outcome.child.program or "")
        change = Change(float(outcome.gain), float(outcome.parent.fitness), float(fitness), measures, diff)
        # The same lines changed in many parents are one lesson.
        others = [other for other in self._changes if not diff or other.diff != diff]
        twin = next((other for other in self._changes if diff and other.diff == diff), change)
        kept = max(twin, change, key=lambda item: item.gain)
        self._changes = sorted([*others, kept], key=lambda item: -item.gain)[:MAX_CHANGES]

    def _fade(self) -> None:
        self._changes = [Change(**{**vars(change), "gain": change.gain / 2}) for change in self._changes]
        for mistake in self._mistakes.values():
            mistake.count /= 2
        self._mistakes = {kind: mistake for kind, mistake in self._mistakes.items() if mistake.count >= 0.5}
        self._tried, self._failed, self._copies = self._tried / 2, self._failed / 2, self._copies / 2

    def _distil(self) -> str:
        """What was noted in a few words: mistakes in up to a third of the room, changes in the rest."""
        mistakes = _fitted(self._mistake_lines(), self._characters // 3)
        room = self._characters - len(mistakes) - 1 if mistakes else self._characters
        changes = _fitted(self._change_lines(), room)
        return "\n".join(part for part in (changes, mistakes) if part)

    def _mistake_lines(self) -> list[str]:
        if not self._mistakes and self._copies < 1:
            return []
        heads = [f"{_percent(self._failed, self._tried)} of the latest changes failed"]
        if self._copies >= 1:
            heads.append(f"{_percent(self._copies, self._tried)} left the program as it was")
        common = sorted(self._mistakes.items(), key=lambda item: (-item[1].count, item[0]))
        return [
            f"{' and '.join(heads)}. Mistakes to avoid, the commonest first:",
            *(f"- {kind}: {mistake.sentence}" if mistake.sentence else f"- {kind}" for kind, mistake in common),
        ]

    def _change_lines(self) -> list[str]:
        if not self._changes:
            return []
        return [
            "Changes that worked in this run, the best first:",
            *(
                f"- distance {change.before:.4g} before and {change.after:.4g} after"
                + "".join(f", {name} {value:.4g}" for name, value in change.measures.items())
                + (f":\n{change.diff}" if change.diff else " (many lines changed)")
                for change in self._changes
            ),
        ]


def _fitted(items: list[str], room: int) -> str:
    """A heading with as many of its items as there is room for; nothing where there is room for none."""
    text = items[0] if items else ""
    fitted = ""
    for item in items[1:]:
        if len(text) + 1 + len(item) <= room:
            text = fitted = f"{text}\n{item}"
    return fitted


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}%"


def _short_diff(parent: str, child: str) -> str:
    if max(len(parent), len(child)) > MAX_PROGRAM_CHARACTERS:
        return ""
    lines = difflib.unified_diff(parent.split("\n"), child.split("\n"), n=0, lineterm="")
    changed = [line[:LINE_CHARACTERS] for line in list(lines)[2:] if not line.startswith("@@")]
    return "\n".join(changed) if len(changed) <= MAX_DIFF_LINES else ""


class RememberingMutation(MutationOperator):
    """An operator with a memory, if it is given one: what became of its children is told to the model in the next prompts."""

    _memory: Memory | None = None

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Notes what became of the children, if there is a memory."""
        if self._memory is not None:
            self._memory.note(outcomes)

    def state(self) -> dict[str, Any]:
        """The memory, if there is one."""
        return {} if self._memory is None else self._memory.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state`` gave."""
        if self._memory is not None:
            self._memory.restore(state)

    def _told(self) -> str:
        return "" if self._memory is None else self._memory.text
