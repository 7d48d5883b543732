"""What is minimised: concepts against the absent ones, captions against the other pictures'."""

import torch
import torch.nn.functional as F


def concept_loss(images, prompts, present, scale, weight, unsure=None):
    """Softmax of each present concept against the absent ones. images [B, J], prompts [C, J], present [B, C] bool,
    weight [C]: how much each concept counts, unsure [B, C]: what is neither."""
    logits = scale * images @ prompts.T
    absent = logits.masked_fill(present if unsure is None else present | unsure, -torch.inf).logsumexp(1, keepdim=True)
    share = present * weight
    terms = (torch.logaddexp(logits, absent) - logits) * share
    return (terms.sum(1) / share.sum(1).clamp(min=1e-9)).sum() / present.any(1).sum().clamp(min=1)


def presence_loss(images, prompts, present, scale, unsure, line=0.15):
    """Is each concept there, yes or no: cosines above `line`, or below (a sigmoid for each pair, as SigLIP). The softmaxes only compare
    concepts and do not see what all prompts share; left to them it grows to most of each, and in maps it lights up where the objects
    are not. This one says that a picture of nothing shows none."""
    logits = scale * (images @ prompts.T - line)
    yes = (F.softplus(-logits) * present).sum(1) / present.sum(1).clamp(min=1)
    no = (F.softplus(logits) * ~(present if unsure is None else present | unsure)).sum(1)
    return (yes + no).mean()


def caption_loss(images, texts, present, scale):
    """CLIP's loss; other pictures of the very same concepts are no negatives."""
    logits = scale * images @ texts.T
    same = (present.float() @ (~present).float().T) + ((~present).float() @ present.float().T) == 0
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def visible(owners, pixels, keep, present):
    """(present, unsure) [B, C] when only the patches `keep` [B, K] are looked at: a concept is present if a fifth of its pixels are, or 200
    of them; it is unsure with fewer, and absent with none. owners [R, 2], pixels [R, patches]: see scenes.batch."""
    seen = pixels.gather(1, keep[owners[:, 0]]).sum(1)
    enough = (seen * 5 >= pixels.sum(1)) | (seen >= 200)
    present, unsure = present.clone(), torch.zeros_like(present)
    present[owners[:, 0], owners[:, 1]] = enough
    unsure[owners[:, 0], owners[:, 1]] = ~enough & (seen > 0)
    return present, unsure


def marks(present, count):
    table = torch.zeros(len(present), count, dtype=torch.bool)
    for row, concepts in enumerate(present):
        table[row, concepts] = True
    return table
