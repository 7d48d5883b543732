"""Muon: momentum whose matrices are made orthogonal by a Newton-Schulz iteration (Jordan et al. 2024)."""

import torch


def orthogonal(g, steps=5):
    """Nearest semi-orthogonal matrices of a batch [N, rows, columns], approximately, in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    turned = x.shape[-2] > x.shape[-1]
    if turned:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.mT if turned else x).float()


class Muon(torch.optim.Optimizer):
    """For hidden matrices only. Matrices of one shape are handled as one batch; q, k and v count as three."""

    def __init__(self, matrices, lr=0.02, momentum=0.95, weight_decay=0.01):
        super().__init__(list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(state["momentum"], group["momentum"])
                parts = 3 if p.shape[0] == 3 * p.shape[1] else 1
                for k, part in enumerate(update.chunk(parts)):
                    rows = part.shape[0]
                    shapes.setdefault(tuple(part.shape), []).append((p, slice(k * rows, (k + 1) * rows), part))
            for (rows, columns), entries in shapes.items():
                turned = orthogonal(torch.stack([part for _, _, part in entries]))
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                for (p, where, _), step in zip(entries, turned):
                    p[where].mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-scale)
