"""Roll-outs that were done, kept in Parquet files: programs on terrains, with perturbed copies. No pair is rolled out twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from elm_rl.errors import ElmError
from elm_rl.runs.parquet_file import write_parquet
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.evaluation.jobs import text_digest
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.terrains.texts import terrain_from_text

_PIECE = 512
"""Programs that are rolled out between two files: who is stopped loses at most so many on one terrain."""


class Score(NamedTuple):
    """A program on a terrain.

    Attributes:
        design: 16 bytes that tell walkers apart; None for a program that builds none.
        distances: In walker units: the walker's own, then those of its copies; 0 for what could not be simulated.
    """

    design: bytes | None
    distances: tuple[float, ...]


class ScoreStore:
    """A folder of scores.

    Args:
        folder: Holds the Parquet files; made when the first is written.
        robustness: Perturbed copies of each walker.

    Raises:
        ElmError: A file is damaged.
    """

    def __init__(self, folder: Path, robustness: int) -> None:
        self._folder = folder
        self._robustness = robustness
        self._scores: dict[str, dict[bytes, Score]] = {}
        self._files = sorted(folder.glob("*.parquet"))
        for path in self._files:
            try:
                rows = pq.read_table(path).to_pylist()
                for row in rows:
                    score = Score(row["design"], tuple(row["distances"]))
                    self._scores.setdefault(row["terrain"], {})[row["program"]] = score
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0].rstrip(".")
                raise ElmError(f"'{path}' cannot be read ({reason}); delete it, what it held is done again.") from error

    def get(self, program: str, terrain: str) -> Score | None:
        """What is known of a program on the terrain that a text names; None if it was not rolled out there."""
        return self._scores.get(terrain, {}).get(_key(program))

    def least(self, program: str, terrain: str) -> float:
        """The least distance of a program and its copies there, walker units; 0 where nothing is known."""
        score = self.get(program, terrain)
        return min(score.distances) if score else 0.0

    def design(self, program: str, terrain: str) -> bytes | None:
        """What tells its walker apart; None where there is none, or nothing is known."""
        score = self.get(program, terrain)
        return score.design if score else None

    def fill(
        self,
        programs: Sequence[str],
        terrains: Sequence[str],
        evaluator: Evaluator,
        *,
        label: str = "roll-outs",
        progress: bool = True,
    ) -> None:
        """Rolls out what is not known of programs on terrains, and writes it down piece by piece.

        Args:
            programs: Program texts.
            terrains: Texts that name terrains.
            evaluator: Rolls out.
            label: What the progress bar says.
            progress: Show one.

        Raises:
            ElmError: The disk is full.
        """
        distinct = list(dict.fromkeys(programs))
        missing = {text: [each for each in distinct if self.get(each, text) is None] for text in terrains}
        total = sum(map(len, missing.values()))
        with tqdm(total=total, desc=label, unit="pair", disable=not progress or not total) as bar:
            for text, left in missing.items():
                terrain = terrain_from_text(text)
                for begin in range(0, len(left), _PIECE):
                    part = left[begin : begin + _PIECE]
                    found = {}
                    for program, evaluation in zip(
                        part, evaluator.evaluate(part, terrain, robustness=self._robustness), strict=True
                    ):
                        design = None if evaluation.design is None else design_digest(evaluation.design)
                        distances = (evaluation.fitness, *(evaluation.copy_distances or ()))
                        found[_key(program)] = Score(design, distances)
                    self._write(text, found)
                    bar.update(len(part))

    def _write(self, terrain: str, found: dict[bytes, Score]) -> None:
        last = int(self._files[-1].stem) if self._files else -1
        path = self._folder / f"{last + 1:06d}.parquet"
        rows = [{"terrain": terrain, "program": key, **score._asdict()} for key, score in found.items()]
        write_parquet(path, pa.Table.from_pylist(rows, schema=_SCHEMA))
        self._files.append(path)
        self._scores.setdefault(terrain, {}).update(found)


_SCHEMA = pa.schema(
    [("terrain", pa.string()), ("program", pa.binary()), ("design", pa.binary()), ("distances", pa.list_(pa.float64()))]
)


def _key(program: str) -> bytes:
    digest = text_digest(program)
    assert digest is not None
    return digest
