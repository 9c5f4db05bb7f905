"""Packaging: the files of the wheel, pinned requirements, and the command lines of the README."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from darknet_py.conversion import library_networks
from tests.helpers import environments

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def canonical(requirement: str) -> str:
    """The normalised name of a requirement (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The wheel that this checkout builds."""
    return environments.build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_its_networks_and_nothing_else(wheel: pathlib.Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packaged = [file for file in (ROOT / "cfgs").iterdir() if file.suffix in (".cfg", ".names")]
    packaged.append(ROOT / "cfgs" / "digits.weights")
    networks = {f"darknet_py/cfgs/{file.name}" for file in packaged}
    networks |= {f"darknet_py/cfgs/{name}.cfg" for name in library_networks.NAMES}
    assert networks
    assert networks <= inside
    code = {file.relative_to(ROOT).as_posix() for file in (ROOT / "darknet_py").rglob("*.py")}
    data = (
        *("hub/catalogue.toml", "demo/digits.png", "exporters/nvdsinfer_darknet.cpp", "serving/page.html"),
        *("tuning/space.toml", "py.typed"),
    )
    others = {f"darknet_py/{name}" for name in data}
    assert inside == networks | code | others


def test_an_installed_package_finds_its_networks(wheel: pathlib.Path, tmp_path: pathlib.Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from darknet_py.hub import catalogue; print(catalogue.cfg_path('yolov4'), catalogue.names_path('yolov4'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    cfgs = tmp_path / "site" / "darknet_py" / "cfgs"
    assert done.stdout.split() == [str(cfgs / "yolov4.cfg"), str(cfgs / "coco.names")], done.stderr


def test_every_requirement_is_pinned_within_its_range() -> None:
    pinned = {canonical(name): version for name, version in PINS.items()}
    extras = PROJECT["optional-dependencies"].values()
    requirements = [line for lines in (PROJECT["dependencies"], *extras) for line in lines]
    for requirement in requirements:
        name = canonical(requirement)
        if name == PROJECT["name"]:
            continue
        assert name in pinned, f"constraints.txt does not pin {name}"
        lowest = re.search(r">=([\d.]+)", requirement)
        if lowest:
            numbers = [[int(part) for part in text.split(".")] for text in (pinned[name], lowest[1])]
            assert numbers[0] >= numbers[1], f"constraints.txt pins {name} below {requirement}"


HEAVY = ("coreml", "datumaro", "int8", "mlflow", "tflite", "track", "wandb")  # pyproject.toml says why


def test_every_extra_for_users_is_in_all() -> None:
    extras = PROJECT["optional-dependencies"]
    listed = re.search(r"\[(.*)\]", extras["all"][0])
    assert listed is not None
    assert set(listed[1].split(",")) == set(extras) - {"all", "test", "docs", "dev", "release", *HEAVY}


@pytest.mark.parametrize("script", [".ci/run", "tools/check"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(ROOT / script)], check=False).returncode == 0


@pytest.mark.parametrize("line", ["python -m pip install -c constraints.txt -e '.[dev]'", "python -m pytest --cov"])
def test_the_readme_has_the_command_lines_of_ci(line: str) -> None:
    assert line in (ROOT / "README.md").read_text()
