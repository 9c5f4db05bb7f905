"""``Trainer`` against the references of ``../shared/conformance``, by the script that comes with them.

``training`` and ``training_more`` follow the rules of C's CUDA sources, ``training_cpu`` those of its CPU build.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import paths

GRADIENTS = {"training": "darknet", "training_more": "darknet", "training_cpu": "darknet-cpu"}
WEIGHTS_TOLERANCE = 0.005  # of the distance from the first weights to C's last
COST_TOLERANCE = 5e-5
# Rules of C's CUDA code that training does not follow yet, and the networks that differ by them.
CONNECTED = "the delta of [connected] is not limited to -1..1 (connected_layer.c, backward_connected_layer_gpu)"
MISSING = {
    "training/detection": CONNECTED,
    "training_more/alexnet_like": CONNECTED,
    "training_more/connected_norm": CONNECTED,
    "training_more/detection_forced": CONNECTED,
    "training_more/rnn_plain": CONNECTED,
    "training_more/yolov1_like": CONNECTED,
    "training_more/delayed_updates": "dont_update and burnin_update: gradients do not accumulate while a layer waits",
    "training_more/fixed_nans": "try_fix_nan=1 does not limit the deltas of convolutions to -1..1",
    "training_more/head_asleep": "onlyforward=1 on a head does not silence its loss",
}


def cases() -> list[Any]:
    found = []
    for folder in GRADIENTS:
        for path in sorted((paths.CONFORMANCE / folder).glob("*.cfg")):
            name = f"{folder}/{path.stem}"
            marks = [pytest.mark.xfail(strict=True, reason=MISSING[name])] if name in MISSING else []
            found.append(pytest.param(folder, path.stem, id=name, marks=marks))
    return found or [pytest.param("", "", id="none", marks=pytest.mark.skip(reason=paths.NO_SHARED))]


@pytest.fixture
def checker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(paths.CONFORMANCE))
    sys.modules.pop("reference", None)
    import check_training  # type: ignore[import-not-found]

    module: ModuleType = check_training
    return module


@pytest.mark.parametrize(("folder", "name"), cases())
def test_training_reaches_the_weights_of_c(folder: str, name: str, checker: ModuleType) -> None:
    distance, text = checker.check(name, paths.CONFORMANCE / folder, GRADIENTS[folder])
    assert distance <= WEIGHTS_TOLERANCE, text
    (cost,) = re.findall(r"cost (\S+)", text)
    assert float(cost) <= COST_TOLERANCE, text
