"""What does a language model of the corpus write: how good, how diverse, how new, to order, and from half a program?

Usage: ``python -m benchmarks.stage2 --evolution RUN [RUN ...] --unseen RUN --out runs/stage2 [--models 0.1M 1M 5M]
[--seconds 600] [--seeds 3] [--write]``. Stopped at any moment, the same command goes on. A model is a size to train from
scratch, or a folder or GGUF file of a pretrained one to train on; every one gets as many seconds of training.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.tables import format_interval, markdown_table, publish
from elm_rl.corpus.admitted import AdmittedProgram, read_admitted
from elm_rl.corpus.corpus import HELD_OUT, TRAIN, CorpusConfig, elites, load_corpus, run_corpus
from elm_rl.corpus.descriptions import Description, undescribed
from elm_rl.judging.sample_quality import draw_programs, measure_programs, sample_programs
from elm_rl.judging.terrain_scores import Known, score_programs
from elm_rl.models.language_model import MODEL_SIZES, load_language_model
from elm_rl.models.pretraining import PretrainConfig, run_pretrain
from elm_rl.models.sampling import sample_completions
from elm_rl.models.supervised_training import TrainResult
from elm_rl.models.tokenizer import decode_program, encode_text, start_id
from elm_rl.runs.run_directory import read_json, write_json
from sodarace_gym.evaluation import Evaluator

SAMPLES = 1024
ORDERS = 256
FIGURES = ("height", "width", "mass", "distance")
KINDS = {"radial": "wheel", "square": "galloper", "cppn_fixed": "runner"}
"""What the seeds' walkers are in Lehman et al. 2022."""


class Sizes(NamedTuple):
    """How much of everything."""

    samples: int = SAMPLES
    orders: int = ORDERS


def train(out: Path, corpus: Path, model: str, seconds: float, seed: int, describe: Any = "no") -> TrainResult:
    """Trains a model on the corpus, unless that was done."""
    settings: dict[str, Any] = {"size": model} if model in MODEL_SIZES else {"start": model, "learning_rate": 3e-4}
    return run_pretrain(
        PretrainConfig(
            corpus=corpus, out=out, batch_size=8, max_seconds=seconds, seed=seed, describe=describe,
            **{"learning_rate": 4e-3, **settings},
        )
    )  # fmt: skip


def quality(folder: Path, corpus: Path, evaluator: Evaluator, samples: int, seed: int) -> dict[str, Any]:
    """Samples of a model against as many programs of its corpus, on Flat."""
    model, tokenizer = load_language_model(folder)
    known = load_corpus(corpus)[TRAIN]
    texts = list(known["program"])
    written = sample_programs(model, tokenizer, samples, seed=1000 + seed)
    found = measure_programs(written, evaluator)
    scored = score_programs(
        written, evaluator.evaluate(written, "Flat"), Known.of(texts, [d for d in known["design"] if d is not None])
    )
    drawn = measure_programs(draw_programs(texts, samples, seed), evaluator)
    return {
        "valid": 100.0 * scored.valid, "niches": found.niches, "qd_score": found.qd_score, "best": found.best_fitness,
        "copies": 100.0 * scored.copies, "near_copies": 100.0 * scored.near_copies,
        "corpus_niches": drawn.niches, "corpus_qd_score": drawn.qd_score,
    }  # fmt: skip


def unseen_programs(run: Path) -> dict[str, AdmittedProgram]:
    """The best elite of three seeds' archives of a run, by what it is."""
    best: dict[str, AdmittedProgram] = {}
    for program in elites(read_admitted(run)):
        kind = KINDS.get(program.archive)
        if kind is not None and (kind not in best or program.fitness > best[kind].fitness):
            best[kind] = program
    return best


