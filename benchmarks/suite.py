"""Which generator finds the best walkers for a terrain, at each budget? Every generator that the benchmark comes with.

Usage: ``python -m benchmarks.suite --out runs/suite [--budgets 1 8 64 1000] [--write]``. Stopped at any moment, the same
command goes on. Models take part where they are given, as in ``--language-model runs/laptop/language_model --policy
runs/laptop/supervised runs/laptop/rank_gradient --cross-table runs/laptop/cross_table --operator chat:models/small``, and are
skipped with a line where they are not.

What stands in the folder above a model (``elm-rl ledger``), or in those given as ``--costs``, counts as its training. A
generator of yours is entered by ``python -m sodarace_gym.suite run`` (docs/benchmark.md); with the same ``--out`` it stands in
the same table.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.tables import RESULTS, publish
from sodarace_gym.suite import Entry, SuiteError, load_definition, load_results, run_suite
from sodarace_gym.suite.cli import add_plan, read_plan, show_failures, show_row
from sodarace_gym.suite.figures import compare_generators
from sodarace_gym.suite.plots import draw_results
from sodarace_gym.suite.results import RESULTS_FILE, write_results
from sodarace_gym.suite.tables import results_page, summary_table

_HERE = "benchmarks.entrants"
ALWAYS = (
    Entry(f"{_HERE}.plain:RandomPrograms"),
    Entry(f"{_HERE}.plain:SeedPrograms"),
    Entry(f"{_HERE}.vectors:RandomVectors"),
    Entry(f"{_HERE}.hill_climbing:GPHillClimbing"),
    Entry(f"{_HERE}.map_elites:MapElites", (("operators", "gp-blind,tries=4"),)),
    Entry(f"{_HERE}.map_elites:MapElites", (("operators", "gp,tries=4"),)),
    Entry(f"{_HERE}.map_elites:MapElites", (("operators", "builtin"),)),
    Entry(f"{_HERE}.vectors:CMAES"),
    Entry(f"{_HERE}.vectors:CMAMAE"),
    Entry(f"{_HERE}.samples:Samples", (("name", "built-in policy"),)),
    Entry(f"{_HERE}.invention:Invention"),
)
"""Those that need nothing but the extra ``elm``."""
AGENTS = tuple(Entry(f"{_HERE}.agents:{name}") for name in ("vector_ppo", "vector_sac", "word_ppo"))
"""Those that need the extra ``agents`` too."""
README = RESULTS.parents[1] / "README.md"
TABLE_MARKS = ("<!-- Written by python -m benchmarks.suite -->", "<!-- End of what was written -->")
"""Lines of the README between which its table stands."""


def entries(options: argparse.Namespace) -> Iterator[Entry]:
    """The generators that a command line asks for; says which are left out, and why."""
    yield from ALWAYS
    if find_spec("sb3_contrib") is None:
        print("skipped: PPO, SAC and MaskablePPO (pip install 'sodarace-gym[agents]')")
    else:
        yield from AGENTS
    if options.cross_table is None:
        print("skipped: nearest elite (give --cross-table FOLDER, of elm-rl cross-table)")
    else:
        yield Entry(f"{_HERE}.nearest:NearestElite", (("cross_table", str(options.cross_table)),))
    if options.language_model is None:
        print("skipped: stage 2 samples (give --language-model FOLDER, of elm-rl pretrain)")
    else:
        yield _samples(options.language_model, "stage 2 samples", options.costs)
    if not options.policy:
        print("skipped: conditional models of your own (give --policy FOLDER, of elm-rl supervised or a later stage)")
    for folder in options.policy:
        yield _samples(folder, f"policy {folder.parent.name}/{folder.name}", options.costs)
    if not options.operator:
        print("skipped: models and servers as operators (give --operator, as in chat:FOLDER or api:MODEL@URL)")
    for text in options.operator:
        yield Entry(f"{_HERE}.map_elites:MapElites", (("operators", text),))


def with_table(text: str, table: str) -> str:
    """A page that has each of `TABLE_MARKS` once, with another table between them."""
    begin, end = TABLE_MARKS
    before, after = text.split(begin)[0], text.split(end)[1]
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def _samples(folder: Path, name: str, costs: Sequence[Path]) -> Entry:
    spent = [str(each) for each in costs or (folder.resolve().parent,)]
    settings = (("folder", str(folder)), ("costs", str(spent)), ("name", name))
    return Entry(f"{_HERE}.samples:Samples", settings)


def main() -> int:
    """Runs, prints and, if asked, writes the tables; 1 where a generator raised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of all results, which is gone on with")
    add_plan(parser)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="generators whose name has such a word")
    parser.add_argument("--cross-table", type=Path, help="folder of a cross table, for the nearest elite")
    parser.add_argument("--language-model", type=Path, help="folder of a stage 2 model")
    parser.add_argument("--policy", type=Path, nargs="+", default=[], help="folders of conditional models")
    parser.add_argument(
        "--costs",
        type=Path,
        nargs="+",
        default=[],
        help="folders of what these models have cost (default: that above each)",
    )
    parser.add_argument("--operator", nargs="+", default=[], help="mutation operators for MAP-Elites, by name")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write suite.md, its pictures and suite.parquet to results, and README's table",
    )
    options = parser.parse_args()
    status = 0
    try:
        for entry in entries(options):
            name = entry.make().name
            if options.only and not any(word in name for word in options.only):
                continue
            print(f"{name}:", flush=True)
            progress = run_suite(entry, options.out, read_plan(options), told=show_row)
            show_failures(progress)
            status |= bool(progress.failed)
            write_results(options.out)  # so that others may look
        results = load_results(options.out)
        pictures = draw_results(results, RESULTS, "suite") if options.write else []
        body = results_page(results, load_definition(), pictures)
    except (SuiteError, ImportError, OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    publish("suite", "Which generator finds the best walkers for a terrain, at each budget?", body, options.write)
    if options.write:
        shutil.copyfile(options.out / RESULTS_FILE, RESULTS / "suite.parquet")
        text = README.read_text(encoding="utf-8")
        README.write_text(with_table(text, summary_table(compare_generators(results))), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
