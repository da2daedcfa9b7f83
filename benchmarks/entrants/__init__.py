"""Generators that the benchmark comes with, each as anyone would enter one (docs/benchmark.md).

`plain` are random programs and the hand-written seeds, `hill_climbing` and `map_elites` evolve programs, `vectors` search the
body plan of BoxActions by evolution strategies, `agents` by reinforcement learning, and words too. `samples` are language
models, `nearest` takes known walkers. `task_evaluator` lends a task to what expects an Evaluator.
"""
