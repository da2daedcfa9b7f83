"""Everything an evolution run knows: its archives, what it has seen and counted, and how that is saved and restored.

Logs hold what was found (`ADMITTED_FILE`, `CHILDREN_FILE`, `DESIGNS_FILE`, metrics); a checkpoint holds their lengths, some
counters, and what is under way: who makes which children next.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from elm_rl.errors import ElmError
from elm_rl.evolution.archives import ArchiveSpec
from elm_rl.evolution.bandit import Bandit
from elm_rl.evolution.children_log import compressed
from elm_rl.evolution.digest_set import DigestSet
from elm_rl.evolution.maps import Maps
from elm_rl.evolution.pending import Pending
from elm_rl.runs.checkpoint import CHECKPOINT_FILE, AppendLog, load_checkpoint, save_checkpoint
from elm_rl.runs.children_file import CHILDREN_FILE
from elm_rl.runs.run_directory import ADMITTED_FILE, METRICS_FILE, to_json
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.walkers.walker import WalkerDesign

DESIGNS_FILE = "designs.bin"

COUNTS = ("proposed", "applied", "valid", "new", "admitted")
"""What is counted of an operator's children; each is a part of the one before. Applied: a program came out. Valid: it
built a walker that could be scored. New: the run had not seen that walker. Admitted: an archive took it."""
AMOUNTS = ("gain", "cost", "seconds")
"""What is added up over an operator's children: gain in QD score, money, and seconds of generating and evaluating them."""

_KEY_BYTES = 16
_ALWAYS = ("height", "width", "mass")  # in every record, whatever spans the archive: corpora are judged by them


def design_key(design: WalkerDesign, terrain: int = 0) -> bytes:
    """A digest that two walkers share when they are the same walker on the same of a run's terrains, 16 bytes."""
    head = len(design.joints).to_bytes(4, "little") + (terrain.to_bytes(4, "little") if terrain else b"")
    digest = hashlib.blake2b(head, digest_size=_KEY_BYTES)
    digest.update(array("d", chain.from_iterable(design.joints)).tobytes())
    digest.update(array("d", chain.from_iterable(design.muscles)).tobytes())
    return digest.digest()


class Admission(NamedTuple):
    """What became of a valid walker that was offered to an archive.

    Attributes:
        record: Id of its record; None if it was not taken.
        gain: What it added to the archive's QD score; 0 if it was not taken.
    """

    record: int | None
    gain: float


