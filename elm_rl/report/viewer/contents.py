"""What a page holds: records, programs, walks, the matrix and the rest, within a number of bytes.

Walks take most of a page. They come in this order, as long as there is room: those of the matrix, the lineages of the archives'
best, the best of each niche of a terrain, the other elites, and then other ancestors, those of most elites first. Where all
elites fit, walks keep every frame of the engine's record; otherwise every second one, between which the page interpolates, and
where they still do not fit, positions are rounded more coarsely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.report.figures import figure, part
from elm_rl.report.viewer.curves import evolution_charts, pipeline_charts
from elm_rl.report.viewer.failures import read_failures
from elm_rl.report.viewer.history import History, finished_iterations, finished_summary, read_history
from elm_rl.report.viewer.matrix import matrix_rows, matrix_terrains
from elm_rl.report.viewer.packing import base64_size, pack_json
from elm_rl.report.viewer.tables import evolution_tables, pipeline_tables, read_tables
from elm_rl.report.viewer.walker import Walker
from elm_rl.report.viewer.walks import DETAILS, Detail, Walked

COPIES = 2
"""Perturbed copies by which each elite's robustness is told, at least."""
PROGRAMS_PER_BLOCK = 64
"""Programs that are unpacked together when one of them is looked at."""

_SAMPLE = 64  # elites whose walks tell how large those of all will be
_BATCH = 256  # ancestors that are walked between two looks at the room that is left
_BYTES_A_RECORD = 70  # of all but its program and walk; an estimate
_BYTES_A_WALK = 12  # of the index; an estimate
_TOO_LITTLE = 10_000  # bytes: where no more are left it is not worth a try
_ROOM_FOR_ELITES = 0.85  # share of the room for walks that elites may fill with every frame


@dataclass(frozen=True)
class Contents:
    """What a page is made of.

    Attributes:
        data: All but texts and walks, as JSON's types.
        programs: The records' programs, packed in blocks of `PROGRAMS_PER_BLOCK`.
        walks: Encoded walks; ``data`` says whose they are.
    """

    data: dict[str, Any]
    programs: list[bytes]
    walks: list[bytes]


def collect(run: Path, tables: Sequence[Path], room: int, walker: Walker) -> Contents:
    """Collects what a page shows of a run.

    Args:
        run: Folder of a pipeline, or of an evolution run.
        tables: Further tables (`tables.read_tables`).
        room: Bytes that data, programs and walks may take in the page, base64 and all.
        walker: Makes the walks.

    Raises:
        ElmError: The folder holds neither, a file is damaged, this version cannot make a terrain, or there is no room even
            without walks.
    """
    inner = [run / name for name in ("evolution", "terrain_evolution") if (run / name / "admitted.jsonl").is_file()]
    folders = inner or [run]
    history = read_history(folders)
    if not history.records:
        raise ElmError(f"The run in '{run}' has admitted no program yet; wait for its seeds.")
    summary = finished_summary(run) if inner else {}
    names = [folder.name for folder in inner] or ["evolution"]
    return _fill(_Draft(run, history, summary, dict(zip(names, folders, strict=True)), walker), tables, room)


@dataclass
class _Draft:
    run: Path
    history: History
    summary: Mapping[str, Any]
    folders: Mapping[str, Path]
    walker: Walker
    walks: list[bytes] = field(default_factory=list)
    of_record: dict[int, int] = field(default_factory=dict)  # which walk is whose
    scores: dict[int, Walked] = field(default_factory=dict)  # of those that have walked

    def wanted(self, place: int) -> tuple[str, str, float]:
        record = self.history.records[place]
        return record.program, record.terrain, self.duration(record.run)

    def duration(self, run: int) -> float:
        value = self.history.runs[run].settings.get("duration", 10.0)
        if not isinstance(value, int | float) or not value > 0:
            raise ElmError(f"The run's config.json has duration = {value!r}; expected seconds: restore it from a copy.")
        return float(value)


