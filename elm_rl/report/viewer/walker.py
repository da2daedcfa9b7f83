"""Has programs walk, and remembers how they did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tqdm import tqdm

from elm_rl.errors import ElmError
from elm_rl.report.viewer.walks import Detail, Walked, WalkJob, walk_all
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text


@dataclass
class Walker:
    """Makes walks, and remembers them: a page that is made again and again only adds what is new.

    Attributes:
        n_jobs: Threads; -1 for one a core.
        progress: Whether to show a progress bar where there is a terminal.
    """

    n_jobs: int = -1
    progress: bool = True
    _known: dict[tuple[str, str, float, Detail, int], Walked] = field(default_factory=dict)
    _terrains: dict[str, Terrain] = field(default_factory=dict)

    def terrain(self, text: str) -> Terrain:
        """The terrain that a text names.

        Raises:
            ElmError: This version has none of that name.
        """
        if text not in self._terrains:
            try:
                self._terrains[text] = terrain_from_text(text)
            except ValueError as error:
                raise ElmError(f"The run's terrain {text!r} cannot be made: {error}") from None
        return self._terrains[text]

    def walk(
        self, wanted: Iterable[tuple[str, str, float]], detail: Detail, copies: int, title: str, keep: bool = True
    ) -> list[Walked]:
        """Walks of programs.

        Args:
            wanted: Programs, the texts that name their terrains, and the time to walk, s.
            detail: How much of each walk to keep.
            copies: Perturbed copies of each.
            title: What the progress bar says.
            keep: Whether to remember them.
        """
        keys = [(program, terrain, duration, detail, copies) for program, terrain, duration in wanted]
        new = list(dict.fromkeys(key for key in keys if key not in self._known))
        made: dict[tuple[str, str, float, Detail, int], Walked] = {}
        with tqdm(total=len(new), desc=title, disable=None if self.progress else True, leave=False) as bar:
            for duration in dict.fromkeys(key[2] for key in new):
                some = [key for key in new if key[2] == duration]
                jobs = [WalkJob(key[0], self.terrain(key[1]), copies) for key in some]
                for key, walked in zip(some, walk_all(jobs, duration, detail, self.n_jobs), strict=True):
                    made[key] = walked
                    bar.update()
        walks = [self._known.get(key) or made[key] for key in keys]
        if keep:
            self._known.update(made)
        return walks
