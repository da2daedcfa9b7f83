"""Samples that are no copies: each is changed a little, so that nobody was shown its body, and so that it should walk on.

Most changes of a good walker ruin it, and which ones do not can be learnt. Children of walkers that suit a train terrain are
rolled out there; a regression learns, from how a body has changed, what part of the way is left. An edit of a sample is then
the child of which most is expected, among those with a new body. No edit is rolled out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from elm_rl.corpus.corpus import TRAIN, load_corpus
from elm_rl.corpus.cross_table import CrossTable, load_cross_table
from elm_rl.corpus.lineages import mask_numbers
from elm_rl.inventor.siblings import Sibling, load_siblings
from elm_rl.judging.terrain_scores import Known
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.programs.program import compile_programs
from sodarace_gym.walkers.walker import Muscle, WalkerDesign

LESSONS = 700
"""Walkers on train terrains whose children the regression learns from."""
TRIES = 256
"""Children of a sample, of which one is taken; its own text where none has a new body."""
ROBUSTNESS = 2
"""Copies of each walker in the lessons."""
SLOWEST = 10.0
"""Walker units that a walker has to go for its children to be learnt from."""
_ROUNDS = 4
"""Of the colouring below; walkers that differ after more rounds than that are hardly ever met."""


def body(design: WalkerDesign) -> bytes:
    """What is left of a walker without its numbers, in 16 bytes: which joints are tied by which kind of muscle.

    Joints are coloured by the colours of their neighbours, again and again (Weisfeiler and Leman 1968), so that their order
    does not matter.
    """
    neighbours: list[list[tuple[int, bool]]] = [[] for _ in design.joints]
    for muscle in design.muscles:
        neighbours[muscle.a].append((muscle.b, muscle.distance_only))
        neighbours[muscle.b].append((muscle.a, muscle.distance_only))
    colours = [0] * len(design.joints)
    for _ in range(_ROUNDS):
        signatures = [
            (colour, tuple(sorted((colours[other], plain) for other, plain in row)))
            for colour, row in zip(colours, neighbours, strict=True)
        ]
        colours = [_number(repr(signature)) for signature in signatures]
    return blake2b(repr(sorted(Counter(colours).items())).encode(), digest_size=16).digest()


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def change(before: WalkerDesign, after: WalkerDesign) -> list[float]:
    """How a walker has changed, as numbers for a regression: counts, lengths in walker units, and sums of differences."""
    old = {(min(m.a, m.b), max(m.a, m.b)): m for m in before.muscles}
    new = {(min(m.a, m.b), max(m.a, m.b)): m for m in after.muscles}
    both = old.keys() & new.keys()
    gone, come = [old[pair] for pair in old.keys() - both], [new[pair] for pair in new.keys() - both]
    count = min(len(before.joints), len(after.joints))
    moves = np.hypot(*(np.array(before.joints[:count]) - np.array(after.joints[:count])).T)
    return [
        len(before.joints), len(before.muscles), len(after.joints) - len(before.joints), len(gone), len(come),
        sum(not muscle.distance_only for muscle in gone), sum(not muscle.distance_only for muscle in come),
        _length(before, gone), _length(after, come), float(moves.sum()), float(moves.max()), after.mass - before.mass,
        sum(old[pair].distance_only != new[pair].distance_only for pair in both),
        sum(abs(old[pair].amplitude - new[pair].amplitude) for pair in both),
        sum(abs(old[pair].phase - new[pair].phase) for pair in both),
    ]  # fmt: skip


def _length(design: WalkerDesign, muscles: Sequence[Muscle]) -> float:
    return sum(float(np.hypot(*np.subtract(design.joints[m.a], design.joints[m.b]))) for m in muscles)


class Editor:
    """Edits programs of policies that have learnt from a table and siblings of its walkers.

    Args:
        table: The table.
        siblings: The siblings by the number of their walker in the table.
        programs: All programs whose bodies are known.
        known: What else is known.
        evaluator: Rolls out the lessons.
    """

    def __init__(
        self,
        table: CrossTable,
        siblings: Mapping[int, Sequence[Sibling]],
        programs: Collection[str],
        known: Known,
        evaluator: Evaluator,
    ) -> None:
        self.table, self.siblings, self.programs = table, siblings, programs
        self.known, self.evaluator = known, evaluator
        self._operator = GPMutation()

    @classmethod
    def of(cls, study: Path, known: Known, evaluator: Evaluator) -> Editor:
        """One for the policies of a study, by its folder."""
        table, siblings = load_cross_table(study / "cross_table"), load_siblings(study / "siblings")
        programs = set(load_corpus(study / "corpus")[TRAIN]["program"])
        programs |= {walker.program for walker in table.walkers}
        programs |= {sibling.program for row in siblings.values() for sibling in row}
        return cls(table, siblings, programs, known, evaluator)

    @cached_property
    def bodies(self) -> set[bytes]:
        """The bodies of all known walkers."""
        return {body(design) for design in _designs(self.programs) if design is not None}

    @cached_property
    def regression(self) -> RandomForestRegressor:
        """Says what part of the way is left after a change; has learnt on the terrains of the table."""
        terrains, kinds = list(self.table.terrains.values()), list(self.siblings)
        rng = np.random.default_rng(0)
        changes: list[list[float]] = []
        left: list[float] = []
        for row in rng.integers(len(terrains), size=LESSONS):
            kind = self.siblings[kinds[int(self.table.least[row, kinds].argmax())]]
            program = kind[int(rng.integers(len(kind)))].program
            (before,) = _designs([program])
            children = self._children(program, rng)
            own, *scored = self.evaluator.evaluate([program, *children.values()], terrains[row], robustness=ROBUSTNESS)
            if before is not None and own.score > SLOWEST:
                changes += [change(before, after) for after in children]
                left += [min(each.score / own.score, 1.0) for each in scored]
        return RandomForestRegressor(300, min_samples_leaf=5, random_state=0).fit(changes, left)

    def edited(self, written: Mapping[str, Sequence[str]], seed: int) -> dict[str, list[str]]:
        """The child of each program, by terrain, of which most is expected; one that is new stays, and one that is none."""
        rng = np.random.default_rng(seed)
        return {text: [self._edit(program, rng) for program in programs] for text, programs in written.items()}

    def _edit(self, program: str, rng: np.random.Generator) -> str:
        (before,) = _designs([program])
        if before is None or self._is_new(program, before):
            return program
        children = self._children(program, rng)
        if not children:
            return program
        expected = self.regression.predict([change(before, after) for after in children])
        return list(children.values())[int(expected.argmax())]

    def _children(self, program: str, rng: np.random.Generator) -> dict[WalkerDesign, str]:
        """Children with a new body, by their walker."""
        made = [child.program for child in self._operator.mutate(parents_of([program] * TRIES), rng)]
        texts = list(dict.fromkeys(text for text in made if text is not None))
        found: dict[WalkerDesign, str] = {}
        for text, design in zip(texts, _designs(texts), strict=True):
            if design is not None and design not in found and self._is_new(text, design):
                found[design] = text
        return found

    def _is_new(self, program: str, design: WalkerDesign) -> bool:
        """Whether neither the walker nor its body nor the program, but for its numbers, is known."""
        return (
            mask_numbers(program) not in self.known.masked
            and design_digest(design) not in self.known.designs
            and body(design) not in self.bodies
        )


def _designs(programs: Iterable[str]) -> list[WalkerDesign | None]:
    """The walker of each program; None where it makes none."""
    return [None if isinstance(built, ProgramError) else built[0] for built in compile_programs(list(programs))]
