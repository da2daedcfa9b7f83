"""Settings that every test runs under: no display, no network, few threads, repeatable property tests.

The environment variables are set when pytest loads this file, before any test module imports torch or pygame, and reach
the worker processes of pytest-xdist and the subprocesses that tests start.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ENVIRONMENT = {
    "MPLBACKEND": "Agg",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    # A test that reaches for the Hub is a mistake and must fail on every machine, not only on those without network.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # torch takes its number of threads from here. One each: pytest-xdist already runs as many tests as there are cores,
    # and sums in one thread are added in one order.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
os.environ.update(ENVIRONMENT)

if "PYTEST_XDIST_WORKER" not in os.environ:
    # Caches of datasets and transformers must not outlive the tests; the workers inherit the main process's folder.
    _cache = tempfile.TemporaryDirectory(prefix="elm-rl-tests-", ignore_cleanup_errors=True)
    os.environ["HF_HOME"] = _cache.name

# No deadline: how long an example takes says nothing about correctness, and the machine may be busy.
_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None, suppress_health_check=_slow)
settings.register_profile("ci", deadline=None, suppress_health_check=_slow, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, for tests that read files which are not part of the packages."""
    return Path(__file__).resolve().parent.parent