def _fill(draft: _Draft, tables: Sequence[Path], room: int) -> Contents:
    history = draft.history
    texts = [record.program for record in history.records]
    starts = range(0, len(texts), PROGRAMS_PER_BLOCK)
    programs = [pack_json(texts[start : start + PROGRAMS_PER_BLOCK]) for start in starts]
    data = _frame(draft) | _lists(draft, tables)
    copies = max(COPIES, *(run.robustness for run in history.runs))
    order = _elites_in_order(history)
    left = room - sum(map(base64_size, programs)) - base64_size(pack_json(data)) - _BYTES_A_RECORD * len(texts)

    detail = _detail(draft, order, left)
    data["walks"] = dict(detail.form)

    data["matrix"], left = _matrix(draft, detail, left)
    elites = draft.walker.walk((draft.wanted(place) for place in order), detail, copies, "elites walk")
    draft.scores.update(zip(order, elites, strict=True))
    lineages, others = _ancestors_in_order(history)
    left = _keep_ancestors(draft, lineages, detail, left)
    for place, walked in zip(order, elites, strict=True):
        left = _keep(draft, place, walked.data, left)
    for start in range(0, len(others), _BATCH):
        if left < _TOO_LITTLE:
            break
        left = _keep_ancestors(draft, others[start : start + _BATCH], detail, left)
    _index(draft, data)
    fixed = sum(map(base64_size, programs))
    while (excess := fixed + base64_size(pack_json(data)) + sum(data["walks"]["sizes"]) - room) > 0:
        if not draft.walks:
            raise ElmError(
                f"The page takes {(room + excess) / 1e6:.2f} million bytes without any walk; set megabytes higher."
            )
        while draft.walks and excess > 0:  # what was estimated of the index was too little
            excess -= base64_size(draft.walks.pop())
        _index(draft, data)
    return Contents(data, programs, draft.walks)


