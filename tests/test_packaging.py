"""The project as a package: what an installation brings, what it leaves out, and which way imports point."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DISTRIBUTION = "sodarace-gym"
PACKAGES = ("sodarace_gym", "elm_rl")
MAX_LINES = 400
# What benchmarks may use besides `elm`: each says in its docstring what it needs.
BENCHMARK_EXTRAS = ("agents", "distributed")
# What the extra `elm` installs, by the names under which Python imports it.
ELM_MODULES = (
    "accelerate",
    "datasets",
    "gguf",
    "matplotlib",
    "openai",
    "pandas",
    "peft",
    "pyarrow",
    "ribs",
    "rich",
    "safetensors",
    "stable_baselines3",
    "tensorboard",
    "tokenizers",
    "torch",
    "tqdm",
    "transformers",
    "trl",
    "tyro",
)


def run_python(code: str, cwd: Path) -> str:
    """Runs code in a fresh interpreter from another folder and returns what it printed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_setup(repository: Path) -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg", encoding="utf-8")
    return setup


def requirements(text: str) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in text.splitlines() if line.strip()]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def with_parts(names: Iterable[str]) -> set[str]:
    """The named distributions and those that they fix to one version, which are parts of them under another name."""
    parts = set(names)
    for name in names:
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None and [specifier.operator for specifier in requirement.specifier] == ["=="]:
                parts.add(canonicalize_name(requirement.name))
    return parts


def modules(repository: Path, package: str) -> list[Path]:
    return sorted(path for path in (repository / package).rglob("*.py") if "__pycache__" not in path.parts)


def imported_names(path: Path) -> Iterator[str]:
    """The top-level names of every absolute import in a file, including those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def test_version_is_the_same_everywhere(repository: Path) -> None:
    import sodarace_gym

    version = read_setup(repository)["metadata"]["version"]
    newest = re.search(r"^## (\S+)", (repository / "HISTORY.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert importlib.metadata.version(DISTRIBUTION) == version, "the installation is stale: run `make test` again"
    assert sodarace_gym.__version__ == version
    assert newest is not None
    assert newest[1] == version


def test_importing_the_environment_loads_nothing_of_elm_rl(tmp_path: Path) -> None:
    loaded = run_python("import sys, sodarace_gym; print(*{name.split('.')[0] for name in sys.modules})", tmp_path)
    assert "sodarace_gym" in loaded.split()
    assert not {*ELM_MODULES, "elm_rl", "benchmarks"} & set(loaded.split())


def test_an_episode_runs_where_the_extra_elm_is_not_installed(tmp_path: Path) -> None:
    # A None in sys.modules makes Python refuse the import as if the module were absent.
    printed = run_python(
        f"""
