"""``evolve``: several processes, a killed one, studies of other settings, and errors."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

from darknet_py.errors import ConfigError, DarknetError
from darknet_py.files import OutputError
from tests.helpers import synthetic_data, training_runs
from tests.helpers.searches import SPACE, cfg, run

pytest.importorskip("optuna", reason="the extra tune is not installed")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A .data file of few images."""
    return synthetic_data.data(tmp_path_factory.mktemp("data"), train=4, valid=4)


KILLED = """
import os, signal, sys
from darknet_py.training.validation import Metric
from darknet_py.tuning import search
search.run_trial = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from tests.helpers.searches import run
import pathlib
run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_trial_of_a_killed_process_starts_again(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    cfg(tmp_path)
    line = [sys.executable, "-c", KILLED, str(tmp_path), str(data)]
    done = subprocess.run(line, env=training_runs.environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    sentences: list[str] = []
    result = run(tmp_path, data, 1, report=sentences.append)
    assert sentences[0] == "trial 0 was interrupted and starts again"
    assert [(trial.number, trial.state) for trial in result.trials] == [(1, "complete")]


# The command line of two processes, of which none makes a trial before the other has been started.
TOGETHER = """
import os, pathlib, sys, time
from darknet_py import cli
from darknet_py.tuning import search
pathlib.Path(f"{os.getpid()}.started").touch()
while len(list(pathlib.Path().glob("*.started"))) < 2:
    time.sleep(0.01)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["", "study.journal"])
def test_two_processes_share_one_study(storage: str, tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    cfg(tmp_path)
    (tmp_path / "space.toml").write_text(SPACE)
    line = [sys.executable, "-c", TOGETHER, "evolve", str(data), str(tmp_path / "tiny.cfg"), "--trials", "6"]
    line += ["--space", str(tmp_path / "space.toml"), "--workers", "0", "--map-every", "2", "-o", str(tmp_path / "out")]
    line += ["--device", "cpu", "--no-prune", "--json", "-"]
    line += ["--storage", str(tmp_path / storage)] if storage else []
    pipe, environment = subprocess.PIPE, training_runs.environment()
    processes = [
        subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    reports = [json.loads(out) for out, _ in outputs]
    trials = max(reports, key=lambda report: sum(one["state"] == "complete" for one in report["trials"]))["trials"]
    assert len(trials) == 6
    assert {one["state"] for one in trials} == {"complete"}
    assert len({json.dumps(one["values"]) for one in trials}) == 6  # no process repeats another
    done = [sum(" of 6: " in text for text in err.splitlines()) for _, err in outputs]
    assert sum(done) == 6
    assert min(done) > 0
    best = max(one["score"] for one in trials)
    _, result = training_runs.train(
        tmp_path / "out" / "best.cfg", data, seed=0, output=tmp_path / "again", validate=True, map_every=2
    )
    assert result.best == best


def test_a_study_is_continued_with_the_same_settings_only(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    cfg(tmp_path)
    run(tmp_path, data, 1)
    with pytest.raises(ConfigError) as error:
        run(tmp_path, data, 2, options={"map_every": 3, "seed": 6})
    where = tmp_path / "out" / "study.db"
    assert str(error.value) == (
        f"{where}: study 'tiny' was created with other values: seed 5 -> 6, map_every 2 -> 3. Expected the same, "
        "another name (--study) or another folder (--output)"
    )
    (tmp_path / "space.toml").write_text(SPACE.replace("0.95", "0.96"))
    with pytest.raises(ConfigError, match=r"space net.momentum high 0.95 -> 0.96"):
        run(tmp_path, data, 2)
    where.unlink()
    with pytest.raises(OutputError, match=r"trials/0000: written by another search: expected another folder"):
        run(tmp_path, data, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trials": 0}, "trials: expected 1 or more, got 0"),
        ({"iterations": -1}, "iterations: expected 1 or more, or 0 for max_batches of the cfg, got -1"),
        ({"sampler": "ga"}, "sampler: expected one of nsga2, tpe, cmaes, random, got 'ga'"),
        ({"population": 1}, "population: expected 2 trials or more, got 1"),
        ({"sampler_seed": -1}, "sampler_seed: expected 0 or more, got -1"),
        (
            {"storage": "nosql://me:secret@host/db"},
            "nosql://me:***@host/db: Can't load plugin: sqlalchemy.dialects:nosql",
        ),
        (
            {"storage": "postgresql+pg8000://me:secret@host/db"},
            "postgresql+pg8000://me:***@host/db: No module named 'pg8000': install the driver of this database "
            "(PostgreSQL: pip install 'psycopg[binary]')",
        ),
        ({"storage": "://"}, "://...: Could not parse SQLAlchemy URL from given URL string"),
    ],
)
def test_arguments_that_cannot_be(
    given: dict[str, Any], message: str, tmp_path: pathlib.Path, data: pathlib.Path
) -> None:
    cfg(tmp_path)
    with pytest.raises(DarknetError) as error:
        run(tmp_path, data, **{"trials": 1, **given})
    assert str(error.value) == message


def test_what_a_search_needs(tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cfg(tmp_path, max_batches=0)
    with pytest.raises(ConfigError, match=r"tiny.cfg: expected max_batches= in \[net\], or a number of iterations"):
        run(tmp_path, data, 1)
    cfg(tmp_path)
    (tmp_path / "other.cfg").write_text("[net]")
    with pytest.raises(DarknetError, match=r"other.cfg: expected a journal file of Optuna"):
        run(tmp_path, data, 1, storage=str(tmp_path / "other.cfg"))
    with pytest.raises(OutputError, match="would replace the input"):
        run(tmp_path, data, 1, storage=str(path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="a search trains in one process"):
        run(tmp_path, data, 1)
    monkeypatch.delenv("WORLD_SIZE")
    for name in ("samplers", "study"):
        monkeypatch.delitem(sys.modules, f"darknet_py.tuning.{name}")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        DarknetError, match=r"^hyperparameter search needs Optuna: pip install 'darknet-torch\[tune\]'$"
    ):
        run(tmp_path, data, 1)
    assert not (tmp_path / "out").exists()
