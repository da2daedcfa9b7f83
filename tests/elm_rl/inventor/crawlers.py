"""A table of real crawlers on two terrains, and a language model that writes them."""

from __future__ import annotations

import json
from pathlib import Path

from elm_rl.corpus.cross_table import CrossTableConfig, run_cross_table
from elm_rl.inventor.supervised import SupervisedConfig, run_supervised
from elm_rl.models.language_model import make_model
from elm_rl.models.supervised_training import TrainConfig, train_causal_lm
from elm_rl.models.tokenizer import encode_text, train_tokenizer

TERRAINS = ("LeftWall", "RightWall")


def walker(joint: int, amplitude: float, mirrored: bool = False) -> str:
    """A small crawler; ``joint`` numbers make the texts differ, mirroring turns its direction round."""
    side = "-" if mirrored else ""
    return (
        "def make_walker():\n"
        "    wc = walker_creator()\n"
        f"    a = wc.add_joint({side}0, 0)\n"
        f"    b = wc.add_joint({side}4, 0)\n"
        f"    c = wc.add_joint({side}1, {joint})\n"
        "    wc.add_muscle(a, b)\n"
        f"    wc.add_muscle(b, c, False, {amplitude}, 0.0)\n"
        f"    wc.add_muscle(c, a, False, {amplitude}, 2.0)\n"
        "    return wc.get_walker()\n"
    )


PROGRAMS = [walker(j, a, m) for j in (2, 3, 4) for a in (0.3, 0.6, 0.9) for m in (False, True)]


def make_crawlers(folder: Path, terrains: tuple[str, ...] = TERRAINS) -> None:
    """Writes a table of 18 crawlers on two terrains, and a language model of them."""
    (folder / "evolution").mkdir(parents=True)
    record = {
        "archive": "square", "iteration": 1, "parent": 0, "operator": "gp", "message": "", "diff": None, "height": 3.0,
        "width": 4.0, "mass": 9.0, "root": 0,
    }  # fmt: skip
    lines = [record | {"id": n, "niche": n, "program": p, "fitness": 1.0 + n} for n, p in enumerate(PROGRAMS)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "evolution" / "admitted.jsonl").write_text(text, encoding="utf-8")
    run_cross_table(
        CrossTableConfig(
            evolution=(folder / "evolution",), out=folder / "table", terrains=terrains, draws=0, robustness=1,
            duration=3.0, n_jobs=1, progress=False,
        )
    )  # fmt: skip
    tokenizer = train_tokenizer(PROGRAMS, 400, context=1024)
    model = make_model("0.1M", tokenizer, context=1024)
    examples = [([1], [*encode_text(tokenizer, program), 2]) for program in PROGRAMS]
    settings = TrainConfig(max_steps=60, batch_size=18, learning_rate=2e-2)
    train_causal_lm(model, tokenizer, examples, folder / "language_model", settings)


def make_start(folder: Path) -> Path:
    """Writes a policy of codes that writes all crawlers of the table alike, on every terrain; returns its folder."""
    make_crawlers(folder)
    run_supervised(
        SupervisedConfig(
            cross_table=folder / "table", language_model=folder / "language_model", out=folder / "start", per_terrain=18,
            terrain_encoder="codes", max_steps=60, learning_rate=5e-3,
        )
    )  # fmt: skip
    return folder / "start"
