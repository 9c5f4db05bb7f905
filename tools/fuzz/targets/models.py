"""Files of networks: cfgs, weights, checkpoints, training states, ONNX."""

from __future__ import annotations

import io
import json
import pathlib
import random
import re
import shutil
from collections.abc import Sequence

from ..mutations import mutate_bytes, mutate_checkpoint, mutate_json
from .base import CASES, CFGS, Target, TextTarget

MAX_BYTES = 1 << 30  # of a network's parameters and activations
_MAX_FLOPS = 2e8  # of a network that is run


class Cfg(TextTarget):
    """A cfg: its network is built, printed, and run if it is small."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """The cfgs of the package and of the golden values."""
        shutil.copy(CASES / "map.txt", self.folder)
        return [
            pathlib.Path(shutil.copy(path, self.folder)) for path in sorted((*CFGS.glob("*.cfg"), *CASES.glob("*.cfg")))
        ]

    def read(self, path: pathlib.Path) -> None:
        """Build, print, run."""
        import torch

        from darknet_py import cfg
        from darknet_py.network import Network

        network = Network(cfg.load(path), max_bytes=MAX_BYTES)
        str(network)
        if network.flops < _MAX_FLOPS:
            with torch.inference_mode():
                network.eval().initialise()(network.to_batch(torch.zeros(1, *network.shape)))


class Weights(Target):
    """A .weights file of one of three networks."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """Random weights."""
        from darknet_py import loading

        self.networks = {}
        for name in ("dense", "conv_groups", "gru_lstm"):
            network = loading.load(CASES / f"{name}.cfg")
            path = self.folder / name / f"{name}.weights"
            path.parent.mkdir()
            loading.save(network, path)
            self.networks[path.parent] = network
        return [path / f"{path.name}.weights" for path in self.networks]

    def read(self, path: pathlib.Path) -> None:
        """Load the file into its network."""
        from darknet_py import weights

        weights.load(self.networks[path.parent], path)


class Checkpoint(Target):
    """A .pt or .safetensors checkpoint: changed entries of a valid file, and changed bytes."""

    cases = 10_000

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """One checkpoint in both formats."""
        from darknet_py import loading

        network = loading.load(CASES / "conv_groups.cfg")
        paths = [self.folder / f"seed{suffix}" for suffix in (".pt", ".safetensors")]
        for path in paths:
            loading.save(network, path)
        return paths

    def mutate(self, data: bytes, rng: random.Random) -> bytes:
        """Entries of the .pt file; the header of the .safetensors file; bytes of both."""
        import torch

        if rng.random() < 0.25:
            return mutate_bytes(data, rng)
        if data[:2] == b"PK":
            content = torch.load(io.BytesIO(data), weights_only=True)
            buffer = io.BytesIO()
            torch.save(mutate_checkpoint(content, rng), buffer)
            return buffer.getvalue()
        size = int.from_bytes(data[:8], "little")
        header = json.dumps(mutate_json(json.loads(data[8 : 8 + size]), rng)).encode()
        return len(header).to_bytes(8, "little") + header + data[8 + size :]

    def read(self, path: pathlib.Path) -> None:
        """Load it as a network."""
        from darknet_py import loading

        loading.load(path)


class TrainingState(Checkpoint):
    """The state of a training, read as --resume reads it."""

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """The state of one iteration on four images."""
        from darknet_py import cfg
        from darknet_py.demo import digits
        from darknet_py.network import Network
        from darknet_py.training.options import TrainOptions
        from darknet_py.training.trainer import Trainer

        data = digits.write_dataset(self.folder / "data", 4, 1)
        text = (CFGS / "digits.cfg").read_text(encoding="utf-8")
        text = re.sub(r"(?m)^(max_batches|batch|subdivisions) *=.*", r"\1=2", text)
        network = Network(cfg.loads(text, "seed.cfg")).initialise()
        Trainer(network, data, TrainOptions(validate=False, chart="", verbose=False, output=self.folder / "run")).run()
        return sorted((self.folder / "run").glob("*.state.pt"))

    def read(self, path: pathlib.Path) -> None:
        """Read the entries."""
        from darknet_py.training.checkpoints import read_state

        read_state(path)


class Onnx(Target):
    """An ONNX file that compare runs."""

    cases = 10_000

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """An exported network."""
        from darknet_py import cfg
        from darknet_py.exporters.exporter import export
        from darknet_py.network import Network

        path = self.folder / "seed.onnx"
        export(Network(cfg.load(CASES / "conv_groups.cfg")).initialise(), path)
        return [path]

    def read(self, path: pathlib.Path) -> None:
        """Run it on zeros."""
        import torch

        from darknet_py.compare.file_backend import FileBackend

        backend = FileBackend(str(path))
        width, height = backend.size or (32, 32)
        backend.run(torch.zeros(1, backend.channels or 3, height, width), 0.25, 0.45, None)
