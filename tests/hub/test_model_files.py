"""Finding the files of a model by name or path."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py.errors import ConfigError, DarknetError
from darknet_py.hub import catalogue, model_files


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that are fetched; nothing is downloaded."""
    names: list[str] = []

    def fetch(name: str | catalogue.CatalogueEntry, progress: bool = True) -> pathlib.Path:
        names.append(name if isinstance(name, str) else name.name)
        return pathlib.Path(f"{names[-1]}.weights")

    monkeypatch.setattr(catalogue, "fetch", fetch)
    return names


def test_a_name_has_cfg_weights_and_class_names(fetched: list[str]) -> None:
    model = model_files.find("yolov4-tiny")
    assert [pathlib.Path(p or "").name for p in (model.cfg, model.weights, model.names)] == [
        "yolov4-tiny.cfg",
        "yolov4-tiny.weights",
        "coco.names",
    ]
    assert fetched == ["yolov4-tiny"]


def test_given_weights_replace_those_of_the_catalogue(fetched: list[str]) -> None:
    assert model_files.find("yolov4-tiny", "mine.weights").weights == "mine.weights"
    assert fetched == []


def test_a_path_downloads_nothing_without_fetch(fetched: list[str]) -> None:
    cfg = catalogue.cfg_path("yolov4-tiny")
    model = model_files.find(cfg)
    assert (model.cfg, model.weights, fetched) == (cfg, None, [])
    assert model_files.find(cfg, fetch=True).weights == pathlib.Path("yolov4-tiny.weights")
    assert fetched == ["yolov4-tiny"]


def test_a_cfg_outside_the_catalogue_has_no_class_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.cfg").write_text("[net]")
    assert model_files.find(tmp_path / "mine.cfg", "mine.weights").names is None
    with pytest.raises(DarknetError, match=r"mine\.cfg: expected weights: the catalogue has none for this cfg"):
        model_files.find(tmp_path / "mine.cfg", fetch=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolov4tiny", "did you mean 'yolov4-tiny'"),
        ("cfgs/yolov4tiny.cfg", r"no such file \(did you mean 'yolov4-tiny'"),
        ("sample:bus", "expected a network, found the image of that name"),
    ],
)
def test_errors_of_unknown_models(name: str, message: str) -> None:
    with pytest.raises((ConfigError, DarknetError), match=message):
        model_files.find(name)
