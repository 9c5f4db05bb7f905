"""How the package is distributed: workflow files, sdist and wheel, container image, conda recipe.

The lines in these files are run by ``pytest -m slow`` in empty environments; no runner, container or conda is needed.
"""

from __future__ import annotations

import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from darknet_py import cli
from tests.helpers import environments
from tests.helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = ("__pycache__", ".git", ".*_cache", ".venv", ".hypothesis", ".coverage*", "build", "dist", "*.conv.*")
posix = pytest.mark.skipif(sys.platform == "win32", reason="the lines are bash's")


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return content


def lines(job: str) -> list[str]:
    """What a job of ci.yml runs."""
    return [step["run"] for step in workflow("ci.yml")["jobs"][job]["steps"] if "run" in step]


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def recipe() -> dict[str, Any]:
    text = (ROOT / "recipe" / "meta.yaml").read_text()
    text = re.sub(r"\{\{ (\w+) \}\}", r"\1", re.sub(r"(?m)^\{%.*%\}$", "", text))
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def kept_by_dockerignore() -> Iterator[str]:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    yield from (rule.removeprefix("!") for rule in rules if rule.startswith("!"))


def test_the_workflows_are_valid() -> None:
    pytest.importorskip("check_jsonschema")
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    line = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, WORKFLOWS),
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_workflow_runs_on_the_systems_and_versions_that_are_supported() -> None:
    matrix = workflow("ci.yml")["jobs"]["tests"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: 3."
    versions = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert matrix["python"] == versions
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert PROJECT["requires-python"] == f">={versions[0]}"


def test_the_workflow_runs_the_lines_of_the_readme_and_of_ci() -> None:
    install, tests, checks = lines("tests")
    assert f"{install} && {tests}\n" in (ROOT / "README.md").read_text()
    assert checks in (ROOT / ".ci" / "run").read_text()
    assert "darknet-py detect yolov4-tiny sample:bus --save" in lines("package")[-1]
    assert "darknet-py detect yolov4-tiny sample:bus --save" in (ROOT / "README.md").read_text()


def test_a_release_needs_the_tests() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "ci"
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}


def test_the_recipe_has_the_requirements_of_pyproject() -> None:
    wanted = [f"python {PROJECT['requires-python']}"]
    wanted += [
        re.sub(r"([<>=])", r" \1", line, count=1).replace("torch ", "pytorch ") for line in PROJECT["dependencies"]
    ]
    assert recipe()["requirements"]["run"] == wanted
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert recipe()["requirements"]["host"] == [wanted[0], "pip", *(line.replace(">=", " >=") for line in build)]
    scripts = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert recipe()["build"]["entry_points"] == scripts
    assert recipe()["package"]["name"] == PROJECT["name"]


def test_the_image_has_what_the_wheel_is_built_from() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {name.strip("/").partition("/")[0] for name in targets["include"]}
    needed |= {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}
    assert needed == set(kept_by_dockerignore())


def test_the_image_serves_as_a_user_without_rights() -> None:
    assert instructions("USER") == ["1000"]
    (entry,), (command,) = (map(json.loads, instructions(name)) for name in ("ENTRYPOINT", "CMD"))
    assert entry[0] in PROJECT["scripts"]
    arguments = cli.build_parser().parse_args(command)
    assert (arguments.host, arguments.port) == ("0.0.0.0", int(instructions("EXPOSE")[0]))
    (install,) = (line for line in instructions("RUN") if "pip install" in line)
    (extras,) = re.findall(r"\[(.*)\]", install)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


@pytest.fixture
def clone(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of this checkout, without what git ignores."""
    shutil.copytree(ROOT, tmp_path / "clone", ignore=shutil.ignore_patterns(*IGNORED))
    return tmp_path / "clone"


@pytest.fixture
def empty(tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty virtual environment, as actions/setup-python and python:3.12-slim have one: with pip."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    return tmp_path / "venv"


def contents(wheel: pathlib.Path) -> dict[str, int]:
    """The files of a wheel with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


@posix
@pytest.mark.slow
def test_the_distribution_is_built_checked_and_installed_as_the_workflow_does(
    clone: pathlib.Path, empty: pathlib.Path
) -> None:
    for line in lines("package"):
        code, errors = environments.run(line, empty, clone)
        assert code == 0, f"{line}\n{errors}"
    assert (clone / "detected" / "bus.jpg").exists()
    sdist, wheel = sorted((clone / "dist").iterdir(), key=lambda path: path.suffix)
    assert sdist.name.endswith(".tar.gz")
    assert wheel.name.endswith("-py3-none-any.whl")
    # `python -m build` has built it from the sdist
    assert contents(wheel) == contents(environments.build_wheel(clone.parent / "tree"))


@posix
@pytest.mark.slow
def test_the_linux_lines_of_the_workflow_run(clone: pathlib.Path, empty: pathlib.Path) -> None:
    some = "tests/test_boxes.py tests/test_release.py -p no:cacheprovider"  # the whole suite is what CI runs
    for line in lines("tests"):
        # The floor of coverage is that of the whole suite. The rest is what the workflow says.
        code, errors = environments.run(line.removesuffix(" coverage"), empty, clone, PYTEST_ADDOPTS=some)
        assert code == 0, f"{line}\n{errors}"


@posix
@pytest.mark.slow
def test_the_run_lines_of_the_image_run_on_what_it_copies(tmp_path: pathlib.Path, empty: pathlib.Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in kept_by_dockerignore():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*IGNORED))
        else:
            shutil.copy(ROOT / name, source / name)
    for line in instructions("RUN"):
        if " -o 1000 " in line and os.getuid() != 0:
            continue  # needs root, as a build of an image has it
        code, errors = environments.run(re.sub(r" /(cache|data)\b", rf" {tmp_path}/\1", line), empty, source)
        assert code == 0, f"{line}\n{errors}"
    (entry,) = json.loads(instructions("ENTRYPOINT")[0])
    help_ = " ".join([entry, *json.loads(instructions("CMD")[0]), "--help"])
    for line in (
        help_,
        f"{entry} detect digits {ROOT}/docs/gallery/chelsea.jpg",
        "python -c 'import uvicorn, starlette, av'",
    ):
        code, errors = environments.run(line, empty, tmp_path)
        assert code == 0, f"{line}\n{errors}"


@posix
@pytest.mark.slow
def test_the_test_commands_of_the_recipe_run(tmp_path: pathlib.Path) -> None:
    environment = environments.make(tmp_path / "venv")
    environments.pip(environment, str(environments.build_wheel(tmp_path / "wheel")))
    imports = [f"python -c 'import {name}'" for name in recipe()["test"]["imports"]]
    for line in imports + recipe()["test"]["commands"]:
        code, errors = environments.run(line, environment, tmp_path)
        assert code == 0, f"{line}\n{errors}"


def test_nothing_that_git_ignores_is_in_a_copy() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    folders = [name for name in ignored if "/" not in name and not name.endswith("egg-info")]
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in IGNORED) for name in folders)