def first_half(program: str) -> str:
    """The first half of a program's lines."""
    lines = program.splitlines(keepends=True)
    return "".join(lines[: len(lines) // 2])


def completions(
    folder: Path, originals: Mapping[str, AdmittedProgram], evaluator: Evaluator, samples: int, seed: int
) -> dict[str, Any]:
    """Best and mean completion of half of each program, as shares of what the whole one walks."""
    model, tokenizer = load_language_model(folder)
    found = {}
    for kind, original in originals.items():
        written = sample_programs(
            model, tokenizer, samples, begin=first_half(original.program), seed=2000 + seed, max_new_tokens=300
        )
        distances = [each.fitness for each in evaluator.evaluate(written, "Flat")]
        found[kind] = {"best": max(distances) / original.fitness, "mean": float(np.mean(distances)) / original.fitness}
    return found


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    if len(first) < 2 or np.std(first) == 0 or np.std(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def to_order(folder: Path, corpus: Path, evaluator: Evaluator, orders: int, seed: int) -> dict[str, float]:
    """How what was ordered and what came correlate; orders are the descriptions of held-out programs."""
    model, tokenizer = load_language_model(folder)
    asked = _descriptions(corpus, orders)
    programs = [
        sample_programs(model, tokenizer, 1, begin=order.line, seed=3000 + 10_000 * seed + number)[0]
        for number, order in enumerate(asked)
    ]
    found = evaluator.evaluate([undescribed(program) for program in programs], "Flat")
    pairs = [(order, each) for order, each in zip(asked, found, strict=True) if each.valid]
    came = [Description.of(each.height, each.width, each.mass, each.fitness) for _, each in pairs]
    return {
        "valid": 100.0 * len(pairs) / len(asked),
        **{
            name: correlation([getattr(order, name) for order, _ in pairs], [getattr(each, name) for each in came])
            for name in FIGURES
        },
    }


def predicted(folder: Path, corpus: Path, orders: int) -> dict[str, float]:
    """How the likeliest description behind held-out programs and the true one correlate."""
    model, tokenizer = load_language_model(folder)
    texts = list(load_corpus(corpus)[HELD_OUT]["program"])[:orders]
    prompts = [[start_id(tokenizer), *encode_text(tokenizer, text)] for text in texts]
    written = sample_completions(model, tokenizer, prompts, max_new_tokens=40, temperature=0)
    said = [Description.read(decode_program(tokenizer, ids)) for ids in written]
    pairs = [(a, b) for a, b in zip(said, _descriptions(corpus, orders), strict=True) if a is not None]
    return {
        "valid": 100.0 * len(pairs) / len(texts),
        **{
            name: correlation([getattr(a, name) for a, _ in pairs], [getattr(b, name) for _, b in pairs])
            for name in FIGURES
        },
    }


def _descriptions(corpus: Path, count: int) -> list[Description]:
    columns = load_corpus(corpus)[HELD_OUT][:count]
    rows = zip(*(columns[name] for name in ("height", "width", "mass", "fitness")), strict=True)
    return [Description.of(*row) for row in rows]


def measure(
    out: Path, corpus: Path, unseen: Path, model: str, seconds: float, seed: int, sizes: Sizes, n_jobs: int
) -> dict[str, Any]:
    """All figures of a model and a seed, kept in a file once they are there."""
    folder = out / f"{model.replace('/', '_')}-{seconds:g}s{'-small' if sizes != Sizes() else ''}" / str(seed)
    file = folder / "figures.json"
    if file.exists():
        found: dict[str, Any] = read_json(file)
        return found
    plain = train(folder / "plain", corpus, model, seconds, seed)
    with Evaluator(n_jobs=n_jobs) as evaluator:
        found = {
            "steps": plain.steps,
            "parameters": plain.parameters,
            "held_out_loss": plain.held_out_loss,
            "quality": quality(folder / "plain", corpus, evaluator, sizes.samples, seed),
            "completions": completions(folder / "plain", unseen_programs(unseen), evaluator, sizes.samples, seed),
        }
        train(folder / "ahead", corpus, model, seconds, seed, "ahead")
        found["ahead"] = to_order(folder / "ahead", corpus, evaluator, sizes.orders, seed)
    train(folder / "behind", corpus, model, seconds, seed, "behind")
    found["behind"] = predicted(folder / "behind", corpus, sizes.orders)
    write_json(file, found)
    return found


def page(
    found: Mapping[str, Sequence[Mapping[str, Any]]], figures: Mapping[str, Any], given: argparse.Namespace
) -> str:
    """Tables and remarks."""

    def cells(outcomes: Sequence[Mapping[str, Any]], part: str, names: Sequence[str], digits: int) -> list[str]:
        return [format_interval([each[part][name] for each in outcomes], digits) for name in names]

    first, second, third = [], [], []
    for name, outcomes in found.items():
        first.append(
            [
                Path(name).name,
                f"{outcomes[0]['parameters']:,}",
                format_interval([each["steps"] for each in outcomes], 0),
                format_interval([each["held_out_loss"] or float("nan") for each in outcomes], 3),
                *cells(outcomes, "quality", ("valid", "copies", "near_copies"), 0),
                *cells(outcomes, "quality", ("niches", "corpus_niches", "qd_score", "corpus_qd_score", "best"), 0),
            ]
        )
        row = [Path(name).name]
        for kind in outcomes[0]["completions"]:
            for what in ("best", "mean"):
                row.append(format_interval([100 * each["completions"][kind][what] for each in outcomes], 0))
        second.append(row)
        for part, label in (("ahead", "written to order"), ("behind", "predicted")):
            third.append(
                [Path(name).name, label, *cells(outcomes, part, ("valid",), 0), *cells(outcomes, part, FIGURES, 2)]
            )
    kinds = [f"{kind}, {what} %" for kind in next(iter(found.values()))[0]["completions"] for what in ("best", "mean")]
    return "\n\n".join(
        [
            f"A corpus of {figures['train']:,} programs ({figures['held_out']} held out) of {len(given.evolution)} runs; "
            f"every model has {given.seconds:g} seconds of training; seeds 0 to {given.seeds - 1}, means with 95% bootstrap "
            f"intervals. {SAMPLES:,} samples at temperature 1, on Flat, against as many programs of the corpus. Copies have "
            "the walker of a program of the corpus, near copies its text but for numbers.",
            markdown_table(
                ["model", "parameters", "steps", "loss, held out", "valid %", "copies %", "near copies %", "niches",
                 "corpus: niches", "QD score", "corpus: QD score", "best"],
                first,
            ),
            "Completions of the first half of the best elites of a run that is not in the corpus: best and mean of "
            f"{SAMPLES:,}, in percent of what the whole program walks.",
            markdown_table(["model", *kinds], second),
            "With a comment that says what a walker is like: correlation of what was ordered with what came (held-out "
            "descriptions, valid programs), and of what was predicted with what is true (held-out programs).",
            markdown_table(["model", "", "valid %", *FIGURES], third),
        ]
    )  # fmt: skip


def main() -> None:
    """Trains, measures, prints and, if asked, writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--evolution", type=Path, nargs="+", required=True, help="runs on Flat, of which the corpus is made"
    )
    parser.add_argument("--unseen", type=Path, required=True, help="another run, whose elites are to be completed")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything, which is gone on with")
    parser.add_argument("--models", nargs="+", default=["0.1M", "1M", "5M"], help="sizes, folders or GGUF files")
    parser.add_argument("--seconds", type=float, default=600.0, help="training of each model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="next to nothing of everything, to see that it works")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads that evaluate")
    parser.add_argument("--write", action="store_true", help="write the result to benchmarks/results")
    given = parser.parse_args()
    sizes = Sizes(8, 8) if given.small else Sizes()
    corpus = given.out / "corpus"
    figures = run_corpus(CorpusConfig(evolution=tuple(given.evolution), out=corpus))["figures"]
    found = {
        model: [
            measure(given.out, corpus, given.unseen, model, given.seconds, seed, sizes, given.n_jobs)
            for seed in range(given.seeds)
        ]
        for model in given.models
    }
    publish("stage2", "What does a language model of the corpus write?", page(found, figures, given), given.write)


if __name__ == "__main__":
    main()
