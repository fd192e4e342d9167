"""Whether the fast training step learns as the plain one in fp32 does: the loss of both over the same pairs, one above
the other.

python benchmarks/curves.py DATA --size 704x256 --pairs 300 --output results/speed
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from speed import size_of
from work import plain_layers

from weakspot.data.layouts import read_layout
from weakspot.data.reading import fit_image, read_image
from weakspot.network.memory import keep_freed_memory
from weakspot.settings import ReadSettings
from weakspot.training.batches import TrainingImages
from weakspot.training.stages import PAPER, SHARP
from weakspot.training.state import Machine
from weakspot.training.train import run_training, start_training

RUNS = {"plain, fp32": (True, False), "fast, fp32": (False, False), "fast, bf16": (False, True)}  # plain layers, bf16
COLOURS = "#222222", "#2a78d6", "#e0662b"
WIDTH, HEIGHT, MARGIN, SMOOTHING = 760, 340, 40, 0.93
LEFT, DOWN = f'<text x="{MARGIN}" y="20">', f'<text x="{WIDTH - 120}" y="{HEIGHT - 8}">'


def main() -> None:
    """Train each way and write curves.json and curves.svg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=size_of, default=(704, 256))
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--recipe", choices=("paper", "sharp"), default="paper")
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    keep_freed_memory()
    images, curves, seconds = read(asked.data, asked.size), {}, {}
    for name, (plain, bf16) in RUNS.items():
        began = time.perf_counter()
        curves[name] = losses(images, asked.pairs, asked.recipe, plain, bf16)
        seconds[name] = time.perf_counter() - began
        print(f"{name}: {seconds[name]:.0f} s, mean loss of the last 50: {np.mean(curves[name][-50:]):.4f}", flush=True)
    asked.output.mkdir(parents=True, exist_ok=True)
    facts = {"size": f"{asked.size[0]}x{asked.size[1]}", "recipe": asked.recipe, "seconds": seconds, "loss": curves}
    (asked.output / "curves.json").write_text(json.dumps(facts) + "\n")
    (asked.output / "curves.svg").write_text(drawn(curves))


def read(data: Path, size: tuple[int, int]) -> TrainingImages:
    """All images of a data set at one size."""
    samples = read_layout(data)
    pixels = [fit_image(read_image(sample.path, ReadSettings()).pixels, size, 1, 8) for sample in samples]
    return TrainingImages(np.stack(pixels), np.array([sample.label for sample in samples]))


def losses(images: TrainingImages, pairs: int, recipe: str, plain: bool, bf16: bool) -> list[float]:
    """The loss of each step of the recipe's first stage, from seed 0."""
    chosen = {"paper": PAPER, "sharp": SHARP}[recipe]
    stage = replace(chosen.stages[0], iterations=pairs)
    training = start_training(replace(chosen, stages=(stage,)), images, 0, Machine(bf16=bf16))
    if plain:
        plain_layers(training.detector)
    found: list[float] = []
    training.on_steps = lambda steps: found.extend(step.loss for step in steps)
    run_training(training)
    return found


def drawn(curves: dict[str, list[float]]) -> str:
    """Running means of the losses over each other, as SVG."""
    smooth = {name: running_mean(values) for name, values in curves.items()}
    highest = max(max(values) for values in smooth.values())
    view, font = f'viewBox="0 0 {WIDTH} {HEIGHT}"', 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} {font}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f"{LEFT}running mean of the loss, 0 to {highest:.2f}</text>{DOWN}pairs</text>",
    ]
    for row, ((name, values), colour) in enumerate(zip(smooth.items(), COLOURS, strict=True)):
        x = np.linspace(MARGIN, WIDTH - MARGIN, len(values))
        y = HEIGHT - MARGIN - np.array(values) / highest * (HEIGHT - 2 * MARGIN)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(f'<text x="{WIDTH - 150}" y="{MARGIN + 18 * row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def running_mean(values: list[float]) -> list[float]:
    """Exponential, as the training itself keeps it."""
    means, mean = [], values[0]
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        means.append(mean)
    return means


if __name__ == "__main__":
    main()
