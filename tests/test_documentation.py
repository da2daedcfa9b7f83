"""What the README and the pages of docs show: their Python runs, their commands are read, their links lead somewhere."""

from __future__ import annotations

import argparse
import configparser
import doctest
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from elm_rl.cli import main
from elm_rl.mutation.specs import KINDS, OperatorSpec, read_options, read_specs
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.making import make_terrain

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "docs").glob("*.md"))
)
LANGUAGES = {"", "bash", "python", "toml", "text"}
"""Of code blocks: commands, commands, Python, a file of operators, and what no program reads."""
FOREIGN = {"vllm"}
"""Programs that the documentation shows and that neither this project nor its extras bring."""
STAND_INS = ("accelerate", "elm-rl", "make", "pip", "python", "torchrun", *FOREIGN)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[str]:
    found = re.findall(r"^(`{3,})(\w*)\n(.*?)^\1$", text_of(page), flags=re.MULTILINE | re.DOTALL)
    assert {language for _, language, _ in found} <= LANGUAGES, "say in the test what the block is"
    return [block for fence, language, block in found if language in languages and len(fence) == 3]


# Python


class Setting(NamedTuple):
    """What a page takes for granted, made small.

    Attributes:
        swaps: Parts of its Python and what stands in their place: addresses, and numbers that take long.
        prepare: Makes the files it reads, in the current folder.
    """

    swaps: dict[str, str]
    prepare: Callable[[], None] = lambda: None


def enter_the_benchmark() -> None:
    from sodarace_gym.suite.cli import main as suite

    target = f"{ROOT / 'examples' / 'generator.py'}:TwoFeet"
    suite(
        ["run", target, "--out", "runs/suite", "--terrains", "Flat", "--budgets", "1", "--seeds", "0", "--n-jobs", "1"]
    )


def ask_a_server() -> None:
    Path("runs/served/requests").mkdir(parents=True)
    line = {"kind": "replied", "prompt": 900, "completion": 300}
    Path("runs/served/requests/qwen.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")


def train_a_policy() -> None:
    from elm_rl.models.conditioning import condition
    from elm_rl.models.language_model import make_model, save_language_model
    from elm_rl.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["def make_walker():\n    return 1\n"] * 4, 300, context=256)
    policy = condition(make_model("0.1M", tokenizer, context=256), (), encoder="profile", tokenizer=tokenizer)
    save_language_model(policy, tokenizer, Path("runs/better_inventor"))


def find_a_pretrained_model() -> None:
    from elm_rl.models.language_model import save_language_model
    from tests.elm_rl.models.gguf_files import small_llama, small_tokenizer

    tokenizer = small_tokenizer()
    save_language_model(small_llama(tokenizer), tokenizer, Path("owner/model"))


