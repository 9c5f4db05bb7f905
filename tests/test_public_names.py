"""The package as it is imported: ``import darknet_py as dk``."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
from PIL import Image
from torch.utils.data import DataLoader

import darknet_py as dk
from darknet_py.hub import catalogue
from tests.helpers import paths

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_dir_shows_the_public_names_only() -> None:
    assert dir(dk) == sorted(dk.__all__)
    assert not {"Any", "import_module", "find_spec", "annotations"} & set(dir(dk))


def test_a_module_is_an_attribute_without_an_import_of_torch() -> None:
    code = (
        "import sys, darknet_py as dk\n"
        "assert 'darknet_py.data' not in sys.modules\n"
        "assert dk.data.Dataset is dk.Dataset\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for name in ("dat", "_lazy"):
        with pytest.raises(AttributeError, match=f"module 'darknet_py' has no attribute '{name}'"):
            getattr(dk, name)


def test_a_data_set_feeds_torchs_loader(tmp_path: pathlib.Path) -> None:
    for number in range(5):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("1 0.5 0.5 0.25 0.5\n" * number)
    data = dk.data.load_dataset(tmp_path, progress=False)
    assert isinstance(data, dk.data.Dataset)
    assert isinstance(data[3], dk.data.Sample)
    batches = list(DataLoader(data, batch_size=2, shuffle=False, collate_fn=list))  # type: ignore[arg-type]
    assert [[pathlib.Path(sample.image).name for sample in batch] for batch in batches] == [
        ["0.png", "1.png"],
        ["2.png", "3.png"],
        ["4.png"],
    ]
    assert [len(sample.targets) for batch in batches for sample in batch] == [0, 1, 2, 3, 4]


def test_a_detector_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    detector = dk.Detector("digits")  # its weights are in the package
    assert detector.names == ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert repr(detector) == (
        f"Detector({str(catalogue.cfg_path('digits'))!r}, 96x96, 10 classes, threshold 0.25, nms 0.45, engine 'auto')"
    )
    net = dk.load(paths.CFGS / "yolov3-tiny.cfg")
    dk.save_weights(net, tmp_path / "yolov3-tiny.weights")
    monkeypatch.setattr(catalogue, "fetch", lambda name, progress=True: tmp_path / f"{name}.weights")
    fetched = dk.Detector("yolov3-tiny", threshold=0.5)
    assert (len(fetched.names), fetched.names[16], fetched.threshold) == (80, "dog", 0.5)
    with pytest.raises(dk.DarknetError, match=r"did you mean 'yolov4-tiny'\?"):
        dk.Detector("yolov4tiny")
