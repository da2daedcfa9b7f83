"""The beginning of a run: which archives there are, and the seed programs and elites of another run that are put into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.maps import Maps
from elm_rl.evolution.seeds import read_seed, seed_name
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.state import EvolutionState
from elm_rl.runs.run_directory import ADMITTED_FILE, CONFIG_FILE, read_json, read_jsonl
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.programs import compile_program
from sodarace_gym.terrains.terrain import Terrain

SHARED = "all"
"""The archive's name where all seeds share one."""


def archive_name(config: EvolveConfig, seed: str, terrain: str) -> str:
    """The archive of a seed's descendants on a terrain; terrains are named only where there are several."""
    first = SHARED if config.maps == "terrain" else seed
    return first if len(config.terrains) + config.random_terrains == 1 else f"{first}/{terrain}"


def planted_programs(config: EvolveConfig) -> list[tuple[str, str]]:
    """What a run starts from: pairs of a seed's name and a program; the seeds first, then the elites of another run.

    Raises:
        ElmError: A file cannot be read or holds no program, two seeds have one name, or the other run is none.
    """
    programs = [(seed_name(text), read_seed(text)) for text in config.seeds]
    names = [name for name, _ in programs]
    if len(set(names)) != len(names):
        raise ConfigError(f"seeds are named {names}; expected each name once, so rename a file.")
    if config.start_from is not None:
        programs += _elites(config)
    return programs


def check_seeds(config: EvolveConfig) -> None:
    """Builds the walkers of the seeds, before a folder is touched.

    Raises:
        ElmError: A seed builds none.
    """
    for text in config.seeds:
        try:
            compile_program(read_seed(text))
        except ProgramError as error:
            raise ElmError(f"The seed program '{text}' builds no walker: {error}") from None


def _reason(evaluation: Evaluation) -> str:
    return "it builds no walker." if evaluation.error is None else evaluation.error.message


def _elites(config: EvolveConfig) -> list[tuple[str, str]]:
    """The final elites of another run, with the seeds that they descend from, in the order in which they were admitted."""
    assert config.start_from is not None
    path = config.start_from / ADMITTED_FILE
    if not path.is_file():
        raise ElmError(
            f"'{config.start_from}' holds no {ADMITTED_FILE}; give a directory that 'elm-rl evolve' has written."
        )
    elites: dict[tuple[str, int], tuple[str, str]] = {}
    try:
        records = list(read_jsonl(path))
        kept = _held(config.start_from, records)
        for record in records:  # the last of a niche is its elite
            niche = (record["archive"], record["niche"] if kept is None else record["id"])
            elites.pop(niche, None)
            if kept is None or record["id"] in kept:
                elites[niche] = (str(record["archive"]).partition("/")[0], record["program"])
    except (KeyError, TypeError) as error:
        raise ElmError(f"'{path}' is damaged ({type(error).__name__}: {error}); restore it from a copy.") from None
    return list(dict.fromkeys(elites.values()))


def _held(run: Path, records: Sequence[Mapping[str, Any]]) -> set[int] | None:
    """The records that archives whose niches move hold at the end; None where niches stay what they are."""
    config = read_json(run / CONFIG_FILE) if (run / CONFIG_FILE).exists() else {}
    settings = config.get("archive") or {}
    if settings.get("kind") != "sliding":
        return None
    maps = Maps(ArchiveSpec(**settings), {record["archive"]: record["terrain"] for record in records})
    maps.rebuild(records)
    return {int(identity) for archive in maps.archives.values() for identity in archive.data("id")}


def archive_terrains(
    config: EvolveConfig, programs: Sequence[tuple[str, str]], terrains: Iterable[str]
) -> dict[str, str]:
    """The archives of a run by name, each with its terrain."""
    seeds = dict.fromkeys(seed for seed, _ in programs)
    return {archive_name(config, seed, terrain): terrain for terrain in terrains for seed in seeds}


def plant(
    state: EvolutionState,
    programs: Sequence[tuple[str, str]],
    config: EvolveConfig,
    evaluator: Evaluator,
    terrains: Mapping[str, Terrain],
) -> None:
    """Puts the programs a run starts from into their archives, as iteration 0.

    Raises:
        ElmError: A seed cannot be scored, or an archive would begin empty.
    """
    seeds = {program for _, program in programs[: len(config.seeds)]}
    for terrain, ground in terrains.items():
        evaluations = evaluator.evaluate([program for _, program in programs], ground, robustness=config.robustness)
        state.evaluations += len(programs)
        for (seed, program), evaluation in zip(programs, evaluations, strict=True):
            if evaluation.error is not None or evaluation.design is None:
                if program in seeds:
                    raise ElmError(
                        f"The seed program '{seed}' cannot be scored on {terrain}: {_reason(evaluation)} Correct it or leave "
                        "it out."
                    )
                continue  # an elite of another run that fails here
            state.is_new(evaluation.design, terrain)  # two seeds may be one walker, each the first of its archive
            state.admit(
                archive_name(config, seed, terrain),
                program,
                evaluation,
                fitness=evaluation.score,
                parents=(),
                operator="seed",
                message="",
                diff=None,
            )
    if empty := [name for name, archive in state.maps.archives.items() if len(archive) == 0]:
        raise ElmError(
            f"No program to start from can be scored for the archive '{empty[0]}'; give other seeds or another terrain."
        )
    state.write_iteration({"iteration": 0, "phase": 1, "evaluations": state.evaluations, **state.figures()})
    state.save()
