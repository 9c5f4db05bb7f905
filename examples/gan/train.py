"""Train a GAN (https://arxiv.org/abs/1406.2661) that draws handwritten digits.

    python examples/gan/train.py -o gan

Generator G and discriminator D are two cfgs that are updated in turn, by Darknet's update rules:

    min_G max_D V(D, G),  V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))]

D takes a step up V on a batch of real and a batch of drawn digits. G takes a step up log D(G(z)), which has the same
fixed point as a step down V, and a gradient where D is sure (section 3 of the paper). The real digits are the 1,797 of
``darknet_py.demo.digits``, 8 x 8 cells, enlarged to 32 x 32 pixels. A classifier that is trained on real digits counts
which of the drawn ones it recognises.

Writes to DIR: progress.png (a row of samples for each of some iterations, of the same random numbers), samples.png,
generator.weights, discriminator.weights and report.json.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import darknet_py as dk
from darknet_py import schedule
from darknet_py.demo.digits import CLASS_NAMES, load_samples
from darknet_py.files import atomic_write
from darknet_py.layers import StepContext
from darknet_py.network import Network
from darknet_py.training.optimizer import build_optimizer

HERE = pathlib.Path(__file__).parent
SIDE = 32  # pixels
ROWS = (0, 50, 100, 200, 400, 800, 1600)  # iterations that are shown, and the last
COLUMNS = 16
MARGIN = 2  # pixels around a digit in a sheet
SURE = 0.9  # probability from which a digit counts as recognised


def build(name: str, device: str = "cpu") -> Network:
    """Return the network of a cfg of this folder with Darknet's initial weights."""
    return dk.load(HERE / f"{name}.cfg", device=device)


def load_digits(subset: str) -> tuple[Tensor, Tensor]:
    """Return images, float [n, 1, 32, 32] in 0..1, and their digits, int64 [n]; ``subset`` is "train" or "valid"."""
    images, digits = [], []
    for digit, samples in enumerate(load_samples()[subset]):
        for sample in samples:
            cells = Image.fromarray(np.rint(255 * sample.clip(0, 1)).astype(np.uint8))
            images.append(np.asarray(cells.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255)
            digits.append(digit)
    return torch.from_numpy(np.stack(images))[:, None], torch.tensor(digits)


class GAN:
    """A generator and a discriminator, and the alternating steps of their training.

    Args:
        real: the images to learn, float [n, 1, 32, 32] in 0..1.
        seed: seed of the random numbers, which are drawn on the CPU.
        device: where the networks are.

    Attributes:
        iteration: steps made.
    """

    def __init__(self, real: Tensor, seed: int = 0, device: str = "cpu") -> None:
        self.real = real
        self.generator = build("generator", device)
        self.discriminator = build("discriminator", device)
        self.trainer = dk.Trainer(self.discriminator)
        self.optimizer = build_optimizer(self.generator, self.generator.options)
        self.random = torch.Generator().manual_seed(seed)
        self.iteration = 0

    def draw_noise(self, count: int) -> Tensor:
        """Return the generator's input, float [count, channels, 1, 1], normally distributed."""
        return torch.randn(count, *self.generator.shape, generator=self.random)

    def step(self) -> tuple[float, float]:
        """Update the discriminator, then the generator.

        Returns:
            The value V(D, G) per image, and the mean probability that the discriminator gives to drawn images.
        """
        count = self.generator.options.batch
        chosen = torch.randint(len(self.real), (count,), generator=self.random)
        self.generator.train()
        drawn = self.generate(self.draw_noise(count))
        pairs = [(self.real[chosen], torch.ones(count, 1)), (drawn.detach(), torch.zeros(count, 1))]
        cost = self.trainer.step(pairs)
        self.iteration += 1
        self.generator.zero_grad()
        logits = self.discriminator.features(self.generate(self.draw_noise(count)), [-2])[0]
        F.softplus(-logits).sum().backward()  # -log D(G(z))
        self.discriminator.zero_grad()
        lr = schedule.learning_rate(self.generator.options, self.iteration)
        self.optimizer.step(lr, count, self.iteration)
        self.generator.seen = count * self.iteration
        return -cost / count, float(logits.detach().sigmoid().mean())

    def generate(self, noise: Tensor) -> Tensor:
        """Return images, float [count, 1, 32, 32] in 0..1, in the mode in which the generator is."""
        context = StepContext(size=(1, 1)) if self.generator.training else None
        images: Tensor = self.generator(noise.to(next(self.generator.parameters())), context)[0]
        return images

    def samples(self, noise: Tensor) -> Tensor:
        """Return images in evaluation mode, on the CPU."""
        return self.generator.predict(noise)[0].cpu()


def train_classifier(images: Tensor, digits: Tensor, seed: int = 0, device: str = "cpu") -> Network:
    """Return a classifier of real digits."""
    network = build("classifier", device)
    trainer = dk.Trainer(network)
    random = torch.Generator().manual_seed(seed)
    one_hot = F.one_hot(digits, len(CLASS_NAMES)).float()
    for _ in range(network.options.max_batches):
        chosen = torch.randint(len(images), (network.options.batch,), generator=random)
        shift = torch.randint(-2, 3, (2,), generator=random).tolist()
        trainer.step([(images[chosen].roll(shift, dims=(2, 3)), one_hot[chosen])])
    return network


def judge(classifier: Network, images: Tensor) -> dict[str, Any]:
    """Return how sure a classifier is of images: mean confidence, share of 0.9 or more, and their number by digit."""
    probability, digit = classifier.predict(images)[0].cpu().flatten(1).max(dim=1)
    return {
        "confidence": float(probability.mean()),
        "recognised": float((probability >= SURE).float().mean()),
        "digits": digit[probability >= SURE].bincount(minlength=len(CLASS_NAMES)).tolist(),
    }


def write_sheet(path: pathlib.Path, rows: list[Tensor]) -> None:
    """Write rows of images, float [n, 1, 32, 32], to a PNG file, black on white."""
    framed = [F.pad(row[:, 0], (MARGIN,) * 4) for row in rows]
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in framed])
    pixels = (255 * (1 - sheet)).round().to(torch.uint8).numpy()
    with atomic_write(path) as file:
        Image.fromarray(pixels).save(file, "PNG", optimize=True)


