"""MAP-Elites: what is admitted, logged and counted, and how phases follow each other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elm_rl.errors import ConfigError, ElmError
from elm_rl.evolution.bandit import divide
from elm_rl.evolution.map_elites import EvolutionResult, EvolveConfig, run_evolution
from elm_rl.evolution.maps import rebuild_archives
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.operator import Child, MutationOperator, Parent
from elm_rl.runs.run_directory import read_json, read_jsonl
from sodarace_gym.evaluation import Evaluation, EvaluationError, Evaluator
from sodarace_gym.walkers.walker import Muscle, WalkerDesign
from tests.elm_rl.evolution.comparing import assert_same_archive, config_of, without_timing

# --- toy programs: four numbers "height width mass fitness", or anything else for an invalid one -----------------------


class ToyEvaluator:
    """Takes the numbers at their word; the seeds stand still in a corner."""

    def evaluate(self, programs: Sequence[str], terrain: object, robustness: int = 0) -> list[Evaluation]:
        return [self._score(program) for program in programs]

    def _score(self, program: str) -> Evaluation:
        if "make_walker" in program:
            return self._score(f"1 1 1 {len(program) / 1000}")
        try:
            height, width, mass, fitness = (float(number) for number in program.split())
        except ValueError:
            return Evaluation(error=EvaluationError("syntax_error", "not four numbers"))
        design = WalkerDesign(((0.0, 0.0), (width, height), (mass, fitness)), (Muscle(0, 1),))
        return Evaluation(fitness, fitness, height, width, mass, design)


class ToyOperator(MutationOperator):
    """Makes every child by one function of (parent, rng), and remembers the parents it was shown."""

    def __init__(self, make: Callable[[str, np.random.Generator], str | None], name: str = "toy") -> None:
        self.name = name
        self.make = make
        self.parents: list[str] = []

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        self.parents += [parent.program for parent in parents]
        programs = [self.make(parent.program, rng) for parent in parents]
        return iter([Child(program, self.name, "why", "- a\n+ b") for program in programs])


def anywhere(parent: str, rng: np.random.Generator) -> str:
    return " ".join(repr(float(number)) for number in rng.uniform((0, 0, 0, 0), (24, 30, 400, 9)))


def evolve(config: EvolveConfig, *operators: ToyOperator, resume: bool = False) -> EvolutionResult:
    evaluator: Any = ToyEvaluator()
    return run_evolution(config, operators, evaluator, resume=resume)


def toy_config(out: Path, *operators: str, **settings: Any) -> EvolveConfig:
    named = tuple(f"gp,name={name}" for name in operators or ("toy",))
    return config_of(out, operators=named, **{"seeds": ("square",), **settings})


def test_thousands_of_improvements_rebuild_to_the_last_bit(tmp_path: Path) -> None:
    result = evolve(toy_config(tmp_path, batch_size=2000), ToyOperator(anywhere))
    records = list(read_jsonl(tmp_path / "admitted.jsonl"))
    assert len(records) > len(result.archives["square"]) > 1500  # many niches were improved
    assert_same_archive(result.archives["square"], rebuild_archives(records, ["square"])["square"])


@pytest.mark.parametrize("count", [0, 3, 5])
def test_operator_that_miscounts_its_children_is_named(tmp_path: Path, count: int) -> None:
    class Miscounting(ToyOperator):
        def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
            return super().children([*parents, *parents][:count], rng)

    with pytest.raises(ElmError, match=rf"'toy' gave {count} children of 4 parents; expected one of each"):
        evolve(toy_config(tmp_path, batch_size=4), Miscounting(anywhere))


def test_only_new_niches_and_improvements_are_admitted_in_order(tmp_path: Path) -> None:
    script = iter(
        [
            "20 20 20 5",  # a new niche
            "20 20 20 4",  # worse
            "20 20 20 5",  # the same walker again
            "20.1 20 20 5",  # equal is no improvement
            "20 20 20 6",  # better, though a still better one follows in the same batch
            "20 20 20 7",
            "20 20 999 1",  # heavier than the map is wide: the last bin
            "nonsense",
            None,
        ]
    )
    result = evolve(toy_config(tmp_path, iterations=1, batch_size=9), ToyOperator(lambda parent, rng: next(script)))
    records = list(read_jsonl(tmp_path / "admitted.jsonl"))[1:]
    assert [record["program"] for record in records] == ["20 20 20 5", "20 20 20 6", "20 20 20 7", "20 20 999 1"]
    assert [record["niche"] for record in records] == [(10 * 12 + 8) * 12] * 3 + [(10 * 12 + 8) * 12 + 11]
    assert {(record["operator"], record["message"], record["diff"]) for record in records} == {
        ("toy", "why", "- a\n+ b")
    }
    counts = result.summary["operators"]["toy"]
    assert [counts[name] for name in ("proposed", "applied", "valid", "new", "admitted")] == [9, 8, 7, 6, 4]
    assert result.summary["errors"] == {"not_applied": 1, "syntax_error": 1}
    assert result.summary["evaluations"] == 1 + 8


def test_archives_take_turns_and_keep_to_their_own(tmp_path: Path) -> None:
    numbers = iter(range(1, 1000))
    operator = ToyOperator(lambda parent, rng: f"{next(numbers) / 50} 1 1 1")
    result = evolve(toy_config(tmp_path, seeds=SEED_NAMES, batch_size=6, iterations=6), operator)
    records = list(read_jsonl(tmp_path / "admitted.jsonl"))
    owner = {record["program"]: record["archive"] for record in records}
    shown = Counter(owner[program] for program in operator.parents)
    assert shown == dict.fromkeys(SEED_NAMES, 9)  # 36 children, though 6 do not divide by 4
    for name, archive in result.archives.items():
        assert {owner[program] for program in archive.data("solution")} == {name}


@pytest.mark.parametrize(("tournament", "uniform"), [(1, 0.0), (3, 0.0), (3, 0.5), (12, 1.0)])
def test_parents_are_drawn_uniformly_or_are_the_fittest_of_some(
    tmp_path: Path, tournament: int, uniform: float
) -> None:
    niches = [f"{2 * k + 1} 1 1 {10**k}" for k in range(1, 10)]

    def fill_then_watch(parent: str, rng: np.random.Generator) -> str | None:
        return niches[rng.integers(9)] if len(operator.parents) == 9000 else None

    operator = ToyOperator(fill_then_watch)
    evolve(toy_config(tmp_path, iterations=2, batch_size=9000, tournament=tournament, uniform=uniform), operator)
    drawn = Counter(operator.parents[9000:])
    ranked = [load_seed("square"), *niches]  # from the least fit to the fittest, over nine orders of magnitude
    for rank, program in enumerate(ranked):
        share = (1 - uniform) * (((rank + 1) / 10) ** tournament - (rank / 10) ** tournament) + uniform / 10
        # Six standard deviations of a binomial count.
        assert drawn[program] == pytest.approx(9000 * share, abs=6 * (9000 * share * (1 - share)) ** 0.5 + 1)


def test_operators_work_side_by_side_by_their_shares(tmp_path: Path) -> None:
    config = toy_config(tmp_path, "gp", "model", shares=(3.0, 1.0), iterations=2, batch_size=1000)
    result = evolve(config, ToyOperator(anywhere, "gp"), ToyOperator(lambda parent, rng: None, "model"))
    counts = result.summary["operators"]
    assert counts["gp"]["proposed"] + counts["model"]["proposed"] == 2000
    assert 1400 < counts["gp"]["proposed"] < 1600
    assert (counts["model"]["applied_percent"], counts["gp"]["applied_percent"]) == (0.0, 100.0)


# --- phases and refusals ----------------------------------------------------------------------------------------------


def test_an_operator_may_have_a_share_of_its_own(tmp_path: Path) -> None:
    assert EvolveConfig(out=tmp_path).fixed_shares() == [None, 0.05]
    assert EvolveConfig(out=tmp_path, operators=("gp", "builtin"), shares=(1.0, 1.0)).fixed_shares() == [0.5, 0.5]
    assert divide([None, 0.1], [0.3, 0.7]) == pytest.approx([0.9, 0.1])
    assert divide([None, 0.2, None], [0.3, 0.6, 0.1]) == pytest.approx([0.6, 0.2, 0.2])
    assert divide([None, None], [0.3, 0.7]) == [0.3, 0.7]
    assert divide([0.2, 0.2], [0.3, 0.7]) == [0.5, 0.5]
    for wrong, message in (
        ({"operators": ("gp", "builtin,share=0.1"), "shares": (1.0, 1.0)}, "given twice"),
        ({"operators": ("gp", "builtin,share=1")}, "come to 1 of all"),
        ({"operators": ("gp", "builtin"), "rounds": 1, "shares": (1.0, 1.0)}, "one more operator"),
        ({"operators": ("gp", "builtin,share=0.95"), "rounds": 1}, "come to 1 of all"),
        ({"operators": ("gp", "builtin,share=2")}, "expected share to be"),
        ({"round_share": 1.0}, "round_share is 1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            EvolveConfig(out=tmp_path, **wrong)  # type: ignore[arg-type]


def test_second_phase_continues_the_directory_with_other_operators(tmp_path: Path) -> None:
    out = tmp_path / "run"
    evolve(toy_config(out, "gp", iterations=3), ToyOperator(anywhere, "gp"))
    after_first = (out / "admitted.jsonl").read_bytes()
    both = [ToyOperator(anywhere, "gp"), ToyOperator(anywhere, "model")]
    result = evolve(toy_config(out, "gp", "model", iterations=5), *both, resume=True)
    assert (out / "admitted.jsonl").read_bytes().startswith(after_first)
    first, second = result.summary["phases"]
    assert (first["first_iteration"], first["last_iteration"], list(first["operators"])) == (1, 3, ["gp"])
    assert (second["first_iteration"], second["last_iteration"]) == (4, 5)
    assert second["operators"]["gp"]["proposed"] + second["operators"]["model"]["proposed"] == 32
    assert second["operators"]["model"]["admitted"] > 0
    assert result.summary["operators"]["gp"]["proposed"] == 48 + second["operators"]["gp"]["proposed"]
    assert read_json(out / "config.json")["operators"] == ["gp,name=gp", "gp,name=model"]
    assert [line["phase"] for line in read_jsonl(out / "metrics.jsonl")] == [1, 1, 1, 1, 2, 2]

    # A pipeline that was killed makes all its calls again: what is done is done.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = evolve(toy_config(out, "gp", iterations=3), ToyOperator(anywhere, "gp"), resume=True)
    assert again.summary == result.summary
    evolve(toy_config(out, "gp", "model", iterations=5), *both, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_other_operators_wait_for_the_end_of_a_phase(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def stop_in_the_third(parent: str, rng: np.random.Generator) -> str:
        if len(operator.parents) > 2 * 16:
            raise KeyboardInterrupt
        return anywhere(parent, rng)

    operator = ToyOperator(stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        evolve(toy_config(out, iterations=4), operator)
    config = (out / "config.json").read_bytes()
    with pytest.raises(
        ElmError, match=r"2 iterations old, does iterations 1 to 4 with operators = \['toy'\], not \['gp'\]"
    ):
        evolve(toy_config(out, "gp", iterations=9), ToyOperator(anywhere, "gp"), resume=True)
    assert (out / "config.json").read_bytes() == config
    done = evolve(toy_config(out, iterations=4), ToyOperator(anywhere), resume=True)
    assert done.summary["iterations"] == 4
    with pytest.raises(ElmError, match=r"with operators = \['toy'\], not \['gp'\]"):
        evolve(toy_config(out, "gp", iterations=3), ToyOperator(anywhere, "gp"), resume=True)


def test_a_run_that_came_to_its_budget_goes_on_with_other_operators(tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped = evolve(toy_config(out, iterations=9, max_evaluations=40), ToyOperator(anywhere))
    assert stopped.summary["iterations"] == 3
    other = ToyOperator(anywhere, "gp")
    done = evolve(toy_config(out, "gp", iterations=5), other, resume=True)
    first, second = done.summary["phases"]
    assert (first["first_iteration"], first["last_iteration"], list(first["operators"])) == (1, 3, ["toy"])
    assert (second["first_iteration"], second["last_iteration"], list(second["operators"])) == (4, 5, ["gp"])
    assert len(other.parents) == 2 * 16


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1), ("terrains", ("Tunnel",)), ("batch_size", 17), ("duration", 3.0), ("seeds", ("square", "radial"))],
)
def test_resuming_with_another_setting_names_it(tmp_path: Path, name: str, value: Any) -> None:
    out = tmp_path / "run"
    config = toy_config(out, iterations=1)
    evolve(config, ToyOperator(anywhere))
    with pytest.raises(ElmError, match=f"was started with {name} = "):
        evolve(dataclasses.replace(config, **{name: value}), ToyOperator(anywhere), resume=True)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        evolve(toy_config(tmp_path / str(seed), seed=seed), ToyOperator(anywhere))
    assert (tmp_path / "0" / "admitted.jsonl").read_bytes() != (tmp_path / "1" / "admitted.jsonl").read_bytes()


def test_record_of_another_version_is_refused(tmp_path: Path) -> None:
    evolve(toy_config(tmp_path), ToyOperator(anywhere))
    records = list(read_jsonl(tmp_path / "admitted.jsonl"))
    worse = {**records[1], "id": len(records), "fitness": -1.0}
    for bad in (worse, {**worse, "archive": "radial"}, {"id": len(records)}, {**records[1], "fitness": 99.0}):
        with pytest.raises(
            ElmError, match=rf"Line {len(records) + 1} of admitted.jsonl was not written by this version"
        ):
            rebuild_archives([*records, bad], ["square"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"terrains": ("Swamp",)}, r"unknown terrain 'Swamp'; expected one of Flat, LeftWall"),
        ({"terrains": ()}, r"terrains is \[\]; expected one or more names"),
        ({"operators": ("nobody",)}, r"There is no operator 'nobody'; expected one of gp, "),
        ({"operators": ("model",)}, r"operators has 'model'; expected model:MODEL"),
        ({"max_seconds": 0.0}, r"max_seconds is 0.0; expected more than 0"),
        ({"seeds": ("square", "cube")}, r"seeds has 'cube'; expected one of square"),
        ({"seeds": ()}, r"seeds is \[\]; expected one or more names"),
        ({"operators": ("gp", "gp")}, r"operators is \['gp', 'gp'\]; .* each once"),
        ({"iterations": -1}, r"iterations is -1; expected 0 or more"),
        ({"batch_size": 0}, r"batch_size is 0; expected 1 or more"),
        ({"checkpoint_every": 0}, r"checkpoint_every is 0"),
        ({"seed": -1}, r"seed is -1"),
        ({"duration": float("nan")}, r"duration is nan; expected more than 0 simulated seconds"),
        ({"n_jobs": 0}, r"n_jobs is 0; expected -1 \(one a core\) or 1 or more"),
        ({"shares": (1.0, 2.0, 1.0)}, r"shares is \[1.0, 2.0, 1.0\]; expected one number above 0 for each of the 2"),
        ({"shares": (1.0, 0.0)}, r"shares is \[1.0, 0.0\]"),
    ],
)
def test_settings_are_checked_at_the_door(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EvolveConfig(out=Path("never"), **settings)


def test_missing_model_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ElmError, match="no-such-model"):
        run_evolve(config_of(tmp_path / "run", operators=("gp", f"model:{tmp_path / 'no-such-model'}")))
    assert not (tmp_path / "run").exists()


def test_operators_of_one_name_could_not_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"named \['toy', 'toy'\]; expected one for each of \['gp,name=a', 'gp,name=b'\], with distinct",
    ):
        evolve(toy_config(tmp_path / "run", "a", "b"), ToyOperator(anywhere), ToyOperator(anywhere))
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_each_iteration_once_even_after_a_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    flags = {
        "out": out,
        "operators": ("gp",),
        "seeds": ("square",),
        "batch_size": 4,
        "duration": 0.5,
        "progress": False,
    }
    run_evolve(EvolveConfig(iterations=3, **flags))
    run_evolve(EvolveConfig(iterations=5, resume=True, **flags))
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("maps/niches")]
    expected = [(line["iteration"], line["niches"]) for line in read_jsonl(out / "metrics.jsonl") if line["iteration"]]
    assert shown == expected


class LazyToyOperator(ToyOperator):
    """Makes its children when they are asked for."""

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        for parent in parents:
            yield from super().children([parent], rng)


def test_an_operator_that_makes_children_one_by_one_gives_the_same_run(tmp_path: Path) -> None:
    """Beside one that makes them all at once, before and after it."""
    runs = []
    for kind in (ToyOperator, LazyToyOperator):
        config = toy_config(tmp_path / kind.__name__, "a", "b", "c", seeds=("square", "radial"))
        evolve(config, ToyOperator(anywhere, "a"), kind(anywhere, "b"), ToyOperator(anywhere, "c"))
        runs.append(without_timing(config.out))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("change", [-1, 1])
def test_an_operator_that_makes_children_one_by_one_is_counted_too(tmp_path: Path, change: int) -> None:
    class Miscounting(LazyToyOperator):
        def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
            return super().children([*parents, *parents][: len(parents) + change], rng)

    with pytest.raises(ElmError, match=rf"'toy' gave {16 + change} children of 16 parents"):
        evolve(toy_config(tmp_path), Miscounting(anywhere))


def test_a_robust_objective_is_the_least_distance_and_walks_copies_of_candidates_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked = Counter[int]()
    evaluate = Evaluator.evaluate

    def counting(self: Evaluator, programs: Any, terrain: Any, *, robustness: int | None = None) -> list[Evaluation]:
        scored = evaluate(self, programs, terrain, robustness=robustness)
        walked[robustness or 0] += len(scored)
        return scored

    monkeypatch.setattr(Evaluator, "evaluate", counting)
    run_evolve(config_of(tmp_path / "run", seeds=("radial",), iterations=8, robustness=2, n_jobs=1))
    records = list(read_jsonl(tmp_path / "run" / "admitted.jsonl"))
    assert len(records) > 10
    assert len(records) <= walked[2] < walked[0]
    monkeypatch.undo()
    with Evaluator(n_jobs=1, duration=2.0, robustness=2) as evaluator:
        scored = evaluator.evaluate([record["program"] for record in records], "Flat")
    assert [record["fitness"] for record in records] == [evaluation.robust_fitness for evaluation in scored]
    assert any(evaluation.robust_fitness < evaluation.fitness for evaluation in scored if evaluation.robust_fitness)
