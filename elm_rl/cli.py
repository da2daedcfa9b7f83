"""The command line: ``elm-rl <stage> --flags``, each stage's flags generated from its config dataclass.

Stages are imported only when asked for, so that ``elm-rl --help`` does not wait for torch. Errors that a user can mend are
printed as one sentence on standard error, with exit status 1; a wrong flag exits with 2.
"""

from __future__ import annotations

import errno
import importlib
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO


class Stage(NamedTuple):
    """One subcommand: where its config and its function live, and what ``--help`` says."""

    module: str
    config: str
    function: str
    summary: str
    example: str


STAGES: dict[str, Stage] = {
    "evolve": Stage(
        "elm_rl.evolution.stage",
        "EvolveConfig",
        "run_evolve",
        "Stage 1: MAP-Elites turns the seed programs into maps of diverse walkers.",
        "elm-rl evolve --out runs/evolution --seeds square radial --iterations 100 --seed 1",
    ),
    "edit-model": Stage(
        "elm_rl.mutation.edits.training",
        "EditTrainingConfig",
        "run_edit_training",
        "Trains a small model of line edits, such as the built-in operator, on the children of evolution runs.",
        "elm-rl edit-model --evolution runs/evolution --out runs/edits",
    ),
    "operators": Stage(
        "elm_rl.mutation.catalogue",
        "OperatorsConfig",
        "run_operators",
        "Lists the mutation operators that stage 1 can use, or explains the settings of one.",
        "elm-rl operators model",
    ),
    "lineage": Stage(
        "elm_rl.report.lineage",
        "LineageConfig",
        "run_lineage",
        "Prints how an elite of an evolution run came about, with diffs, and draws it from the seed to the elite.",
        "elm-rl lineage runs/evolution niche 769 --archive square",
    ),
    "corpus": Stage(
        "elm_rl.corpus.corpus",
        "CorpusConfig",
        "run_corpus",
        "Collects the good programs of evolution runs into a training and a held-out set (Parquet).",
        "elm-rl corpus --evolution runs/evolution --out runs/corpus",
    ),
    "corpus stats": Stage(
        "elm_rl.corpus.corpus_stats",
        "CorpusStatsConfig",
        "run_corpus_stats",
        "Prints what a corpus holds: from which archives and operators, how long, how different, how good.",
        "elm-rl corpus stats runs/corpus",
    ),
    "cross-table": Stage(
        "elm_rl.corpus.cross_table",
        "CrossTableConfig",
        "run_cross_table",
        "Rolls chosen elites out on many terrains, with perturbed copies: which walker suits which terrain?",
        "elm-rl cross-table --evolution runs/evolution --out runs/cross_table",
    ),
    "pretrain": Stage(
        "elm_rl.models.pretraining",
        "PretrainConfig",
        "run_pretrain",
        "Stage 2: trains a language model on a corpus, from scratch with a tokenizer or on from a pretrained one.",
        "elm-rl pretrain --corpus runs/corpus --out runs/lm --size 1M",
    ),
    "mutation-model": Stage(
        "elm_rl.mutation.training",
        "MutationTrainingConfig",
        "run_mutation_training",
        "Trains a mutation model on the history of evolution runs, from scratch or on from a pretrained model.",
        "elm-rl mutation-model --evolution runs/evolution --out runs/mutation_model --start HuggingFaceTB/SmolLM2-135M",
    ),
    "siblings": Stage(
        "elm_rl.inventor.siblings",
        "SiblingsConfig",
        "run_siblings",
        "Makes many walkers that do as well as the best of a cross table, for a policy to learn kinds of walkers from.",
        "elm-rl siblings --cross-table runs/cross_table --out runs/siblings",
    ),
    "supervised": Stage(
        "elm_rl.inventor.supervised",
        "SupervisedConfig",
        "run_supervised",
        "Stage 3, supervised: the language model learns to write the walkers of a cross table that are best on each terrain.",
        "elm-rl supervised --cross-table runs/cross_table --language-model runs/lm --out runs/inventor",
    ),
    "rank-gradient": Stage(
        "elm_rl.inventor.rank_gradient",
        "RankGradientConfig",
        "run_rank_gradient",
        "Stage 3, policy gradient: programs that walk further than their siblings on the same terrain become likelier.",
        "elm-rl rank-gradient --start runs/inventor --out runs/better_inventor",
    ),
    "finetune": Stage(
        "elm_rl.inventor.ppo",
        "FinetuneConfig",
        "run_finetune",
        "Stage 3, PPO (TRL): the same, with a critic that says what was to be expected of each program.",
        "elm-rl finetune --start runs/inventor --out runs/finetuned",
    ),
    "group": Stage(
        "elm_rl.inventor.group",
        "GroupConfig",
        "run_group",
        "Stage 3, GRPO or RLOO (TRL): the same, without a critic.",
        "elm-rl group --algorithm rloo --start runs/inventor --out runs/rloo",
    ),
    "invent": Stage(
        "elm_rl.inventor.invent",
        "InventConfig",
        "run_invent",
        "Uses a policy: a terrain in, the right walkers out, ranked, drawn, and improved if there is time.",
        "elm-rl invent --model runs/inventor --terrain Hills,difficulty=0.5,seed=3 --out runs/invention",
    ),
    "sample": Stage(
        "elm_rl.judging.sample_quality",
        "SampleConfig",
        "run_sample",
        "Prints programs that a trained model writes, or measures how good and diverse many of them are.",
        "elm-rl sample --model runs/lm --count 3",
    ),
    "report": Stage(
        "elm_rl.report.page",
        "ReportConfig",
        "run_report",
        "Writes the page on which the walkers of a run walk (index.html), and a pipeline run's report.md with its pictures.",
        "elm-rl report --run runs/demo",
    ),
    "watch": Stage(
        "elm_rl.report.watch",
        "WatchConfig",
        "run_watch",
        "Follows an evolution run in the terminal until it ends; with --page its page of walks too.",
        "elm-rl watch runs/evolution --page",
    ),
    "ledger": Stage(
        "elm_rl.report.ledger",
        "LedgerConfig",
        "run_ledger",
        "Prints what all stages in a folder have cost: evaluations, seconds and tokens.",
        "elm-rl ledger runs/demo",
    ),
    "pipeline": Stage(
        "elm_rl.pipeline",
        "PipelineConfig",
        "run_pipeline",
        "All stages in a row: seeds to maps, maps to a language model, PPO on terrains, and a report.",
        "elm-rl pipeline --preset demo --out runs/demo",
    ),
}


