"""Stage 3 by policy gradient: a policy writes programs for terrains, and those that walk further than their siblings gain.

Programs are ranked within their terrain, by the least distance of a walker and its perturbed copies. Ranks know no units, so
that an easy terrain counts as much as a hard one, and no lucky walker is worth more than the best of its siblings.
"""

from __future__ import annotations

import copy
import io
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.errors import ConfigError, ElmError
from elm_rl.inventor.policy_update import PolicyUpdate, UpdateSettings, WrittenPrograms, rank_advantages
from elm_rl.inventor.policy_watch import PolicyWatch, Standing, WatchSettings, draw_texts, known_terrains
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import load_policy, save_language_model, weights_digest
from elm_rl.models.sampling import context_length, sample_answers
from elm_rl.models.tokenizer import decode_program, start_id
from elm_rl.models.training_options import check_same_settings
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import METRICS_FILE, explained_disk_errors, read_json, to_json, write_bytes, write_json
from elm_rl.runs.tensorboard import ScalarLog
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.terrains.texts import terrain_from_text

RANK_GRADIENT_FILE = "rank_gradient.json"
_CHECKPOINT = "checkpoint.pt"

# A run directory may move, and neither of the others changes what is learnt.
_NOT_COMPARED = ("start", "out", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class RankGradientConfig(WatchSettings, UpdateSettings, DrawnTerrains):
    """Settings of ``elm-rl rank-gradient``."""

    start: Path
    """Folder of the policy to start from, such as 'elm-rl supervised' has written. The divergence is measured from it."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused, a stopped one is
    gone on with."""
    updates: int = 30
    """Updates, unless there is no better policy for long."""
    terrains: int = 8
    """Terrains of an update, drawn anew each time; a policy of codes is asked for all that it knows."""
    samples: int = 16
    """Programs for each of them."""
    longest: int = 256
    """Tokens at which a program is cut, and counts as none."""
    robustness: int = 2
    """Copies of each walker, with joints off by thousandths, that are rolled out too; the least distance counts."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    seed: int = 0
    """Seed of every random choice."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        for kind in (WatchSettings, UpdateSettings, DrawnTerrains):
            kind.__post_init__(self)
        for name, low in (
            ("updates", 1),
            ("terrains", 1),
            ("samples", 2),
            ("longest", 1),
            ("robustness", 0),
            ("seed", 0),
        ):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")


@dataclass(frozen=True)
class RankGradientResult:
    """Figures of a finished training.

    Attributes:
        updates: Updates done.
        stopped: Why it ended: "updates", "patience", "collapsed" or "diverged".
        evaluations: Programs rolled out.
        tokens: Tokens written.
        seconds: Time it took, by part.
        start: The policy at the start, on the terrains that it was looked at.
        kept: The policy that was kept. It was chosen by these figures, which therefore flatter it a little: report fresh ones.
    """

    updates: int
    stopped: str
    evaluations: int
    tokens: int
    seconds: dict[str, float]
    start: Standing
    kept: Standing


def run_rank_gradient(config: RankGradientConfig) -> RankGradientResult:
    """Trains a policy and saves the best one met to ``config.out``.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and, at the end, ``rank_gradient.json``.

    Raises:
        ElmError: A folder is missing or damaged, the disk is full, another process writes to ``out``, or that holds a run with
            other settings.
    """
    settings = {name: value for name, value in asdict(config).items() if name not in _NOT_COMPARED}
    settings["start_weights"] = weights_digest(config.start)

    def finished() -> RankGradientResult | None:
        if not (config.out / RANK_GRADIENT_FILE).is_file():
            return None
        content = read_json(config.out / RANK_GRADIENT_FILE)
        check_same_settings(f"'{config.out}' holds a policy trained", content["settings"], settings)
        figures = content["figures"]
        standings = {name: Standing(**figures[name]) for name in ("start", "kept")}
        return RankGradientResult(**figures | standings)

    def work() -> RankGradientResult:
        policy, tokenizer = load_policy(config.start)
        longest = min(config.longest, context_length(policy) - policy.config.prefix_length - 1)
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            result = _Training(config, settings, policy, tokenizer, evaluator, longest).run()
        write_json(config.out / RANK_GRADIENT_FILE, {"settings": settings, "figures": asdict(result)})
        (config.out / _CHECKPOINT).unlink(missing_ok=True)
        return result

    return done_once(config.out, finished, work)


class _Training:
    """A training run that can be stopped between any two updates."""

    def __init__(
        self,
        config: RankGradientConfig,
        settings: dict[str, Any],
        policy: TerrainPolicy,
        tokenizer: PreTrainedTokenizerBase,
        evaluator: Evaluator,
        longest: int,
    ) -> None:
        self.config = config
        self.settings = settings
        self.policy, self.tokenizer, self.evaluator, self.longest = policy, tokenizer, evaluator, longest
        self.learner = PolicyUpdate(policy, copy.deepcopy(policy), config)
        self.watch = PolicyWatch(
            policy,
            tokenizer,
            evaluator,
            config,
            config.distribution("validation"),
            longest=longest,
            robustness=config.robustness,
            temperature=config.temperature,
            seed=config.seed,
        )
        self.update = self.evaluations = self.tokens = 0
        self.seconds = {"write": 0.0, "evaluate": 0.0, "learn": 0.0, "look": 0.0}

    def run(self) -> RankGradientResult:
        """Trains to the end, from a checkpoint where there is one."""
        config, out = self.config, self.config.out
        with explained_disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        logged = self._restore()
        with explained_disk_errors(out / METRICS_FILE), open(out / METRICS_FILE, "ab") as file:
            file.truncate(logged)
        scalars = ScalarLog(out, resume_at=self.update if self.update else None)
        stopped = "updates"
        bar = tqdm(
            total=config.updates, initial=self.update, desc="rank gradient", unit="update", disable=not config.progress
        )
        try:
            if self.update == 0:
                self._look({"update": 0}, scalars)
            while self.update < config.updates:
                if self.watch.collapsed or not self.watch.patient:
                    stopped = "collapsed" if self.watch.collapsed else "patience"
                    break
                record = self._learn(self.update)
                if not math.isfinite(record["loss"]):
                    stopped = "diverged"
                    break
                self.update += 1
                record = {"update": self.update, **record}
                if self.update % config.evaluate_every == 0 or self.update == config.updates:
                    self._look(record, scalars)
                else:
                    self._log(record, scalars)
                bar.set_postfix(self._shown(record), refresh=False)
                bar.update()
        finally:
            bar.close()
            scalars.close()
        assert self.watch.start is not None and self.watch.best is not None
        return RankGradientResult(
            updates=self.update,
            stopped=stopped,
            evaluations=self.evaluations,
            tokens=self.tokens,
            seconds={name: round(spent, 1) for name, spent in self.seconds.items()},
            start=self.watch.start,
            kept=self.watch.best,
        )

    def _learn(self, number: int) -> dict[str, Any]:
        """One update; what is random in it depends on its number alone."""
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        texts = known_terrains(self.policy) or draw_texts(config.distribution(), config.terrains, rng)
        begun = time.monotonic()
        prompts = [
            [*self.policy.prompt_ids(text), start_id(self.tokenizer)] for text in texts for _ in range(config.samples)
        ]
        written = sample_answers(
            self.policy,
            self.tokenizer,
            prompts,
            max_new_tokens=self.longest,
            temperature=config.temperature,
            seed=int(rng.integers(1 << 31)),
        )
        begun = self._spent("write", begun)
        terrains = [terrain_from_text(text) for text in texts for _ in range(config.samples)]
        programs = [decode_program(self.tokenizer, answer.ids) for answer in written]
        found = self.evaluator.evaluate(programs, terrains, robustness=config.robustness)
        scores = np.array([_worth(each) if answer.ended else -1.0 for answer, each in zip(written, found, strict=True)])
        designs = [None if each.design is None else design_digest(each.design) for each in found]
        shape = (len(texts), config.samples)
        groups = [designs[row * config.samples : (row + 1) * config.samples] for row in range(len(texts))]
        advantages = rank_advantages(scores.reshape(shape), groups).ravel()
        begun = self._spent("evaluate", begun)
        ends = [[*answer.ids, *([int(self.tokenizer.eos_token_id or 0)] if answer.ended else [])] for answer in written]
        batch = WrittenPrograms.of(prompts, ends)
        figures = self.learner.step(batch, advantages, seed=int(rng.integers(1 << 31)))
        self._spent("learn", begun)
        self.evaluations += len(programs)
        self.tokens += sum(map(len, ends))
        return {
            **figures,
            "distance": float(scores.clip(min=0).mean()),
            "best": float(scores.max()),
            "valid": float(np.mean([each.valid for each in found])),
            "designs": float(np.mean([len({d for d in group if d is not None}) for group in groups]) / config.samples),
        }

    def _look(self, record: dict[str, Any], scalars: ScalarLog) -> None:
        """Takes a standing, keeps the policy if it is the best, and writes a checkpoint."""
        begun = time.monotonic()
        better = self.watch.look(self.update)
        self.evaluations += len(self.watch.texts) * max(1, self.config.evaluation_samples // len(self.watch.texts))
        if better:
            save_language_model(self.policy, self.tokenizer, self.config.out)
        self._spent("look", begun)
        standing = {name: value for name, value in asdict(self.watch.last).items() if name != "update"}
        self._log({**record, "validation": standing, "kept": better}, scalars)
        state = io.BytesIO()
        content = {
            "policy": self.policy.state_dict(),
            "optimizer": self.learner.state(),
            "run": to_json(
                {
                    "settings": self.settings,
                    "watch": self.watch.state(),
                    "update": self.update,
                    "evaluations": self.evaluations,
                    "tokens": self.tokens,
                    "seconds": self.seconds,
                    "logged": (self.config.out / METRICS_FILE).stat().st_size,
                }
            ),
        }
        torch.save(content, state)
        write_bytes(self.config.out / _CHECKPOINT, state.getvalue())

    def _restore(self) -> int:
        """Goes back to the checkpoint, if there is one; returns how many bytes of the metrics it had seen."""
        path = self.config.out / _CHECKPOINT
        if not path.is_file():
            return 0
        try:
            content = torch.load(path, weights_only=True, map_location=self.policy.device)
        except Exception as error:
            raise ElmError(f"'{path}' cannot be read; delete it to train from the start.") from error
        run = json.loads(content["run"])
        check_same_settings(f"'{self.config.out}' holds a half-finished training", run["settings"], self.settings)
        self.policy.load_state_dict(content["policy"])
        self.learner.restore(content["optimizer"])
        self.watch.restore(run["watch"])
        self.update, self.evaluations, self.tokens = run["update"], run["evaluations"], run["tokens"]
        self.seconds = run["seconds"]
        return int(run["logged"])

    def _log(self, record: dict[str, Any], scalars: ScalarLog) -> None:
        line = {**record, "evaluations": self.evaluations, "tokens": self.tokens}
        path = self.config.out / METRICS_FILE
        with explained_disk_errors(path), open(path, "a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")
        flat = {f"rank_gradient/{name}": value for name, value in line.items() if isinstance(value, int | float)}
        flat |= {f"validation/{name}": value for name, value in line.get("validation", {}).items()}
        scalars.write(self.update, [(name, float(value)) for name, value in flat.items()])

    def _spent(self, part: str, begun: float) -> float:
        now = time.monotonic()
        self.seconds[part] += now - begun
        return now

    def _shown(self, record: dict[str, Any]) -> dict[str, str]:
        assert self.watch.best is not None
        shown = {"distance": f"{record['distance']:.1f}", "valid": f"{100 * record['valid']:.0f}%"}
        shown |= {"walkers": f"{100 * record['designs']:.0f}%", "kl": f"{record['kl']:.3f}"}
        return shown | {"kept": f"{self.watch.best.mean:.1f}"}


def _worth(evaluation: Evaluation) -> float:
    """What a program is ranked by; one that makes no walker is worse than a walker that stands still."""
    if not evaluation.valid:
        return -1.0
    return evaluation.fitness if evaluation.robust_fitness is None else evaluation.robust_fitness