class EvolutionState:
    """The state of one run in one folder; a context manager that closes its logs.

    Attributes:
        maps: the archives.
        iteration: iterations done; 0 once the seeds are in.
        evaluations: programs evaluated, seeds included.
        phases: one dict a phase: its last iteration, its operators, and their `COUNTS` and `AMOUNTS`.
        errors: how often each kind of error stopped a child.
        seconds: time spent, over all resumed parts.
        bandit: the operators' accounts, for the operators of the current phase.
        pending: children that are planned or being made.
        learnt: what the operators have learnt, by their names; see `MutationOperator.state`.
    """

    def __init__(self, folder: Path, spec: ArchiveSpec, terrains: Mapping[str, str]) -> None:
        self.folder = folder
        self.maps = Maps(spec, terrains)
        self.iteration = 0
        self.evaluations = 0
        self.phases: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()
        self.seconds = 0.0
        self.bandit = Bandit([])
        self.pending = Pending()
        self.learnt: dict[str, dict[str, Any]] = {}
        self._latest: Mapping[str, Mapping[str, float]] = {}
        self._terrain_index = {name: index for index, name in enumerate(dict.fromkeys(terrains.values()))}
        self._roots = array("q")
        self._seed_ids: set[int] = set()
        self._seen = DigestSet()
        self._unwritten: dict[str, list[bytes]] = {ADMITTED_FILE: [], DESIGNS_FILE: []}
        self._children: list[Mapping[str, Any]] = []
        with ExitStack() as stack:
            names = (ADMITTED_FILE, DESIGNS_FILE, CHILDREN_FILE, METRICS_FILE)
            self._logs = {name: stack.enter_context(AppendLog(folder / name)) for name in names}
            self._stack = stack.pop_all()

    def __enter__(self) -> EvolutionState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def admitted(self) -> int:
        """Programs admitted so far, seeds included; the id of the next one."""
        return len(self._roots)

    def is_new(self, design: WalkerDesign, terrain: str) -> bool:
        """Whether the run sees this walker for the first time on this terrain; asking makes it seen."""
        key = self.key_of(design, terrain)
        if not self._seen.add(key):
            return False
        self._unwritten[DESIGNS_FILE].append(key)
        return True

    def key_of(self, design: WalkerDesign, terrain: str) -> bytes:
        """What tells a walker on a terrain of the run from all others."""
        return design_key(design, self._terrain_index[terrain])

    def knows(self, key: bytes) -> bool:
        """Whether the run has seen a walker on a terrain, by its key."""
        return key in self._seen

    def admit(
        self,
        archive: str,
        program: str,
        evaluation: Evaluation,
        *,
        fitness: float,
        parents: Sequence[int],
        operator: str,
        message: str,
        diff: str | None,
    ) -> Admission:
        """Offers a valid program to an archive, and logs it when it is taken: for a new niche or an improvement of one.

        Args:
            archive: name of the archive.
            program: the text.
            evaluation: its morphology.
            fitness: its objective.
            parents: record ids of its parents, the first being the one that it was made of; none for a seed.
            operator: name of what made it.
            message: the operator's message.
            diff: the change as a diff, when the operator writes diffs.
        """
        identity = self.admitted
        measures = {name: float(getattr(evaluation, name)) for name in _ALWAYS} | self.maps.spec.measure(evaluation)
        taken = self.maps.offer(archive, program, fitness, measures, id=identity)
        if taken is None:
            return Admission(None, 0.0)
        parent = parents[0] if parents else None
        # The lineage that a hold-out keeps together starts with a seed's child, or everything would be one lineage.
        root = identity if parent is None or parent in self._seed_ids else self._roots[parent]
        record = {
            "id": identity,
            "archive": archive,
            "terrain": self.maps.terrains[archive],
            "iteration": self.iteration,
            "program": program,
            "parent": parent,
            "parents": list(parents),
            "operator": operator,
            "message": message,
            "diff": diff,
            "fitness": float(fitness),
            **measures,
            "niche": taken.niche,
            "root": root,
        }
        self._remember(record)
        self._unwritten[ADMITTED_FILE].append(to_json(record).encode("ascii") + b"\n")
        return Admission(identity, taken.gain)

    def _remember(self, record: Mapping[str, Any]) -> None:
        self._roots.append(record["root"])
        if record["parent"] is None:
            self._seed_ids.add(record["id"])

    def log_child(self, line: Mapping[str, Any]) -> None:
        """Notes a child for the log of children."""
        self._children.append(line)

    def write_iteration(self, metrics: Mapping[str, Any]) -> None:
        """Appends what the iteration found, and its line of metrics, to the logs."""
        for name, parts in self._unwritten.items():
            self._logs[name].append(b"".join(parts))
            parts.clear()
        self._logs[CHILDREN_FILE].append(compressed(self._children))
        self._children.clear()
        self._logs[METRICS_FILE].append_json(metrics)

    def save(self) -> None:
        """Writes a checkpoint of all that `write_iteration` has logged."""
        state = {
            "iteration": self.iteration,
            "evaluations": self.evaluations,
            "phases": self.phases,
            "errors": self.errors,
            "seconds": self.seconds,
            "bandit": self.bandit.state(),
            "pending": self.pending.state(),
            "learnt": self.learnt,
            "logs": {name: log.mark() for name, log in self._logs.items()},
        }
        save_checkpoint(self.folder, state)

    def load(self) -> bool:
        """Restores the newest usable checkpoint and cuts the logs back to it.

        Returns:
            False when the run was killed before its first checkpoint; the logs are then emptied.

        Raises:
            ElmError: no checkpoint can be used, or there is none where there should be.
        """
        if load_checkpoint(self.folder, self._restore):
            return True
        if len((self.folder / METRICS_FILE).read_bytes().splitlines()) > 1:  # the seeds' line is saved before any other
            raise ElmError(
                f"'{self.folder}' holds the log of a run but no checkpoint; restore {CHECKPOINT_FILE} from a copy, or "
                "start a new run in another folder."
            )
        for log in self._logs.values():
            log.cut(b"")
        return False

    def _restore(self, state: dict[str, Any]) -> None:
        logged = {name: self._logs[name].verified(mark) for name, mark in state["logs"].items()}
        records = [json.loads(line) for line in logged[ADMITTED_FILE].splitlines()]
        maps = Maps(self.maps.spec, self.maps.terrains)
        maps.rebuild(records)
        pending = Pending()
        pending.restore(state["pending"], lambda identity: maps.parent_of(records[identity]))
        for name, data in logged.items():  # nothing was changed before this line, so another checkpoint could be tried
            self._logs[name].cut(data)
        self.maps = maps
        self.pending = pending
        self._roots, self._seed_ids = array("q"), set()
        for record in records:
            self._remember(record)
        keys = logged[DESIGNS_FILE]
        self._seen = DigestSet()
        for start in range(0, len(keys), _KEY_BYTES):
            self._seen.add(keys[start : start + _KEY_BYTES])
        self.iteration = state["iteration"]
        self.evaluations = state["evaluations"]
        self.phases = state["phases"]
        self.errors = Counter(state["errors"])
        self.seconds = state["seconds"]
        self.bandit = Bandit(list(state["bandit"]))
        self.bandit.restore(state["bandit"])
        self.learnt = state["learnt"]

    def enter_operators(self, names: Sequence[str]) -> None:
        """Begins a phase: operators that were there keep their accounts and what servers owe them, all else is planned anew."""
        before = self.bandit.state()
        self.bandit = Bandit(names)
        self.bandit.restore(before)
        self.pending.plan = None
        self.pending.requests = [request for request in self.pending.requests if request.operator in names]
        self.pending.failed = {name: kept for name, kept in self.pending.failed.items() if name in names}

    def count(self, counts: Mapping[str, Mapping[str, float]]) -> None:
        """Adds an iteration's `COUNTS` and `AMOUNTS` of each operator to those of the phase."""
        self._latest = counts
        for name, of_operator in counts.items():
            total = self.phases[-1]["counts"][name]
            for count, value in of_operator.items():
                total[count] += value

    def pay(self, per: str, mutate: Mapping[str, float], evaluate: float) -> None:
        """Tells the bandit what the operators of the latest iteration brought, and what that took.

        Args:
            per: "evaluation", "second" or "cost".
            mutate: Seconds that each operator took to make its children.
            evaluate: Seconds that evaluating all of them took.
        """
        applied = sum(counts["applied"] for counts in self._latest.values()) or 1
        accounts = {}
        for name, counts in self._latest.items():
            seconds = mutate.get(name, 0.0) + evaluate * counts["applied"] / applied
            self.phases[-1]["counts"][name]["seconds"] += seconds
            spent = {"evaluation": counts["proposed"], "second": seconds, "cost": counts["cost"]}[per]
            gain = max(0.0, counts["gain"])  # a sliding archive loses elites when its bins move
            accounts[name] = (gain, spent, counts["proposed"])
        self.bandit.pay(accounts)

    def figures(self) -> dict[str, Any]:
        """Niches filled, QD score and best fitness: of the best over all archives, and of each archive."""
        return self.maps.figures()

    def summary(self) -> dict[str, Any]:
        """What the run has come to: `figures`, and how each operator fared in all and in each phase, errors, timing."""
        totals: dict[str, Counter[str]] = {}
        phases = []
        for phase in self.phases:
            for name, counts in phase["counts"].items():
                totals.setdefault(name, Counter()).update(counts)
            operators = {name: operator_figures(counts) for name, counts in phase["counts"].items()}
            last = min(phase["last_iteration"], self.iteration)
            phases.append({"first_iteration": phase["first_iteration"], "last_iteration": last, "operators": operators})
        return {
            "iterations": self.iteration,
            "evaluations": self.evaluations,
            "admitted": self.admitted,
            "all_niches": self.maps.spec.niches and self.maps.spec.niches * len(self._terrain_index),
            **self.figures(),
            "operators": {name: operator_figures(counts) for name, counts in totals.items()},
            "phases": phases,
            "errors": dict(sorted(self.errors.items())),
            "timing": {
                "seconds": self.seconds,
                "evaluations_per_second": self.evaluations / max(self.seconds, 1e-9),
                "operators": {name: counts["seconds"] for name, counts in totals.items()},
            },
        }


def new_counts() -> dict[str, float]:
    """Empty `COUNTS` and `AMOUNTS` of an operator."""
    return {**dict.fromkeys(COUNTS, 0), **dict.fromkeys(AMOUNTS, 0.0)}


def operator_figures(counts: Mapping[str, float]) -> dict[str, float]:
    """Counts of an operator's children (`COUNTS`), each as a percentage of the proposed, its gain and its cost."""
    proposed = max(1, counts["proposed"])
    figures = {name: counts[name] for name in (*COUNTS, "gain", "cost")}
    return {**figures, **{f"{name}_percent": 100.0 * counts[name] / proposed for name in COUNTS[1:]}}