def main(argv: list[str] | None = None) -> None:
    """Train, and write the results."""
    parser = argparse.ArgumentParser(description="Train a GAN that draws handwritten digits.")
    parser.add_argument("--iterations", type=int, metavar="N", help="steps of each network (default: those of the cfg)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="where to train: cpu, cuda, ... (default: cpu)")
    parser.add_argument("-o", "--output", default="gan", metavar="DIR", help="folder of the results (default: gan)")
    args = parser.parse_args(argv)
    if args.iterations is not None and args.iterations < 1:
        parser.error(f"--iterations: expected 1 or more, got {args.iterations}")
    torch.manual_seed(args.seed)
    folder = pathlib.Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)

    train, valid = load_digits("train"), load_digits("valid")
    classifier = train_classifier(*train, seed=args.seed, device=args.device)
    predicted = classifier.predict(valid[0])[0].cpu().flatten(1).argmax(dim=1)
    accuracy = float((predicted == valid[1]).float().mean())
    real = judge(classifier, valid[0])
    print(f"classifier: accuracy {accuracy:.2%} on {len(valid[0])} held-out digits", file=sys.stderr)

    gan = GAN(torch.cat((train[0], valid[0])), args.seed, args.device)
    iterations = args.iterations or gan.generator.options.max_batches
    noise = gan.draw_noise(COLUMNS)
    rows = [gan.samples(noise)]
    while gan.iteration < iterations:
        value, fooled = gan.step()
        if gan.iteration in ROWS or gan.iteration == iterations:
            rows.append(gan.samples(noise))
            print(f"{gan.iteration}: V(D, G) {value:.3f}, mean D(G(z)) {fooled:.3f}", file=sys.stderr)
    drawn = gan.samples(gan.draw_noise(1000))
    report = {"accuracy": accuracy, "iterations": iterations, "seed": args.seed, "real": real}
    report["drawn"] = judge(classifier, drawn)
    write_sheet(folder / "progress.png", rows)
    write_sheet(folder / "samples.png", list(drawn[:160].split(COLUMNS)))
    for network, name in ((gan.generator, "generator"), (gan.discriminator, "discriminator")):
        dk.save_weights(network, folder / f"{name}.weights")
    with atomic_write(folder / "report.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
