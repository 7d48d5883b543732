"""What is minimised: concepts against the absent ones, captions against the other pictures'."""

import torch
import torch.nn.functional as F


def concept_loss(images, prompts, present, scale):
    """Softmax of each present concept against the absent ones. images [B, J], prompts [C, J], present [B, C] bool."""
    logits = scale * images @ prompts.T
    absent = logits.masked_fill(present, -torch.inf).logsumexp(1, keepdim=True)
    terms = (torch.logaddexp(logits, absent) - logits) * present
    return (terms.sum(1) / present.sum(1).clamp(min=1)).sum() / present.any(1).sum().clamp(min=1)


def caption_loss(images, texts, present, scale):
    """CLIP's loss; other pictures of the very same concepts are no negatives."""
    logits = scale * images @ texts.T
    same = (present.float() @ (~present).float().T) + ((~present).float() @ present.float().T) == 0
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def marks(present, count):
    table = torch.zeros(len(present), count, dtype=torch.bool)
    for row, concepts in enumerate(present):
        table[row, concepts] = True
    return table
