"""The statistics and the logs of ``tools/training_curves.py``."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tools import training_curves

# The sleep data of Student (1908), and what R's t.test(extra ~ group) prints for them (Welch's test).
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
INTERVAL = (-0.2054832, 3.3654832)


def test_the_interval_of_a_difference_is_welchs() -> None:
    difference, half = training_curves.welch(*SLEEP)
    assert (difference - half, difference + half) == pytest.approx(INTERVAL, abs=1e-3)


@pytest.mark.parametrize(("freedom", "quantile"), [(10, 2.228), (20, 2.086), (46, 2.0129)])
def test_the_quantile_is_students(freedom: float, quantile: float) -> None:
    """Values of printed tables."""
    assert training_curves.t_quantile(freedom) == pytest.approx(quantile, abs=5e-4)


def test_losses_are_read_from_both_programs(tmp_path: pathlib.Path) -> None:
    printed = tmp_path / "c.log"
    printed.write_text(
        "Loaded: 0.1 seconds\n\n 1: 72.5, 72.5 avg loss, 0.0 rate\n\x1b[H\x1b[J2/9: loss=3\n 2: nan, nan avg loss\n"
    )
    table = tmp_path / "digits_log.csv"
    table.write_text("iteration,loss,average\n1,72.5,72.5\n2,nan,nan\n")
    for path in (printed, table):
        assert np.array_equal(training_curves.read_losses(str(path)), [72.5, np.nan], equal_nan=True)


def test_losses_are_means_over_ten_iterations(tmp_path: pathlib.Path) -> None:
    log, target = tmp_path / "log.csv", tmp_path / "losses.csv"
    log.write_text("iteration,loss\n" + "".join(f"{index},{index}\n" for index in range(1, 26)))
    training_curves.losses(str(target), f"net/tool={log}")
    assert target.read_text().splitlines() == [
        "network,tool,iteration,loss",
        "net,tool,10,5.5000",
        "net,tool,20,15.5000",
    ]


def test_curves_are_drawn(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    rows = [
        f"{tool},{seed},{iteration},{value}"
        for tool, values in (("a", SLEEP[0]), ("b", SLEEP[1]))
        for seed, value in enumerate(values)
        for iteration in (200, 400)
    ]
    (tmp_path / "map.csv").write_text("\n".join(["tool,seed,iteration,map", *rows]) + "\n")
    training_curves.draw(str(tmp_path / "map.csv"), str(tmp_path / "map.png"))
    assert "difference: +158.00, 95 % interval -20.5" in capsys.readouterr().out
    (tmp_path / "losses.csv").write_text("network,tool,iteration,loss\na,C,10,3\na,C,20,2\nb,C,10,3\nb,C,20,2\n")
    training_curves.draw_losses(str(tmp_path / "losses.csv"), str(tmp_path / "losses.png"))
    for name in ("map.png", "losses.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
