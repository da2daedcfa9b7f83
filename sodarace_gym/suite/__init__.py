"""The benchmark of generators: anything that writes walker programs for a terrain enters it.

`definition` is what is measured, frozen in a file with a version. A `generator` spends a `task`, a terrain with a budget;
`entry` loads one by name. `cell` is one task of one generator, judged; `runner` runs all of them, on any joblib backend, and
`log` keeps what is done. `results` are the rows as a table, `figures` and `statistics` what is reported of them, `tables` and
`plots` show it, and `cli` is the command line. What goes wrong is in `errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.suite.definition import Definition as Definition
    from sodarace_gym.suite.definition import SuiteTerrain as SuiteTerrain
    from sodarace_gym.suite.definition import load_definition as load_definition
    from sodarace_gym.suite.entry import Entry as Entry
    from sodarace_gym.suite.errors import BudgetSpent as BudgetSpent
    from sodarace_gym.suite.errors import SuiteError as SuiteError
    from sodarace_gym.suite.generator import Generator as Generator
    from sodarace_gym.suite.generator import Training as Training
    from sodarace_gym.suite.results import load_results as load_results
    from sodarace_gym.suite.runner import Plan as Plan
    from sodarace_gym.suite.runner import run_suite as run_suite
    from sodarace_gym.suite.task import Task as Task

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "definition": ["Definition", "SuiteTerrain", "load_definition"],
        "entry": ["Entry"],
        "errors": ["BudgetSpent", "SuiteError"],
        "generator": ["Generator", "Training"],
        "results": ["load_results"],
        "runner": ["Plan", "run_suite"],
        "task": ["Task"],
    },
)
