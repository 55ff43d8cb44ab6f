"""Our network and our training in PyTorch: the peer that we are compared with.

It runs in an environment of its own, which `python -m benchmarks.pytorch_environment` makes. It
reads a task from its standard input and prints its answer (`pytorch_task.py`). Layers, sizes,
initial weights, split, augmentation, optimizers and schedule are ours. The rest follows PyTorch's
own advice for a CPU: channels-last, autocast to bfloat16, fused AdamW.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import math
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import pytorch_task
from benchmarks.pytorch_task import Order, Recipe, Speed, SpeedTask, Training, TrainingTask

_WARM_UP_STEPS = 3
_EVALUATION_BATCH = 1000
# As Keras has them; PyTorch's momentum is what Keras's leaves.
_NORM = {"eps": 1e-3, "momentum": 0.1}

# ------------------------------------------------------------------------------------------- data


def read_half(folder: str, half: str) -> tuple[Tensor, Tensor]:
    """Reads images, float32 [N, channels, height, width] in [0, 1], channels-last, and labels."""
    images, labels = map(_read_idx, sorted(pathlib.Path(folder).glob(f"{half}-*-ubyte*")))
    pixels = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2)
    scaled = pixels.contiguous(memory_format=torch.channels_last).float() / 255
    return scaled, torch.from_numpy(labels.astype(np.int64))


def _read_idx(path: pathlib.Path) -> np.ndarray:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    start = 4 + 4 * content[3]
    sizes = np.frombuffer(content, ">u4", content[3], offset=4)
    # A copy, since PyTorch warns of arrays that cannot be written.
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy()


def batches(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the full batches of an epoch in random order."""
    order = torch.randperm(len(labels))
    for chosen in order[: len(labels) // size * size].split(size):
        yield images[chosen], labels[chosen]


def augmented(images: Tensor, recipe: Recipe) -> Tensor:
    """Mirrors, shifts and erases images at random, each image in its own way."""
    count = len(images)
    if recipe.flip:
        mirrored = torch.rand(count) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if recipe.shift:
        images = _shifted(images, recipe)
    if recipe.erasing:
        images = _erased(images, (torch.rand(count) < recipe.erasing).nonzero()[:, 0])
    return images


def _erased(images: Tensor, rows: Tensor) -> Tensor:
    """Turns a rectangle of some images to noise, drawn for these alone."""
    chosen = images[rows]
    count, _, height, width = chosen.shape
    inside = _span(count, height)[:, None, :, None] & _span(count, width)[:, None, None, :]
    noise = torch.randn_like(chosen).clamp(0, 1)
    return images.index_copy(0, rows, torch.where(inside, noise, chosen))


def _shifted(images: Tensor, recipe: Recipe) -> Tensor:
    count, _, height, width = images.shape
    most = math.ceil(recipe.shift * max(height, width))
    bordered = functional.pad(images, (most,) * 4, value=recipe.background / 255)
    rows, columns = (
        torch.arange(side) + most + _drawn(count, recipe.shift * side).round().long()
        for side in (height, width)
    )
    pixels = bordered.permute(0, 2, 3, 1)
    moved = pixels[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _drawn(count: int, most: float) -> Tensor:
    return torch.empty(count, 1).uniform_(-most, most)


def _span(count: int, side: int) -> Tensor:
    """Which pixels of a side a random rectangle covers, by Keras's rule."""
    length = torch.empty(count, 1).uniform_(0.02, 0.33).sqrt() * side
    start = torch.rand(count, 1) * (side - length)
    place = torch.arange(side)
    return (place >= start) & (place < start + length)


# -------------------------------------------------------------------------------------------- net


class Convolution(nn.Module):
    """A 3x3 convolution whose kernel is a matrix, as `torch.optim.Muon` wants it.

    A row is a filter [3, 3, inputs], so that the kernel is channels-last without a copy.
    """

    def __init__(self, inputs: int, filters: int, learns: bool = True):
        super().__init__()
        self.shape = (filters, 3, 3, inputs)
        most = math.sqrt(6 / (9 * inputs + 9 * filters))
        drawn = torch.empty(filters, 9 * inputs).uniform_(-most, most)
        self.matrix = nn.Parameter(drawn, requires_grad=learns)

    def forward(self, features: Tensor) -> Tensor:
        kernel = self.matrix.view(self.shape).permute(0, 3, 1, 2)
        return functional.conv2d(features, kernel, padding=1)


class Stage(nn.Module):
    """Convolution and pooling, then a residual convolution."""

    def __init__(self, inputs: int, width: int, order: Order):
        super().__init__()
        self.pool_first = order == "pool_first"
        self.first, self.second = Convolution(inputs, width), Convolution(width, width)
        self.first_norm = nn.BatchNorm2d(width, **_NORM)
        self.second_norm = nn.BatchNorm2d(width, **_NORM)

    def forward(self, features: Tensor) -> Tensor:
        features = self.first(features)
        if self.pool_first:
            features = functional.relu(self.first_norm(_pooled(features)))
        else:
            features = _pooled(functional.relu(self.first_norm(features)))
        return features + functional.relu(self.second_norm(self.second(features)))


def _pooled(features: Tensor) -> Tensor:
    return functional.max_pool2d(features, 2, ceil_mode=True)


class Network(nn.Module):
    """Whitening, stages, global max pooling, dropout and a linear head that starts at zero."""

    def __init__(self, channels: int, classes: int, recipe: Recipe, order: Order):
        super().__init__()
        filters = recipe.whitening_filters
        self.whitening = Convolution(channels, filters, learns=False) if filters else None
        pairs = zip((filters or channels, *recipe.widths), recipe.widths, strict=False)
        self.stages = nn.Sequential(*(Stage(before, width, order) for before, width in pairs))
        self.dropout = nn.Dropout(recipe.dropout)
        self.head = nn.Linear(recipe.widths[-1], classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        if self.whitening is not None:
            images = functional.relu(self.whitening(images))
        features = self.stages(images).amax((2, 3))
        return self.head(self.dropout(features))


def whiten(layer: Convolution, images: Tensor) -> None:
    """Sets the frozen convolution to whiten patches of the images (arXiv:2404.00498)."""
    count = max(2**20 // (images.shape[2] * images.shape[3]), 1)
    chosen = images[torch.linspace(0, len(images) - 1, min(len(images), count)).long()]
    # unfold gives channel, row, column; a filter of ours is row, column, channel.
    patches = functional.unfold(chosen, 3, padding=1).unflatten(1, (-1, 9)).permute(0, 3, 2, 1)
    covariance = torch.cov(patches.flatten(0, 1).flatten(1).double().T, correction=0)
    variances, vectors = torch.linalg.eigh(covariance)
    directions = (vectors / torch.sqrt(variances + 1e-2)).flip(1).T.float()
    both = torch.stack([directions, -directions], 1).flatten(0, 1)
    with torch.no_grad():
        layer.matrix.copy_(both[: len(layer.matrix)])


# ------------------------------------------------------------------------------------------- eval


def logits_of(network: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Returns logits, float32 [N, classes]."""
    network.eval()
    with torch.inference_mode(), autocast(precision):
        logits = torch.cat([network(batch) for batch in images.split(_EVALUATION_BATCH)])
    network.train()
    return logits.float()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Returns the share of right answers."""
    return (logits.argmax(1) == labels).double().mean().item()


def autocast(precision: str) -> torch.autocast:
    """Returns the context of a precision, `float32` or `bfloat16`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


# ------------------------------------------------------------------------------------------ train


def step(
    network: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
) -> None:
    """Takes a step of training."""
    with autocast(recipe.precision):
        logits = network(images)
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def measure_speed(task: SpeedTask) -> Speed:
    """Times steps of training on images in memory, without augmentation, with AdamW for all."""
    recipe = task.recipe
    images, labels = (half[: task.images] for half in read_half(task.data, "train"))
    size = min(recipe.batch_size, len(labels))
    plain = Network(images.shape[1], task.class_count, recipe, task.order)
    learnt = [weights for weights in plain.parameters() if weights.requires_grad]
    optimizers = [torch.optim.AdamW(learnt, recipe.learning_rate, fused=True)]
    network = torch.compile(plain) if task.compiled else plain
    for _ in range(_WARM_UP_STEPS):
        step(network, optimizers, images[:size], labels[:size], recipe)
    done, started = 0, time.perf_counter()
    while done < task.images:
        for batch in batches(images, labels, size):
            step(network, optimizers, *batch, recipe)
            done += size
    seconds = time.perf_counter() - started
    return Speed(done, seconds, sum(weights.numel() for weights in learnt))


def train(task: TrainingTask) -> Training:
    """Trains by the recipe and returns what came of the epoch with the lowest validation loss."""
    recipe = task.recipe
    images, labels = read_half(task.data, "train")
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[task.validation] = True
    validation, validation_labels = images[held_out], labels[held_out]
    images, labels = images[~held_out], labels[~held_out]
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)
    network = Network(images.shape[1], task.class_count, recipe, "pool_first")
    if network.whitening is not None:
        whiten(network.whitening, images)
    optimizers = _optimizers(network, recipe)
    size = min(recipe.batch_size, len(labels))
    steps = len(labels) // size
    average = Average(network, recipe.ema_momentum)
    best, kept, number = math.inf, network.state_dict(), 0
    for epoch in range(1, recipe.epochs + 1):
        for batch, answers in batches(images, labels, size):
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = _rate(recipe, number, steps * recipe.epochs)
            step(network, optimizers, augmented(batch, recipe), answers, recipe)
            average.update()
            number += 1
        with average.in_place():
            logits = logits_of(network, validation, recipe.precision)
            loss = functional.cross_entropy(
                logits, validation_labels, label_smoothing=recipe.label_smoothing
            ).item()
            if loss < best:
                best = loss
                kept = {name: value.clone() for name, value in network.state_dict().items()}
        right = accuracy(logits, validation_labels)
        seconds = time.perf_counter() - started
        _say({"line": f"epoch {epoch} of {recipe.epochs}: {right:.4f} after {seconds:.1f} s"})
    seconds = time.perf_counter() - started
    network.load_state_dict(kept)
    found = accuracy(logits_of(network, validation, "float32"), validation_labels)
    test, test_labels = read_half(task.data, "t10k")
    tested = accuracy(logits_of(network, test, "float32"), test_labels)
    return Training(seconds, found, tested)


def _optimizers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the kernels of convolutions, AdamW for the rest; or AdamW for all."""
    learnt = [weights for weights in network.parameters() if weights.requires_grad]
    kernels = [each.matrix for each in network.modules() if isinstance(each, Convolution)]
    # A kernel with fewer rows than columns, as ours counts them, is left to AdamW.
    chosen = {
        id(matrix)
        for matrix in kernels
        if recipe.optimizer == "muon"
        and matrix.requires_grad
        and matrix.shape[0] <= matrix.shape[1]
    }
    rate, decay = recipe.learning_rate, recipe.weight_decay
    rest = [weights for weights in learnt if id(weights) not in chosen]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, rate, weight_decay=decay, eps=1e-7, fused=True)
    ]
    if chosen:
        matrices = [weights for weights in learnt if id(weights) in chosen]
        found.append(
            torch.optim.Muon(matrices, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    return found


def _rate(recipe: Recipe, number: int, total: int) -> float:
    """Rises linearly to its peak, then falls linearly towards zero."""
    warm_up = recipe.warm_up * total
    if number < warm_up:
        return recipe.learning_rate * (number + 1) / (warm_up + 1)
    return recipe.learning_rate * (total - number) / (total - warm_up)


class Average:
    """The moving average of the weights that learn."""

    def __init__(self, network: Network, momentum: float):
        self._weights = [weights for weights in network.parameters() if weights.requires_grad]
        self._averages: list[Tensor] = []
        self._momentum = momentum

    def update(self) -> None:
        """Takes in the weights after a step; begins with those after the first."""
        weights = [each.detach() for each in self._weights]
        if not self._averages:
            self._averages = [each.clone() for each in weights]
        torch._foreach_lerp_(self._averages, weights, 1 - self._momentum)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average in the place of the weights for a while."""
        own = [each.detach().clone() for each in self._weights]
        self._set(self._averages)
        yield
        self._set(own)

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self._weights, values)


# ------------------------------------------------------------------------------------------- main


def main() -> None:
    """Answers the task on the standard input."""
    task = pytorch_task.read(sys.stdin.readline())
    # Whoever asked keeps the input open: its end is that of the one who asked.
    threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(task.threads)
    answer = measure_speed(task) if isinstance(task, SpeedTask) else train(task)
    _say({"answer": dataclasses.asdict(answer), "version": torch.__version__})


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
