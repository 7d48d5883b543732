"""Batches in the order of steps, composed here or ahead by worker processes."""

import torch

import scenes


class Steps(torch.utils.data.Dataset):
    """Batch of a step, for workers of a DataLoader."""

    def __init__(self, bank, phase, seed, rank, size, patch):
        self.bank, self.phase, self.seed, self.rank, self.size, self.patch = bank, phase, seed, rank, size, patch

    def __getitem__(self, step):
        images, *rest = scenes.batch(self.bank, self.phase, self.seed, step, self.rank, self.size, self.patch)
        return torch.from_numpy(images), *rest


class Feed:
    """Batches in order of steps; restarts its workers when the phase changes."""

    def __init__(self, bank, seed, rank, size, workers, patch):
        self.make = lambda phase: Steps(bank, scenes.PHASES[phase], seed, rank, size, patch)
        self.workers, self.phase, self.queue = workers, None, None

    def batch(self, phase, step):
        if not self.workers:
            return self.make(phase)[step]
        if phase != self.phase:
            self.phase = phase
            self.queue = iter(torch.utils.data.DataLoader(
                self.make(phase), batch_size=None, sampler=range(step, 1 << 40), num_workers=self.workers,
                prefetch_factor=4, pin_memory=torch.cuda.is_available(),
            ))
        return next(self.queue)