def overview() -> str:
    """What ``elm-rl --help`` prints."""
    lines = ["usage: elm-rl STAGE [FLAGS]", "", "Evolution through large models, stage by stage:", ""]
    for name, stage in STAGES.items():
        lines += [f"  {name:14} {stage.summary}", f"                 {stage.example}"]
    return "\n".join([*lines, "", "elm-rl STAGE --help explains a stage's flags."])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a stage and exits: 0 done, 1 an error a user can mend, 2 wrong arguments, 130 interrupted.

    Where nobody reads the output any more (``elm-rl sample ... | head -1``), it ends without a word and with 141, as the
    system's own tools do.
    """
    try:
        status = _dispatch(arguments)
    except SystemExit as stop:  # of tyro: --help, or a wrong flag
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except OSError as error:
        status = _explain(error)
    try:  # here, where an error can be explained, and not when Python ends
        sys.stderr.flush()
        sys.stdout.flush()
    except OSError as error:
        status = _explain(error)
    sys.exit(status)


def _dispatch(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0 if given else 2
    if " ".join(given[:2]) in STAGES:
        given[:2] = [" ".join(given[:2])]
    if given[0] not in STAGES:
        _complain(f"there is no stage {given[0]!r}; expected one of {', '.join(STAGES)} (elm-rl --help explains them).")
        return 2
    # torch's threads wait for each other by spinning. With any other busy process on the machine that slows training five-
    # fold and more; sleeping waits cost next to nothing. Read when torch is loaded, hence here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return _run(given[0], given[1:])


def _run(name: str, flags: Sequence[str]) -> int:
    stage = STAGES[name]
    try:
        import tyro

        module = importlib.import_module(stage.module)
    except ModuleNotFoundError as missing:
        _complain(f"{missing.name} is not installed, and {name} needs it: pip install 'sodarace-gym[elm]'.")
        return 1
    from elm_rl.errors import ElmError
    from elm_rl.runs.processes import is_main_process

    config_class = getattr(module, stage.config)
    try:
        config = tyro.cli(
            config_class,
            args=list(flags),
            prog=f"elm-rl {name}",
            description=f"{stage.summary}\n\nExample: {stage.example}",
        )
        result = getattr(module, stage.function)(config)
        place = result if isinstance(result, Path) else getattr(config, "out", None)
        if place is not None and is_main_process():
            print(f"Done: {place / 'report.md' if name == 'pipeline' else place}")
    except ElmError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain(
            "interrupted; what was written is kept; the same command goes on from there, with --resume where a stage has it."
        )
        return 130
    return 0


def _explain(error: OSError) -> int:
    """One sentence about an error of the file system that a user can mend; any other is raised again."""
    if error.errno in _PIPE_ERRORS and any(map(_is_closed, (sys.stdout, sys.stderr))):
        return _fall_silent()
    if error.errno not in _DISK_ERRORS:
        raise error
    _complain(f"{error.strerror}: {error.filename or 'while writing'}; {_DISK_ERRORS[error.errno]}")
    return 1


def _is_closed(stream: TextIO) -> bool:
    """Whether whoever read a stream has gone."""
    if not hasattr(select, "poll"):  # Windows: the error itself has to do
        return True
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # not a stream of the system
        return False
    return bool(poll.poll(0))


def _fall_silent() -> int:
    """Lets go of what standard output and error still hold, which Python would try to write once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return _UNREAD


_UNREAD = 141
"""Exit status when nobody reads the output: that of a process ended by the system for the same reason."""
_PIPE_ERRORS = (errno.EPIPE, errno.EINVAL)  # POSIX, Windows
_DISK_ERRORS = {
    errno.ENOSPC: "free some space and run the command again; what was written before is kept.",
    errno.EDQUOT: "free some of your quota and run the command again; what was written before is kept.",
    errno.EFBIG: "the file system or a limit refuses so large a file; what was written before is kept.",
    errno.EACCES: "choose a folder you may write to.",
    errno.EROFS: "choose a folder on a file system that can be written to.",
    errno.ENOENT: "check the path.",
    errno.EISDIR: "expected a file, got a folder.",
    errno.ENOTDIR: "expected a folder, got a file.",
}
"""Errors of the file system that a user can mend, and how."""


def _complain(sentence: str) -> None:
    print(f"elm-rl: {sentence}", file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
