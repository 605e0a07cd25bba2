"""Train the network of InnerEarSegmentation on phantoms: ``make train-inner-ear``.

Each example is made from its own number, so that the same seed gives the same examples, however many processes make
them; on the CPU also the same weights, with the same torch and as many threads. A GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

from CustomTasks.InnerEarSegmentationTask import InnerEarSegmentationTask, UNet, block_around, normalized
from networks.inner_ear import imaging
from networks.inner_ear.Phantom import Phantom, grow
from networks.inner_ear.Tube import Array, Mask
from tomaat.services import TaskRefused

SEED = 1
STEPS = 5000
BATCH = 1
LEARNING_RATE = 3e-3
CROSS_ENTROPY, SMOOTHING_VOXELS = 20.0, 100.0  #: of the loss: the weight of one part, what evens out the other
EMPTY_SHARE = 0.3  #: of the examples, which show no inner ear
COARSER_EMPTY = 3.0  #: times the spacing, of these, at most: a scan of a whole head is coarser
NOISE = (0.005, 0.15)  #: of the fluid's brightness
CENTER_OFF_MM, FAR_OFF_MM = 7.0, 18.0  #: at most; the latter for some, whose ear is partly beyond the block
TILT_DEGREES = 25.0  #: at most, of the head, and once more of the voxels' grid
SPACING_MM = (0.3, 0.85)
THREADS = 1  #: of the CPU, since a sum depends on how many share it; the other cores make examples
REPORT_STEPS = 50
TRAINING, VALIDATION, EVALUATION, TESTS = range(4)  #: kinds of phantoms: each has numbers of its own


class Examples(Dataset):
    """Example ``number``: what the service would show the network, and the truth (0 to 1), each (1, 80, 60, 40)."""

    def __init__(self, kind: int, seed: int, count: int) -> None:
        self.kind = kind
        self.seed = seed
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = np.random.default_rng((self.kind, self.seed, number))
        while True:
            try:
                seen, truth = example(grow((self.kind, self.seed, number)), random)
            except TaskRefused:  # an empty image may be of one brightness all over
                continue
            return normalized_anew(seen, random), torch.from_numpy(truth[None])


def example(phantom: Phantom, random: np.random.Generator) -> tuple[torch.Tensor, Array]:
    """Take an image at random; give the block that the network would see, and its truth."""
    pose = np.eye(4)
    pose[:3, :3] = imaging.rotation(random, TILT_DEGREES)
    center = pose[:3, :3] @ phantom.middle_mm
    center += imaging.within_ball(random, CENTER_OFF_MM if random.random() < 0.85 else FAR_OFF_MM)
    spacing = random.uniform(*SPACING_MM, 3) if random.random() < 0.7 else np.full(3, random.uniform(*SPACING_MM))
    size = np.array([44, 34, 24]) + random.uniform(-8, 4, 3)
    direction = imaging.rotation(random, TILT_DEGREES) if random.random() < 0.5 else imaging.STRAIGHT
    empty = random.random() < EMPTY_SHARE
    if empty:
        spacing *= random.uniform(1, COARSER_EMPTY)
    scan = imaging.Scan(
        grid=imaging.grid_around(center, size, spacing, direction), pose=pose, noise=random.uniform(*NOISE)
    )
    kind = random.choice(imaging.EMPTY)
    volume = imaging.take_empty(kind, scan, random) if empty else imaging.take(phantom, scan, random)
    block = block_around(volume, tuple(center.tolist()))
    truth = np.zeros(block.array.shape, np.float32) if empty else phantom.share(block, pose)
    return normalized(block), truth


def normalized_anew(seen: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Stretch the brightness a little, since the normalisation depends on what else is in the block."""
    return (seen[0] * random.uniform(0.8, 1.2)) ** random.uniform(0.85, 1.2)


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Sum the cross entropy and what lacks of a Dice coefficient of 1 (Milletari et al., 3DV 2016).

    The latter alone would hardly mind something found where there is nothing: nearly all of it is as bad as all of it.
    """
    probable = logits.sigmoid()
    both = (probable.square() + truth.square()).sum() + SMOOTHING_VOXELS
    lacking = 1 - (2 * (probable * truth).sum() + SMOOTHING_VOXELS) / both
    return CROSS_ENTROPY * binary_cross_entropy_with_logits(logits, truth) + lacking


def dice(one: Mask, other: Mask) -> float:
    """Compute the Dice coefficient of two masks; 1 where both are empty."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def train(*, seed: int, steps: int, workers: int, device: torch.device) -> UNet:
    """Train a network; print how it goes."""
    torch.manual_seed(seed)
    network = UNet().to(device, memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.05)
    examples = Examples(TRAINING, seed, steps * BATCH)
    processes = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if workers else {}
    loader = DataLoader(examples, BATCH, num_workers=workers, **processes)
    began, losses = time.monotonic(), []
    for step, (seen, truth) in enumerate(loader, start=1):
        seen = seen.to(device, memory_format=torch.channels_last_3d)  # noqa: PLW2901 (only where it lies)
        loss = loss_of(network(seen), truth.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % REPORT_STEPS == 0 or step == steps:
            loss_now, seconds = np.mean(losses[-REPORT_STEPS:]), time.monotonic() - began
            print(f"step {step}/{steps}  loss {loss_now:.4f}  {seconds:.0f} s", flush=True)
    return network.eval()


@torch.inference_mode()
def validate(network: UNet, *, seed: int, count: int, device: torch.device) -> list[float]:
    """Compute the Dice coefficients on blocks that the training does not use; of those with an inner ear."""
    found = []
    for seen, truth in DataLoader(Examples(VALIDATION, seed, count), 1):
        if truth.max() > 0.5:
            found.append(dice((network(seen.to(device)) > 0).cpu().numpy(), (truth > 0.5).numpy()))
    return found


def save(network: UNet, path: Path) -> str:
    """Write the weights, and their SHA-256 beside them; return it."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.chmod(0o644)
    path.with_suffix(".sha256").write_text(f"{digest}  {path.name}\n")
    return digest


def main(arguments: list[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--validation", type=int, default=40, help="blocks to validate on")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that make examples")
    parser.add_argument("--weights", type=Path, default=InnerEarSegmentationTask.weights)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"training on {device}, seed {chosen.seed}, {chosen.steps} steps of {BATCH} blocks", flush=True)
    network = train(seed=chosen.seed, steps=chosen.steps, workers=chosen.workers, device=device)
    found = validate(network, seed=chosen.seed, count=chosen.validation, device=device)
    if found:
        print(f"validation: mean Dice {np.mean(found):.3f}, least {np.min(found):.3f}, of {len(found)} blocks")
    print(f"{chosen.weights.name}: SHA-256 {save(network, chosen.weights)}")


if __name__ == "__main__":
    main()
