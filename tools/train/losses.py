"""What is minimised: concepts against the absent ones, captions against the other pictures'."""

import torch
import torch.nn.functional as F


def concept_loss(images, prompts, present, scale, weight):
    """Softmax of each present concept against the absent ones. images [B, J], prompts [C, J], present [B, C] bool,
    weight [C]: how much each concept counts."""
    logits = scale * images @ prompts.T
    absent = logits.masked_fill(present, -torch.inf).logsumexp(1, keepdim=True)
    share = present * weight
    terms = (torch.logaddexp(logits, absent) - logits) * share
    return (terms.sum(1) / share.sum(1).clamp(min=1e-9)).sum() / present.any(1).sum().clamp(min=1)


def common_part(prompts):
    """Squared length of the mean of prompts [C, J]. The softmaxes do not see what all prompts share, and left alone it grows to most of
    each; then every map shows it, and it lights up where the objects are not."""
    return prompts.mean(0).square().sum()


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
