#!/usr/bin/env python3
"""Losses of PyTorch in training with both built-in recipes, for comparison with src/train.

Writes rows.f32 (ROWS x WIDTH little-endian f32) and losses.json: labels, and per recipe the mean loss of the training rows
and the loss of the held-out rows after each epoch. Needs torch and numpy. Weights at the start, order of rows, dropout and
noise come from the generator that src/train/random.rs describes, restated here; everything else is PyTorch's own: layers,
loss, gradients, SGD, AdamW and the schedules of the learning rate.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
ROWS, WIDTH, SEED, FOLDS = 240, 24, 11, 5
MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def mix(number):
    number = (number + STEP) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


class Random:
    """xoshiro256++, seeded by SplitMix64."""

    def __init__(self, *numbers):
        state = 0
        for number in numbers:
            state = mix(state ^ number)
        self.state = []
        for _ in range(4):
            state = (state + STEP) & MASK
            self.state.append(mix(state))

    def bits(self):
        s = self.state

        def turned(number, by):
            return ((number << by) | (number >> (64 - by))) & MASK

        result = (turned((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        shifted = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = turned(s[3], 45)
        return result

    def unit(self):
        return np.float32(self.bits() >> 40) / np.float32(1 << 24)

    def normal(self):
        total = sum(self.bits().to_bytes(8, "little"))
        return (np.float32(total) - np.float32(1020)) / np.float32(math.sqrt(8 * (256**2 - 1) / 12))

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            place = (self.bits() * (last + 1)) >> 64
            items[last], items[place] = items[place], items[last]

    def mask(self, share, rows, width):
        """What dropout multiplies by."""
        least, kept = round(share * 65536), 1.0 / (1.0 - share)
        values = []
        while len(values) < rows * width:
            bits = self.bits()
            values += [0.0 if (bits >> (16 * lane)) & 0xFFFF < least else kept for lane in range(4)]
        return torch.tensor(values[: rows * width], dtype=torch.float32).reshape(rows, width)


ORIGINAL = {
    "hidden": [512],
    "outputs": 2,
    "dropout": 0.5,
    "inputs": 0.0,
    "noise": 0.0,
    "smoothing": 0.0,
    "batch": 32,
    "epochs": 12,
    "standardise": False,
    "balance": False,
}
BALANCED = {
    "hidden": [256, 128],
    "outputs": 1,
    "dropout": 0.4,
    "inputs": 0.1,
    "noise": 0.1,
    "smoothing": 0.05,
    "batch": 64,
    "epochs": 6,
    "standardise": True,
    "balance": True,
}


def network(recipe, random):
    """Hidden layers as modules without dropout, and the last layer."""
    widths, blocks = [WIDTH, *recipe["hidden"], recipe["outputs"]], nn.ModuleList()
    for inputs, outputs in zip(widths, widths[1:]):
        linear = nn.Linear(inputs, outputs)
        bound = np.float32(1.0) / np.sqrt(np.float32(inputs))
        with torch.no_grad():
            for values in (linear.weight, linear.bias):
                drawn = [(np.float32(2) * random.unit() - np.float32(1)) * bound for _ in range(values.numel())]
                values.copy_(torch.tensor(np.array(drawn)).reshape(values.shape))
        blocks.append(linear)
    norms = nn.ModuleList(nn.BatchNorm1d(width) for width in recipe["hidden"])
    return blocks, norms


def logits(blocks, norms, x, masks):
    for number, block in enumerate(blocks):
        x = block(x)
        if number < len(norms):
            x = torch.relu(norms[number](x))
            if masks:
                x = x * masks[number]
    return x


def losses(recipe, rows, labels, original):
    blocks, norms = network(recipe, Random(SEED, 0, 0))
    parameters = [*blocks.parameters(), *norms.parameters()]
    if original:
        optimiser = torch.optim.SGD(parameters, lr=2e-4, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=10, gamma=0.85)
    else:
        optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    if recipe["standardise"]:
        mean, deviation = rows.astype(np.float64).mean(0), rows.astype(np.float64).std(0)
        rows = ((rows - mean.astype(np.float32)) / deviation.astype(np.float32)).clip(-6, 6)
    train = [row for row in range(ROWS) if row % FOLDS != 0]
    held_out = [row for row in range(ROWS) if row % FOLDS == 0]
    batches = math.ceil(len(train) / recipe["batch"])
    weights = np.ones(ROWS, dtype=np.float32)
    if recipe["balance"]:
        for label in (0, 1):
            weights[labels == label] = ROWS / 2 / (labels == label).sum()
    if not original:
        steps = batches * recipe["epochs"]
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    x, y, w = torch.tensor(rows), torch.tensor(labels), torch.tensor(weights)
    measured = []
    for epoch in range(recipe["epochs"]):
        random, order, total = Random(SEED, 0, epoch + 1), list(train), 0.0
        random.shuffle(order)
        blocks.train(), norms.train()
        for start in range(0, len(order), recipe["batch"]):
            batch = order[start : start + recipe["batch"]]
            inputs = x[batch]
            if recipe["noise"]:
                noise = [recipe["noise"] * random.normal() for _ in range(inputs.numel())]
                inputs = inputs + torch.tensor(np.array(noise, dtype=np.float32)).reshape(inputs.shape)
            if recipe["inputs"]:
                inputs = inputs * random.mask(recipe["inputs"], len(batch), WIDTH)
            masks = [random.mask(recipe["dropout"], len(batch), width) for width in recipe["hidden"]]
            output = logits(blocks, norms, inputs, masks)
            if original:
                loss = nn.functional.cross_entropy(output, y[batch])
            else:
                target = y[batch] * (1 - recipe["smoothing"]) + recipe["smoothing"] / 2
                loss = nn.functional.binary_cross_entropy_with_logits(output[:, 0], target, weight=w[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if not original:
                schedule.step()
            total += loss.item() * len(batch)
        if original:
            schedule.step()
        blocks.eval(), norms.eval()
        with torch.no_grad():
            output = logits(blocks, norms, x[held_out], None)
            target = y[held_out]
            if original:
                loss = nn.functional.cross_entropy(output, target)
            else:
                loss = nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.float())
        measured.append([total / len(order), loss.item()])
    return measured


def main():
    torch.set_num_threads(1)
    generator = np.random.default_rng(5)
    labels = (generator.random(ROWS) < 0.4).astype(np.int64)
    rows = generator.normal(size=(ROWS, WIDTH)).astype(np.float32)
    rows[:, :6] += labels[:, None].astype(np.float32) * 0.8
    rows *= np.linspace(0.5, 2, WIDTH, dtype=np.float32)
    (HERE / "rows.f32").write_bytes(rows.astype("<f4").tobytes())
    golden = {
        "width": WIDTH,
        "seed": SEED,
        "folds": FOLDS,
        "labels": "".join(map(str, labels)),
        "original": losses(ORIGINAL, rows, labels, True),
        "balanced": losses(BALANCED, rows, labels, False),
    }
    (HERE / "losses.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
