"""A suite small enough for tests, and generators in files of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sodarace_gym.suite import Definition, load_definition

GENERATORS = """
import numpy as np
from sodarace_gym.suite import Training
from sodarace_gym.walkers.random_walker import random_design

class Random:
    name = "random"

    def generate(self, task, rng):
        return (random_design(rng).to_program() for _ in range(task.budget))

class Search:
    name = "search"
    training = Training(evaluations=1234, tokens=5)

    def __init__(self, batch=4):
        self.batch = batch

    def generate(self, task, rng):
        while True:  # the suite ends it
            task.spend(model_calls=1, tokens=10)
            task.evaluate([random_design(rng).to_program() for _ in range(self.batch)])

class Raises:
    name = "raises"

    def generate(self, task, rng):
        task.evaluate([random_design(rng).to_program()])
        if task.name == "Tunnel":
            raise ZeroDivisionError("on purpose")

class Leaves:
    name = "leaves"

    def generate(self, task, rng):
        raise SystemExit(3)

class Unspeakable_(Exception):
    def __str__(self):
        raise RuntimeError("not this either")

class Unspeakable:
    name = "unspeakable"

    def generate(self, task, rng):
        raise Unspeakable_

class Surrogate:
    name = "surrogate"

    def generate(self, task, rng):
        raise ValueError("\\ud800 | second\\nline")

class Numbers:
    name = "numbers"

    def generate(self, task, rng):
        return ["def make_walker():", 7]

class Nameless:
    def generate(self, task, rng):
        return []

class Methodless:
    name = "methodless"

class OtherArguments:
    name = "other arguments"

    def generate(self):
        return []
"""


@pytest.fixture(scope="session")
def small() -> Definition:
    """Three terrains, three budgets, two seeds, one second of walking."""
    definition = load_definition()
    names = ("Flat", "Tunnel", "Hills,difficulty=0.2,seed=0")
    return replace(
        definition,
        version="small",
        digest="small",
        budgets=(1, 8, 20),
        seeds=(0, 1),
        duration=1.0,
        terrains=tuple(definition.of(name) for name in names),
    )


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with generators."""
    path = tmp_path_factory.mktemp("entrants") / "entrants.py"
    path.write_text(GENERATORS, encoding="utf-8")
    return path
