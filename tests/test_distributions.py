"""The project as files: what a wheel and a source distribution hold, and that what they hold works; how it is cited."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

PACKAGES = ("sodarace_gym", "elm_rl")
FOLDERS = ("benchmarks", "docs", "examples", "tests")
"""What else the source distribution holds."""
PACKAGE_DATA = (
    "sodarace_gym/py.typed",
    "sodarace_gym/suite/definition.json",
    "sodarace_gym/walkers/library/square.py",
    "elm_rl/py.typed",
    "elm_rl/inventor/builtin_policy/model.safetensors",
    "elm_rl/mutation/edits/builtin_model/model.safetensors",
    "elm_rl/report/viewer/static/viewer.html",
)
"""What is read as a file and not imported."""


def build(what: str, source: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.{what}('.')"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def source(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what distributions are built from, because setuptools leaves its working files beside setup.cfg."""
    source = tmp_path_factory.mktemp("build") / "source"
    source.mkdir()
    for path in repository.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    for name in (*PACKAGES, *FOLDERS):
        shutil.copytree(repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb[ci]"))
    return source


@pytest.fixture(scope="module")
def built(source: Path) -> tuple[Path, Path]:
    """The wheel and the source distribution, the wheel built first."""
    build("build_wheel", source)
    build("build_sdist", source)
    (wheel,), (sdist,) = source.glob("*.whl"), source.glob("*.tar.gz")
    return wheel, sdist


def files_of(source: Path, folders: Iterable[str]) -> set[str]:
    return {
        path.relative_to(source).as_posix()
        for folder in folders
        for path in (source / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_packages_and_nothing_else(source: Path, built: tuple[Path, Path]) -> None:
    packed = {name for name in zipfile.ZipFile(built[0]).namelist() if ".dist-info/" not in name}
    assert packed == files_of(source, PACKAGES)
    assert set(PACKAGE_DATA) <= packed


def test_source_distribution_holds_all_that_tests_and_documentation_need(
    source: Path, built: tuple[Path, Path]
) -> None:
    with tarfile.open(built[1]) as archive:
        packed = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert files_of(source, (*PACKAGES, *FOLDERS)) <= packed
    assert set(PACKAGE_DATA) <= packed
    assert {path.name for path in source.iterdir() if path.is_file()} - {path.name for path in built} <= packed


def test_the_wheel_of_the_source_distribution_is_the_same(built: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.unpack_archive(built[1], tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    build("build_wheel", unpacked)
    (wheel,) = unpacked.glob("*.whl")
    first, second = (
        {info.filename: info.CRC for info in zipfile.ZipFile(path).infolist()} for path in (built[0], wheel)
    )
    assert first == second


def test_what_the_wheel_brings_evolves(repository: Path, built: tuple[Path, Path], tmp_path: Path) -> None:
    # The checks that workflows run in new environments, here with the packages out of the wheel and this environment's others.
    shutil.unpack_archive(built[0], tmp_path / "site", format="zip")
    command = [sys.executable, "-P", repository / "tests" / "smoke_wheel.py", "--check", "elm"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout


def test_the_citation_is_valid_and_names_the_paper(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg", encoding="utf-8")
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation), "what the format requires"
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == setup["metadata"]["version"]
    assert citation["license"] == setup["metadata"]["license_expression"]
    (paper,) = citation["references"]
    assert (paper["title"], paper["year"]) == ("Evolution through Large Models", 2022)
    assert [author["family-names"] for author in paper["authors"]] == [
        "Lehman", "Gordon", "Jain", "Ndousse", "Yeh", "Stanley"
    ]  # fmt: skip
    for person in (*citation["authors"], *paper["authors"]):
        assert set(person) in ({"name"}, {"family-names", "given-names"})