def _detail(draft: _Draft, order: Sequence[int], room: int) -> Detail:
    """The most detail at which the walks of all elites take no more than their share of the room, by a sample of them."""
    sample = [draft.wanted(place) for place in order[:: -(-len(order) // _SAMPLE)]]
    for detail in DETAILS[:-1]:
        sizes = [base64_size(walked.data) for walked in draft.walker.walk(sample, detail, 0, "sizes", keep=False)]
        if sum(sizes) / len(sizes) * len(order) <= _ROOM_FOR_ELITES * room:
            return detail
    return DETAILS[-1]


def _index(draft: _Draft, data: dict[str, Any]) -> None:
    """Says in the data which walks there are, and whose."""
    data["records"] = _columns(draft, data)
    data["walks"]["sizes"] = [base64_size(walk) for walk in draft.walks]
    for cell in (cell for line in data["matrix"]["cells"] for cell in line):
        if cell["walk"] >= len(draft.walks):
            cell["walk"] = -1


def _keep_ancestors(draft: _Draft, places: Sequence[int], detail: Detail, left: int) -> int:
    walks = draft.walker.walk((draft.wanted(place) for place in places), detail, 0, "ancestors walk")
    for place, walked in zip(places, walks, strict=True):
        draft.scores[place] = walked
        left = _keep(draft, place, walked.data, left)
    return left


def _keep(draft: _Draft, place: int | None, walk: bytes, left: int) -> int:
    """Takes a walk into the page if there is one and room for it; returns the room that is left then."""
    size = base64_size(walk) + _BYTES_A_WALK
    if not walk or size > left:
        return left
    if place is not None:
        draft.of_record[place] = len(draft.walks)
    draft.walks.append(walk)
    return left - size


def _elites_in_order(history: History) -> list[int]:
    best: dict[tuple[str, int, int], int] = {}
    ranked = sorted(history.elites(), key=lambda place: (-history.records[place].fitness, place))
    for place in ranked:
        record = history.records[place]
        best.setdefault((record.terrain, record.run, record.line["niche"]), place)
    first = set(best.values())
    return [place for place in ranked if place in first] + [place for place in ranked if place not in first]


def _ancestors_in_order(history: History) -> tuple[list[int], list[int]]:
    """Those of the archives' best, and all others."""
    lineages = [place for champion in history.champions() for place in history.lineage(champion)]
    others = sorted(range(len(history.records)), key=lambda place: (-history.records[place].heirs, place))
    first = [place for place in dict.fromkeys(lineages) if not history.records[place].elite]
    known = set(first)
    return first, [place for place in others if place not in known and not history.records[place].elite]


def _matrix(draft: _Draft, detail: Detail, left: int) -> tuple[dict[str, Any], int]:
    rows, terrains = matrix_rows(draft.history, draft.summary), matrix_terrains(draft.history, draft.summary)
    duration = draft.duration(0)
    walked = iter(
        draft.walker.walk(
            ((row.program, terrain, duration) for row in rows for terrain in terrains), detail, COPIES, "matrix"
        )
    )
    cells = []
    for _ in rows:
        line = []
        for _ in terrains:
            each, number = next(walked), len(draft.walks)
            left = _keep(draft, None, each.data, left)
            line.append({**_score(each), "walk": number if len(draft.walks) > number else -1})
        cells.append(line)
    named = [{"name": row.name, "program": row.program, "record": row.record} for row in rows]
    return {"rows": named, "terrains": terrains, "cells": cells}, left


def _score(walked: Walked) -> dict[str, Any]:
    return {
        "distance": walked.distance,
        "displacement": walked.displacement,
        "copies": walked.copies,
        "error": walked.error,
    }


def _frame(draft: _Draft) -> dict[str, Any]:
    """Names, terrains, archives: what everything else refers to."""
    history, summary = draft.history, draft.summary
    terrains = dict.fromkeys(matrix_terrains(history, summary))
    made = {text: draft.walker.terrain(text).to_dict() for text in terrains}
    title = (
        f"{figure(summary, 'preset')} pipeline, seed {figure(summary, 'seed')}" if summary else draft.run.resolve().name
    )
    return {
        "title": title,
        "facts": _facts(draft),
        "terrains": [{**ground, "text": text} for text, ground in made.items()],
        "runs": [
            {
                "name": name,
                "robustness": run.robustness,
                "duration": draft.duration(number),
                "seed": run.settings.get("seed"),
                "finished": run.finished,
                "measures": run.spec.measures,
                "ranges": run.spec.ranges,
                "bins": run.spec.bins if run.spec.kind == "grid" else [12] * len(run.spec.measures),
                "kind": run.spec.kind,
            }
            for number, (name, run) in enumerate(zip(draft.folders, history.runs, strict=True))
        ],
        "archives": [
            {"name": name, "run": number, "terrain": terrain}
            for number, run in enumerate(history.runs)
            for name, terrain in run.archives.items()
        ],
        "block": PROGRAMS_PER_BLOCK,
    }


def _facts(draft: _Draft) -> list[tuple[str, str]]:
    """What stands at the head of the page."""
    last = [finished_summary(folder) or [{}, *finished_iterations(folder)][-1] for folder in draft.folders.values()]
    facts = [("evaluations", f"{sum(each.get('evaluations', 0) for each in last):,}")]
    facts.append(("elites", f"{len(draft.history.elites()):,}"))
    best = max(draft.history.records, key=lambda record: record.fitness)
    facts.append((f"best, on {best.terrain}", f"{best.fitness:.2f}"))
    conditional = part(draft.summary, "stage3", "conditional").get("stage3")
    if conditional is not None:
        facts.append(("policy", "conditional" if conditional else "not conditional"))
    return facts


def _lists(draft: _Draft, tables: Sequence[Path]) -> dict[str, Any]:
    """Curves, tables and failures."""
    charts, listed = [], []
    for name, folder in draft.folders.items():
        metrics, label = finished_iterations(folder), name.replace("_", " ").capitalize()
        charts += evolution_charts(metrics, label)
        listed += evolution_tables(finished_summary(folder), metrics, label)
    if draft.summary:
        charts += pipeline_charts(draft.run)
        listed += pipeline_tables(draft.summary)
    benchmark = [table for path in tables for table in read_tables(path)]
    return {
        "charts": charts,
        "tables": [table for table in listed if table["rows"]],
        "benchmarks": benchmark,
        "failures": read_failures(list(draft.folders.values())),
    }


def _columns(draft: _Draft, data: Mapping[str, Any]) -> dict[str, Any]:
    """The records, column by column: equal things stand together and pack well."""
    history = draft.history
    archives = {(each["run"], each["name"]): number for number, each in enumerate(data["archives"])}
    lines = [record.line for record in history.records]
    operators = list(dict.fromkeys(str(line["operator"]) for line in lines))
    messages = list(dict.fromkeys(str(line.get("message") or "") for line in lines))
    of_operator, of_message = ({text: number for number, text in enumerate(each)} for each in (operators, messages))
    measures = list(dict.fromkeys(["height", "width", "mass", *(m for run in history.runs for m in run.spec.measures)]))
    scores = [draft.scores.get(place) for place in range(len(lines))]
    return {
        "operators": operators,
        "messages": messages,
        "id": [line["id"] for line in lines],
        "archive": [archives[record.run, str(record.line["archive"])] for record in history.records],
        "iteration": [line["iteration"] for line in lines],
        "parent": [-1 if record.parent is None else record.parent for record in history.records],
        "planted": [place for place, record in enumerate(history.records) if record.planted],
        "crossed": {
            place: line["parents"][1:] for place, line in enumerate(lines) if len(line.get("parents") or ()) > 1
        },
        "operator": [of_operator[str(line["operator"])] for line in lines],
        "message": [of_message[str(line.get("message") or "")] for line in lines],
        "niche": [line["niche"] for line in lines],
        "elite": [int(record.elite) for record in history.records],
        "heirs": [record.heirs for record in history.records],
        "fitness": [float(line["fitness"]) for line in lines],
        "measures": {name: [_rounded(line.get(name)) for line in lines] for name in measures},
        "walk": [
            walk if walk < len(draft.walks) else -1
            for walk in (draft.of_record.get(at, -1) for at in range(len(lines)))
        ],
        "joints": [score and score.joints for score in scores],
        "muscles": [score and score.muscles for score in scores],
        "displacement": [score and score.displacement for score in scores],
        "copies": [(score and score.copies) or None for score in scores],
    }


def _rounded(value: Any) -> float | None:
    return None if value is None else float(f"{value:.7g}")
