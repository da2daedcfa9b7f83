"""Installs a wheel, and nothing of the checkout, into a new environment and uses it as a newcomer would.

Usage: ``python tests/smoke_wheel.py dist/sodarace_gym-*.whl [--extra elm]``. Needs a package index. Without an extra the
environments and the Evaluator have to work without torch, and ``elm-rl`` has to say what to install; with ``elm`` a short
evolution with the model that comes along has to work too. Arguments for pip come from its environment variables
(``PIP_CONSTRAINT``, ``PIP_EXTRA_INDEX_URL``).

The checks are functions of this file; ``--check base`` and ``--check elm`` run them in the Python that is given this file.
"""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROGRAM = """
def make_walker():
    wc = walker_creator()
    hub = wc.add_joint(0.0, 5.0)
    feet = [wc.add_joint(3.0 * i, 0.0) for i in (-1, 1)]
    wc.add_muscle(feet[0], feet[1], False, 1.5, 0.0)
    wc.add_muscle(hub, feet[0], False, 1.5, 1.0)
    wc.add_muscle(hub, feet[1], False, 1.5, 3.0)
    return wc.get_walker()
"""
EVOLVE = (
    "evolve",
    "--seeds",
    "square",
    "--iterations",
    "1",
    "--batch-size",
    "4",
    "--operators",
    "gp",
    "builtin,tries=1",
)


def check_environment() -> None:
    """An episode, and the same programs through an Evaluator; nothing of it may come from the checkout."""
    import gymnasium as gym

    import sodarace_gym
    from sodarace_gym.evaluation import Evaluator

    place = Path(sodarace_gym.__file__).parent
    assert Path(__file__).resolve().parent.parent not in place.resolve().parents, f"{place} is the checkout"
    env = gym.make("Sodarace-Tunnel-v0", render_mode="rgb_array")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(PROGRAM)
    assert terminated, info
    assert reward > 0, info
    assert info["error"] is None, info
    assert env.render().any()
    env.close()
    with Evaluator() as evaluator:
        good, bad = evaluator.evaluate([PROGRAM, "import os"], "Tunnel")
    assert good.fitness == reward, "the same program, the same reward"
    assert bad.error is not None
    print(f"{place}: a walker went {reward:.2f} units")


def check_data() -> None:
    """What is no module has come along."""
    for package, names in {
        "sodarace_gym": ["py.typed", "suite/definition.json", "walkers/library/square.py"],
        "elm_rl": [
            "py.typed",
            "mutation/edits/builtin_model/model.safetensors",
            "inventor/builtin_policy/model.safetensors",
            "report/viewer/static/viewer.html",
        ],
    }.items():
        for name in names:
            assert (importlib.resources.files(package) / name).is_file(), f"{package}/{name} is missing"


def elm_rl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``elm-rl``, as it is installed beside this Python."""
    script = Path(sys.executable).parent / f"elm-rl{'.exe' if os.name == 'nt' else ''}"
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "elm_rl.cli"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)


def check_advice() -> None:
    """Where the extra ``elm`` is missing, elm-rl says how to install it, and leaves nothing behind."""
    assert importlib.util.find_spec("torch") is None, "torch came with the base installation"
    done = elm_rl(*EVOLVE, "--out", "evolution")
    assert done.returncode == 1, done
    assert "pip install 'sodarace-gym[elm]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert not Path("evolution").exists()
    print(done.stderr.strip())


def check_evolution() -> None:
    """A few evaluations of stage 1, by genetic programming and the language model that comes with the package."""
    done = elm_rl(*EVOLVE, "--out", "evolution")
    assert done.returncode == 0, done.stderr
    summary = json.loads((Path("evolution") / "summary.json").read_text(encoding="utf-8"))
    assert summary["evaluations"] >= 4, summary
    assert summary["operators"]["builtin"]["proposed"] > 0, summary
    print(f"an evolution of {summary['evaluations']} evaluations filled {summary['niches']} niches")


CHECKS = {
    "base": (check_environment, check_data, check_advice),
    "elm": (check_environment, check_data, check_evolution),
}


def main() -> None:
    """Installs and checks, or checks alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, nargs="?", help="the wheel to install")
    parser.add_argument("--extra", choices=["elm"], help="an extra to install with it")
    parser.add_argument("--check", choices=list(CHECKS), help="install nothing: check the Python that runs this")
    options = parser.parse_args()
    if options.check:
        for check in CHECKS[options.check]:
            check()
        return
    if options.wheel is None or not options.wheel.is_file():
        parser.error(f"expected the path of a wheel, got {options.wheel}; python -m build makes one.")
    wheel = options.wheel.resolve()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        python = Path(folder) / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        wanted = f"{wheel}[{options.extra}]" if options.extra else str(wheel)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        subprocess.run([*pip, wanted], check=True)
        # Isolated from the checkout and from the user's own packages.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(python), "-P", str(Path(__file__).resolve()), "--check", options.extra or "base"]
        subprocess.run(command, cwd=folder, env=environment | {"SDL_VIDEODRIVER": "dummy"}, check=True)


if __name__ == "__main__":
    main()
