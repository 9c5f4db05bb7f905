"""MLflow and Weights & Biases get the numbers of a run, and a resumed run continues theirs; nothing but local files."""

from __future__ import annotations

import csv
import importlib
import os
import pathlib
import struct
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import synthetic_data, training_runs

PART: dict[str, Any] = {"validate": True, "map_every": 2, "save_last": 2}


def log_rows(folder: pathlib.Path) -> list[dict[str, str]]:
    with open(folder / "tiny_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def train_in_two_parts(folder: pathlib.Path, data: pathlib.Path, log: str) -> None:
    """Iterations 1 to 2, and resumed 3 to 4."""
    cfg = synthetic_data.cfg(folder, max_batches=2, burn_in=1)
    training_runs.run(cfg, data, output=folder, log=f"csv,{log}", **PART)
    cfg.write_text(cfg.read_text().replace("max_batches=2", "max_batches=4"))
    training_runs.run(cfg, data, output=folder, resume=True, validate=True)  # the recipe has the loggers


def check_mlflow(uri: str, folder: pathlib.Path) -> None:
    mlflow = importlib.import_module("mlflow")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("darknet-torch")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("tiny", "FINISHED")
    assert run.data.params["map_every"] == "2"
    assert run.data.tags["weights_final"] == str(folder / "tiny_final.weights")
    rows = log_rows(folder)
    for name, column in (("loss", "loss"), ("avg_loss", "avg_loss"), ("layer 4/iou", "4.iou")):
        history = sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))
        assert [step for step, _ in history] == [1, 2, 3, 4]
        assert [value for _, value in history] == pytest.approx([float(row[column]) for row in rows], rel=1e-5)
    scores = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "mAP")}
    assert scores == pytest.approx({int(row["iteration"]): float(row["map"]) for row in rows if row["map"]}, abs=1e-6)
    assert set(scores) == {2, 4}


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it imports
        return pytest.importorskip("mlflow", reason="it gets the run: pip install 'darknet-torch[mlflow]'")


def test_mlflow_gets_a_run_and_its_continuation(
    mlflow: Any, tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to create
    train_in_two_parts(tmp_path, rectangles / "tiny.data", "mlflow")
    check_mlflow(uri, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # of MLflow's use of sqlalchemy
def test_mlflow_writes_a_local_database(
    mlflow: Any, tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("sqlalchemy", "alembic"):
        pytest.importorskip(package, reason="MLflow's database needs it: pip install 'darknet-torch[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "a b"
    folder.mkdir()
    train_in_two_parts(folder, rectangles / "tiny.data", "mlflow")
    check_mlflow(f"sqlite:///{folder / 'mlflow.db'}", folder)


def test_wandb_writes_an_offline_run_and_its_continuation(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    pytest.importorskip("wandb", reason="it gets the run: pip install 'darknet-torch[wandb]'")
    train_in_two_parts(tmp_path, rectangles / "tiny.data", "wandb")
    runs = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 2
    parts = [read_wandb(path) for path in runs]
    assert len({path.name for path in runs}) == 1  # the same ID
    rows = log_rows(tmp_path)
    logged = {step: values for part in parts for step, values in part.items()}
    assert sorted(logged) == [1, 2, 3, 4]
    for row in rows:
        values = logged[int(row["iteration"])]
        assert float(values["loss"]) == pytest.approx(float(row["loss"]), rel=1e-5)
        assert float(values["layer 4/iou"]) == pytest.approx(float(row["4.iou"]), rel=1e-5)
        assert ("mAP" in values) == bool(row["map"])


def read_wandb(path: pathlib.Path) -> dict[int, dict[str, str]]:
    """The history of an offline run: the values of each step. wandb's own process writes the file a little later."""
    messages = importlib.import_module("wandb.proto.wandb_internal_pb2")
    records: list[Any] = []
    end = time.monotonic() + 30
    while not any(record.WhichOneof("record_type") == "exit" for record in records):
        assert time.monotonic() < end, f"{path}: no end"
        time.sleep(0.1)
        records = [messages.Record.FromString(content) for content in leveldb_records(path.read_bytes())]
    history: dict[int, dict[str, str]] = {}
    for record in records:
        if record.WhichOneof("record_type") == "history":
            values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            history[int(values["_step"])] = values
    return history


def leveldb_records(data: bytes, header: int = 7, block: int = 32768) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: pieces of CRC, length, kind and content, which blocks divide."""
    position, parts = header, b""
    while position + 7 <= len(data):
        if block - position % block < 7:  # no room for a piece: the rest of the block is padding
            position += block - position % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, the last piece of one
            yield parts
            parts = b""