EXAMPLES = """
texts = ["def make_walker():\\n    return 1\\n", "Change.", "def make_walker():\\n    return 2\\n"]
examples = [MutationExample(*texts, lineage=str(number)) for number in range(8)]

train_mutation_model("""
LOCAL_CLIENT = "Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)"
SETTINGS = {
    "docs/benchmark.md": Setting({}, enter_the_benchmark),
    "docs/cluster.md": Setting(
        {
            'Client("tcp://scheduler:8786")': LOCAL_CLIENT,
            'address="auto"': "num_cpus=1, include_dashboard=False, log_to_driver=False",
            "range(1000)": "range(4)",
            "num_envs=256": "num_envs=2",
            "/shared/mine.py:Mine": f"{ROOT / 'examples' / 'generator.py'}:TwoFeet",
            'Plan(backend="dask")': 'Plan(("Flat",), budgets=(1,), seeds=(0,), backend="dask")',
        }
    ),
    "docs/servers.md": Setting({}, ask_a_server),
    "docs/stage3.md": Setting({}, train_a_policy),
    "docs/training.md": Setting(
        {"\ntrain_mutation_model(": EXAMPLES, "max_steps=200": "max_steps=1, batch_size=2"}, find_a_pretrained_model
    ),
}
RUNNER = """
import json, sys
names = {"__name__": "page"}
for number, block in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))):
    exec(compile(block, f"block {number}", "exec"), names)
"""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "docs/cluster.md":
        pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    setting = SETTINGS.get(page, Setting({}))
    setting.prepare()
    plain = [
        block for block in blocks(page, "python") if ">>>" not in block and not block.startswith("def make_walker")
    ]
    for old, new in setting.swaps.items():
        assert any(old in block for block in plain), f"{old} is not on the page any more"
        plain = [block.replace(old, new) for block in plain]
    (tmp_path / "blocks.json").write_text(json.dumps(plain), encoding="utf-8")
    command = [sys.executable, "-c", RUNNER, "blocks.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_sessions_and_walkers_are_true(page: str) -> None:
    for block in blocks(page, "python"):
        if ">>>" in block:
            session = doctest.DocTestParser().get_doctest(block, {}, page, page, 0)
            assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session).failed == 0
        elif block.startswith("def make_walker"):
            with Evaluator(n_jobs=1, duration=1.0) as evaluator:
                assert evaluator.evaluate([block], "Flat")[0].error is None


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_files_of_operators_are_read(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        (tmp_path / "operators.toml").write_text(block, encoding="utf-8")
        for spec in read_specs([str(tmp_path / "operators.toml")]):
            check_settings(spec)


# Commands


class Parsed(BaseException):
    """A program has read its command line, and would begin its work now. No program catches this."""


def split(script: str, folder: Path) -> list[list[str]]:
    """The commands of a script as a shell splits them, each with its arguments; nothing of them is run."""
    heard = folder / "commands"
    stubs = [f"{name}() {{ printf '%s\\0' $(($# + 1)) {name} \"$@\" >&3; }}" for name in STAND_INS]
    whole = "\n".join(["set -eu", "PATH=/nonexistent", f"exec 3>'{heard}'", *stubs, script])
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-c", whole], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    words = heard.read_text(encoding="utf-8").split("\0")[:-1]
    commands = []
    while words:
        count = int(words[0])
        commands.append(words[1 : count + 1])
        words = words[count + 1 :]
    return commands


def check_settings(spec: OperatorSpec) -> None:
    kind = KINDS[spec.kind]
    if kind.options is not None:
        read_options(getattr(importlib.import_module(kind.module), kind.options), spec.options, spec.name)


def read_elm_rl(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import tyro

    real = tyro.cli

    def cli(*args: Any, **kwargs: Any) -> None:
        config = real(*args, **kwargs)
        for spec in read_specs(getattr(config, "operators", ["gp"])):
            check_settings(spec)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(tyro, "cli", cli)
        try:
            main(arguments)
        except Parsed:
            return
        except SystemExit as stop:
            if stop.code or "--help" not in arguments:
                raise


def read_module(name: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a module that uses argparse read a command line."""
    real = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        real(parser, args, namespace)
        raise Parsed

    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).name == "__init__.py"
    source = Path(found.origin).with_name("cli.py") if package else Path(found.origin)
    assert "parse_args" in source.read_text(encoding="utf-8"), f"{name} would run"
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [name, *arguments])
        patch.delitem(sys.modules, name, raising=False)  # runpy warns of what is loaded already
        try:
            runpy.run_module(name, run_name="__main__")
        except Parsed:
            return
        except SystemExit as stop:
            if stop.code or "--help" not in arguments:
                raise


def read_python(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    match arguments:
        case ["-c", code]:
            compile(code, "documentation", "exec")
        case ["-m", "elm_rl.cli", *rest]:
            read_elm_rl(rest, monkeypatch)
        case ["-m", str(name), *rest] if name.split(".")[0] in ("benchmarks", "sodarace_gym"):
            read_module(name, rest, monkeypatch)
        case _:
            raise AssertionError(f"python {' '.join(arguments)} is not tried by this test")


def read_command(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = command
    if program == "elm-rl":
        read_elm_rl(arguments, monkeypatch)
    elif program == "python":
        read_python(arguments, monkeypatch)
    elif program == "pip":
        assert arguments[0] == "install"
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        for extra in re.findall(r"^(?:\.|sodarace-gym)\[(\w+)\]$", "\n".join(arguments), flags=re.MULTILINE):
            assert extra in setup["options.extras_require"]
    elif program == "make":
        targets = re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    elif program == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        assert arguments[0] == "launch"
        read = launch_command_parser().parse_args(arguments[1:])
        assert read.module
        read_python(["-m", read.training_script, *read.training_script_args], monkeypatch)
    elif program == "torchrun":
        from torch.distributed.run import parse_args

        read = parse_args(arguments)
        assert read.module
        read_python(["-m", read.training_script, *read.training_script_args], monkeypatch)
    else:
        assert program in FOREIGN


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs a shell such as bash")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "", "bash")])
def test_commands_are_read_by_their_programs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    make_terrain("Hills", seed=1).save("mine.json")
    for block in blocks(page, "", "bash"):
        commands = split(block, tmp_path)
        assert commands, f"a block without a command: {block}"
        for command in commands:
            read_command(command, monkeypatch)
    assert {path.name for path in tmp_path.iterdir()} == {"commands", "mine.json"}, "nothing was run"


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs a shell such as bash")
@pytest.mark.parametrize(
    "script",
    [
        "elm-rl evolve --out runs/x --no-such-flag 1",
        "elm-rl no-such-stage",
        "python -m benchmarks.difficulty --no-such-flag",
        "python -m sodarace_gym.suite run",
        "make no-such-target",
        "pip install '.[no_such_extra]'",
        "no-such-program",
    ],
)
def test_a_command_that_its_program_does_not_know_is_found(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_all() -> None:
        for command in split(script, tmp_path):
            read_command(command, monkeypatch)

    with pytest.raises((AssertionError, SystemExit)):
        read_all()


def test_a_setting_that_an_operator_does_not_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        read_elm_rl(["evolve", "--out", "runs/x", "--operators", "model:x,no_such_setting=1"], monkeypatch)


# Links


def anchors(page: Path) -> set[str]:
    prose = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = ROOT / page if not path else (ROOT / page).parent / path
        assert file.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page} links to {target}"


def test_the_readme_opens_with_what_a_visitor_looks_for() -> None:
    readme = text_of("README.md")
    beginning = readme.split("\n## ")[0]
    assert len(readme.splitlines()) <= 190
    places = [beginning.index(words) for words in ("![", "\nmake demo", "\nmake test", "](docs/benchmark.md)")]
    assert places == sorted(places), "the picture, the two commands, the benchmark"
    environment = next(block for block in blocks("README.md", "python"))
    assert len([line for line in environment.splitlines() if line]) <= 12
    linked = set(re.findall(r"\]\(docs/(\w+\.md)\)", readme))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= linked, "every page is listed"
