"""Batches in the order of steps, composed here or ahead by worker processes."""

import torch

import scenes


class Steps(torch.utils.data.Dataset):
    """Batch of a step, for workers of a DataLoader."""

    def __init__(self, bank, phase, seed, rank, size):
        self.bank, self.phase, self.seed, self.rank, self.size = bank, phase, seed, rank, size

    def __getitem__(self, step):
        images, present, texts = scenes.batch(self.bank, self.phase, self.seed, step, self.rank, self.size)
        return torch.from_numpy(images), present, texts


class Feed:
    """Batches in order of steps; restarts its workers when the phase changes."""

    def __init__(self, bank, seed, rank, size, workers):
        self.make = lambda phase: Steps(bank, scenes.PHASES[phase], seed, rank, size)
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
