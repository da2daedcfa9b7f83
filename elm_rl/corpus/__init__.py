"""Evolution runs become data sets.

`admitted` reads what a run admitted; `corpus` keeps what was good for its niche and holds `lineages` out; `corpus_stats` looks
at it. `cross_table` says which walker suits which terrain: the elites that `walker_choice` chooses, rolled out on many
terrains. `score_store` keeps every roll-out; `walker_regressor` expects what nobody rolled out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.corpus.admitted import AdmittedProgram as AdmittedProgram
    from elm_rl.corpus.admitted import read_admitted as read_admitted
    from elm_rl.corpus.corpus import CorpusConfig as CorpusConfig
    from elm_rl.corpus.corpus import load_corpus as load_corpus
    from elm_rl.corpus.corpus import run_corpus as run_corpus
    from elm_rl.corpus.cross_table import CrossTable as CrossTable
    from elm_rl.corpus.cross_table import CrossTableConfig as CrossTableConfig
    from elm_rl.corpus.cross_table import load_cross_table as load_cross_table
    from elm_rl.corpus.cross_table import run_cross_table as run_cross_table

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "admitted": ["AdmittedProgram", "read_admitted"],
        "corpus": ["CorpusConfig", "load_corpus", "run_corpus"],
        "cross_table": ["CrossTable", "CrossTableConfig", "load_cross_table", "run_cross_table"],
    },
)