import sys
sys.modules.update(dict.fromkeys({[*ELM_MODULES, "elm_rl", "benchmarks"]!r}))
import gymnasium, sodarace_gym
env = gymnasium.make("Sodarace-Flat-v0")
env.reset(seed=0)
env.action_space.seed(0)
_, reward, terminated, _, info = env.step(env.action_space.sample())
env.close()
assert terminated and reward >= 0 and not info.get("error"), (reward, terminated, info)
print("episode over")
""",
        tmp_path,
    )
    assert "episode over" in printed


def test_console_script_lists_its_subcommands(tmp_path: Path) -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="elm-rl")
    assert script.value == "elm_rl.cli:main"

    executable = Path(sysconfig.get_path("scripts")) / f"elm-rl{sysconfig.get_config_var('EXE') or ''}"
    # Without colours and with a wide page, so that the words can be found in the help.
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}
    done = subprocess.run(
        [executable, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for subcommand in ("evolve", "corpus", "pretrain", "finetune", "sample", "report", "pipeline"):
        assert re.search(rf"\b{subcommand}\b", done.stdout), f"{subcommand} is missing from: {done.stdout}"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    executable = Path(sysconfig.get_path("scripts")) / f"lint-imports{sysconfig.get_config_var('EXE') or ''}"
    return subprocess.run([executable, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=300)


def test_imports_point_one_way(repository: Path) -> None:
    done = lint_imports(repository)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("sodarace_gym/__init__.py", "import elm_rl"),
        ("sodarace_gym/__init__.py", "import benchmarks"),
        ("sodarace_gym/physics/rollout.py", "import torch"),
        ("elm_rl/__init__.py", "import benchmarks"),
        # From floor to floor, upwards and sideways.
        ("sodarace_gym/terrains/terrain.py", "import sodarace_gym.physics.constants"),
        ("sodarace_gym/walkers/walker.py", "def build():\n    import sodarace_gym.terrains.terrain"),
        ("sodarace_gym/evaluation/evaluator.py", "import sodarace_gym.envs"),
        ("elm_rl/mutation/training.py", "from elm_rl.evolution.state import EvolutionState"),
        ("elm_rl/judging/comparison.py", "from elm_rl.inventor import reward"),
        # A circle, a late import included, and a room that has no floor.
        ("sodarace_gym/terrains/terrain.py", "def make():\n    import sodarace_gym.terrains.families"),
        ("elm_rl/cellar.py", ""),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(repository: Path, tmp_path: Path, module: str, line: str) -> None:
    shutil.copy(repository / "pyproject.toml", tmp_path)
    for package in (*PACKAGES, "benchmarks"):
        for path in modules(repository, package):
            copy = tmp_path / path.relative_to(repository)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    families = tmp_path / "sodarace_gym" / "terrains" / "families.py"
    families.write_text("import sodarace_gym.terrains.terrain\n", encoding="utf-8")
    assert lint_imports(tmp_path).returncode == 0

    (tmp_path / module).write_text(f"{line}\n", encoding="utf-8")
    assert lint_imports(tmp_path).returncode != 0


def rooms(repository: Path) -> list[str]:
    return [
        ".".join(path.parent.relative_to(repository).parts)
        for package in PACKAGES
        for path in modules(repository, package)
        if path.name == "__init__.py" and "lazy_names(" in path.read_text(encoding="utf-8")
    ]


def test_every_room_says_what_lives_there_and_offers_it(repository: Path) -> None:
    for room in rooms(repository):
        tree = ast.parse((repository / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
        promised = {
            alias.name
            for block in tree.body
            if isinstance(block, ast.If)
            for node in block.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        (table,) = [
            ast.literal_eval(node.args[1])
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy_names"
        ]
        package = importlib.import_module(room)
        assert package.__doc__
        assert promised == {name for names in table.values() for name in names}, (
            "what type checkers see is what there is"
        )
        assert promised <= set(dir(package))
        for name in promised:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="nonsense"):
            _ = package.nonsense
    assert {f"sodarace_gym.{room}" for room in ("programs", "physics", "rendering")} <= set(rooms(repository))


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("programs", {"pydantic_monty", "numba", "pymunk", "pygame", "joblib"}),
        ("walkers", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("terrains", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("physics", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("physics.constants", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("evaluation", {"numba", "pymunk", "joblib"}),
        ("rendering", {"numba", "pymunk", "pygame"}),
        ("envs", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("wrappers", {"numba", "pymunk", "pygame", "pydantic_monty"}),
        ("suite", {"numba", "pymunk", "pydantic_monty", "pandas", "pyarrow", "matplotlib", "joblib"}),
    ],
)
def test_a_room_loads_only_what_is_asked_for(tmp_path: Path, room: str, absent: set[str]) -> None:
    loaded = run_python(f"import sys, sodarace_gym.{room}; print(*sys.modules)", tmp_path)
    assert f"sodarace_gym.{room}" in loaded.split()
    assert not absent & set(loaded.split())


def test_every_result_is_listed(repository: Path) -> None:
    results = repository / "benchmarks" / "results"
    listed = (results / "README.md").read_text(encoding="utf-8").split("# Negative results")[0]
    present = {path.name + "/" * path.is_dir() for path in results.iterdir()} - {"README.md"}
    assert [name for name in sorted(present) if f"[{name}]({name})" not in listed and f"`{name}`" not in listed] == []


def test_the_architecture_page_names_modules_that_exist(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:sodarace_gym|elm_rl|benchmarks|tests)(?:/\w+)*(?:/|\.py)?)`", page))
    assert len(named) > 25
    assert [path for path in sorted(named) if not (repository / path).exists()] == []
    rooms_named = {path.removesuffix("/") for path in named} | {str(Path(path).parent) for path in named}
    top = {room.replace(".", "/") for room in rooms(repository)} - set(PACKAGES)
    assert top <= rooms_named, "every room is on the page"
    assert len(page.splitlines()) <= 90


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks"])
def test_modules_stay_small(repository: Path, package: str) -> None:
    lengths = {
        str(path.relative_to(repository)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(repository, package)
    }
    assert lengths, f"{package} holds no modules"
    too_long = {path: lines for path, lines in lengths.items() if lines > MAX_LINES}
    assert not too_long, f"longer than {MAX_LINES} lines, so probably two modules: {too_long}"


def test_everything_imported_is_declared(repository: Path) -> None:
    setup = read_setup(repository)
    base = with_parts(requirements(setup["options"]["install_requires"]))
    elm = base | with_parts(requirements(setup["options.extras_require"]["elm"]))
    everything = elm.union(
        *(with_parts(requirements(setup["options.extras_require"][extra])) for extra in BENCHMARK_EXTRAS)
    )
    suite = with_parts(requirements(setup["options.extras_require"]["suite"]))
    providers = importlib.metadata.packages_distributions()

    undeclared = []
    for package, allowed in (("sodarace_gym", base), ("elm_rl", elm), ("benchmarks", everything)):
        for path in modules(repository, package):
            extra = suite if "suite" in path.relative_to(repository).parts[:2] else set()
            for name in set(imported_names(path)) - {*sys.stdlib_module_names, *PACKAGES, "benchmarks"}:
                if not (allowed | extra) & {canonicalize_name(provider) for provider in providers.get(name, [])}:
                    undeclared.append(f"{path.relative_to(repository)} imports {name}")
    assert not undeclared


def test_constraints_pin_what_is_needed_and_nothing_else(repository: Path) -> None:
    setup = read_setup(repository)
    wanted = requirements(setup["options"]["install_requires"]) | requirements(setup["options.extras_require"]["test"])
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = requirements("\n".join(line for line in lines if not line.startswith("#")))

    for name, requirement in wanted.items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{pins[name]} is outside of {requirement}"

    # Markers are ignored, except those of extras, because a pin may be needed on another system than this one.
    needed: set[str] = set()
    waiting = list(wanted.values())
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in needed:
            continue
        needed.add(name)
        try:
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [Requirement(text) for text in further if "extra ==" not in text]
    assert not set(pins) - needed


def test_walkers_can_be_read_as_text(tmp_path: Path) -> None:
    printed = run_python(
        "from importlib.resources import files\n"
        "library = files('sodarace_gym') / 'walkers' / 'library'\n"
        "walkers = [walker for walker in library.iterdir() if walker.name.endswith('.py')]\n"
        "print(*(walker.name for walker in walkers if 'def make_walker' in walker.read_text(encoding='utf-8')))",
        tmp_path,
    )
    assert {"square.py", "radial.py", "cppn_fixed.py", "cppn_mutable.py", "biped.py"} <= set(printed.split())
