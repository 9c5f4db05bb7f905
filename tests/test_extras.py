"""Every extra installs and works alone on top of the base install; without it, its command is one sentence.

``pytest -m slow tests/test_extras.py`` makes an environment for each extra, of the base install and that extra only.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import sys
import tomllib
from typing import NamedTuple

import pytest
from PIL import Image

from tests.helpers import environments
from tests.helpers.paths import ROOT

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


class Use(NamedTuple):
    """A bash line that needs an extra, and a file that it writes (empty: none).

    It is run in a folder with ``a.png``, ``clip.mjpeg``, ``set/digits.data`` and ``tune.cfg``.
    """

    line: str
    writes: str = ""
    unpinned: tuple[str, ...] = ()  # pins of constraints.txt that the requirements of the extra exclude


KITTI = """
mkdir -p kitti/train/image_2 kitti/train/label_2 && cp a.png kitti/train/image_2
echo 'Car 0 0 0 8 10 40 60 0 0 0 0 0 0 0' > kitti/train/label_2/a.txt
darknet-py data convert kitti coco --from kitti_detection --to coco
"""
TRAIN = "darknet-py train set/digits.data digits --no-map --quiet --set batch=2 --set max_batches=1 --set burn_in=0"
SERVE = """
touch serve.txt
darknet-py serve digits --port 0 2> serve.txt & until grep -q http:// serve.txt
do kill -0 $! 2> /dev/null || { cat serve.txt >&2; exit 1; }; sleep 0.2; done
kill -TERM $!; wait $!
"""

# What each extra is for. An extra without a row fails: add the shortest command that needs it.
USES = {
    "completion": Use("darknet-py --print-completion bash > completion.sh", "completion.sh"),
    "coreml": Use("darknet-py export digits -o d.mlpackage", "d.mlpackage"),
    "datumaro": Use(KITTI, "coco/annotations/instances_train.json", unpinned=("pillow", "opencv-python-headless")),
    "eval": Use("darknet-py evaluate digits set/digits.data --protocol coco --json coco.json --quiet", "coco.json"),
    "export": Use("darknet-py export digits -o d.onnx && darknet-py detect d.onnx a.png", "d.onnx"),
    "hf": Use("darknet-py push digits owner/digits -o repository", "repository/README.md"),
    "int8": Use("darknet-py export digits -o int8.xml --int8 --calibrate set/digits.data --quiet", "int8.xml"),
    "log": Use(f"{TRAIN} --log tensorboard -o log", "log/tensorboard"),
    "mlflow": Use(f"{TRAIN} --log mlflow -o mlflow", "mlflow/mlflow.db"),
    "ncnn": Use("darknet-py export digits -o d.ncnn.param && darknet-py detect d.ncnn.param a.png", "d.ncnn.param"),
    "openvino": Use("darknet-py export digits -o d.xml && darknet-py detect d.xml a.png", "d.xml"),
    "plots": Use("darknet-py data stats set/digits.data -o plots", "plots"),
    "safetensors": Use("darknet-py convert cfgs/digits.weights d.safetensors --cfg digits", "d.safetensors"),
    "serve": Use(SERVE),
    "supervision": Use("python -c \"import darknet_py as dk; dk.Detector('digits')('a.png').to_supervision()\""),
    "tflite": Use(
        "darknet-py export digits -o d.tflite && darknet-py detect d.tflite a.png",
        "d.tflite",
        unpinned=("typing_extensions", "anyio"),
    ),
    "track": Use("darknet-py detect digits set/valid --track --json track.json", "track.json"),
    "tune": Use(
        "darknet-py evolve set/digits.data tune.cfg --trials 1 --iterations 1 --quiet -o tune", "tune/best.cfg"
    ),
    "video": Use("darknet-py detect digits clip.mjpeg --jsonl video.jsonl", "video.jsonl"),
    "wandb": Use(f"{TRAIN} --log wandb -o wandb", "wandb/wandb"),
}
# Extras of those who work on the package; their lines are run in the checkout.
DEVELOPMENT = {
    "dev": "python -m ruff check darknet_py && python -m mypy --version && pre-commit --version",
    "docs": "NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet --site-dir $WORK/site",
    "release": "python -m build --version && python -m twine --version && python -m ipykernel --version",
    "test": "python -m pytest -n0 -q -p no:cacheprovider tests/test_boxes.py",
}


def test_every_extra_has_a_use() -> None:
    missing = EXTRAS.keys() - USES.keys() - DEVELOPMENT.keys() - {"all"}
    assert not missing, f"pyproject.toml has extras without a row in USES of tests/test_extras.py: {sorted(missing)}"
    assert USES.keys() | DEVELOPMENT.keys() <= EXTRAS.keys()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The wheel of this checkout."""
    return environments.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def base(wheel: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An environment of the base install."""
    environment = environments.make(tmp_path_factory.mktemp("base") / "venv")
    environments.pip(environment, str(wheel))
    return environment


@pytest.fixture
def work(base: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the files that the lines read, made by the base install."""
    folder = tmp_path / "work"
    folder.mkdir()
    code, errors = environments.run("darknet-py digits set --train-images 4 --valid-images 4 --quiet", base, folder)
    assert code == 0, errors
    shutil.copy(folder / "set" / "valid" / "00000.png", folder / "a.png")
    shutil.copytree(ROOT / "cfgs", folder / "cfgs")
    cfg = (folder / "cfgs" / "digits.cfg").read_text()
    (folder / "tune.cfg").write_text(cfg.replace("burn_in=100", "burn_in=0").replace("batch=8", "batch=2"))
    with (folder / "clip.mjpeg").open("wb") as clip:  # a JPEG after another
        for path in sorted((folder / "set" / "valid").glob("*.png")):
            Image.open(path).convert("RGB").save(clip, "jpeg")
    return folder


posix = pytest.mark.skipif(sys.platform == "win32", reason="the lines are bash's")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(USES))
def test_without_the_extra_its_command_is_one_sentence(extra: str, base: pathlib.Path, work: pathlib.Path) -> None:
    code, errors = environments.run(USES[extra].line, base, work)
    assert code == 1, errors
    # `detect` goes on with other files, and counts at its end those that it could not read.
    lines = [line for line in errors.strip().splitlines() if not line.endswith("1 file could not be read")]
    if extra == "supervision":  # Python, not a command: the sentence is that of the exception
        lines = lines[-1:]
    assert len(lines) == 1, errors
    assert re.search(rf"pip install 'darknet-torch\[{extra}\]'$", lines[0]), errors


@posix
@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(USES))
def test_the_extra_works_alone(
    extra: str, base: pathlib.Path, wheel: pathlib.Path, work: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    environment = environments.make(tmp_path / "venv", base)
    environments.install(environment, wheel, extra, USES[extra].unpinned)
    code, errors = environments.run(USES[extra].line, environment, work)
    assert code == 0, errors
    assert (work / USES[extra].writes).exists()


@posix
@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(DEVELOPMENT))
def test_the_extra_for_development_works(
    extra: str, base: pathlib.Path, wheel: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    environment = environments.make(tmp_path / "venv", base)
    environments.install(environment, wheel, extra)
    code, errors = environments.run(DEVELOPMENT[extra], environment, ROOT, WORK=str(tmp_path))
    assert code == 0, errors


@posix
@pytest.mark.slow
def test_all_has_what_its_extras_need(
    base: pathlib.Path, wheel: pathlib.Path, work: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    environment = environments.make(tmp_path / "venv", base)
    environments.install(environment, wheel, "all")
    (listed,) = re.findall(r"\[(.*)\]", EXTRAS["all"][0])
    for extra in listed.split(","):
        code, errors = environments.run(USES[extra].line, environment, work)
        assert code == 0, f"{extra}: {errors}"
