"""CLIP in OpenCLIP's tensor names: `state_dict()` is the file."""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HEAD = 64
SLOPE = 1.702  # of QuickGELU
GROUP = 96  # texts read at once on a CPU


@dataclass
class Config:
    image: int = 96
    patch: int = 8
    width: int = 192
    layers: int = 8
    joint: int = 192
    text_width: int = 128
    text_layers: int = 3
    context: int = 32
    vocabulary: int = 0

    def file(self):
        """open_clip_config.json"""
        return {
            "model_cfg": {
                "embed_dim": self.joint,
                "quick_gelu": True,
                "vision_cfg": {
                    "image_size": self.image, "layers": self.layers, "width": self.width,
                    "head_width": HEAD, "patch_size": self.patch,
                },
                "text_cfg": {
                    "context_length": self.context, "vocab_size": self.vocabulary, "width": self.text_width,
                    "heads": self.text_width // HEAD, "layers": self.text_layers,
                },
            },
            "preprocess_cfg": {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic", "resize_mode": "squash"},
        }

    @classmethod
    def of_file(cls, table):
        model = table["model_cfg"]
        vision, text = model["vision_cfg"], model["text_cfg"]
        return cls(
            vision["image_size"], vision["patch_size"], vision["width"], vision["layers"], model["embed_dim"],
            text["width"], text["layers"], text["context_length"], text["vocab_size"],
        )

    def table(self):
        return asdict(self)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.heads = width // HEAD
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal):
        batch, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(batch, length, 3, self.heads, HEAD).permute(2, 0, 3, 1, 4)
        if x.is_cuda or causal:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        else:  # on a CPU three plain products are a third faster than the fused operator's backward pass
            q, k, v = (part.reshape(-1, length, HEAD) for part in (q * HEAD**-0.5, k, v))
            out = ((q @ k.mT).softmax(-1) @ v).view(batch, self.heads, length, HEAD)
        return self.out_proj(out.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, causal, share=1.0):
        x = x + self.attn(self.ln_1(x), causal)
        if share == 0.0:
            return x
        # QuickGELU(h) = SiLU(1.702 h) / 1.702: with both factors in the small weights only SiLU runs over all rows.
        fc, proj = self.mlp.c_fc, self.mlp.c_proj
        h = F.silu(F.linear(self.ln_2(x), SLOPE * fc.weight, SLOPE * fc.bias))
        return x + F.linear(h, proj.weight * (share / SLOPE), proj.bias * share)


class Transformer(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))
        for block in self.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            for part in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
                nn.init.zeros_(part.bias)

    def forward(self, x, causal=False, shares=None):
        """`shares`: what each block's MLP is multiplied by; 0 leaves it out."""
        for i, block in enumerate(self.resblocks):
            x = block(x, causal, shares[i] if shares else 1.0)
        return x


class Vision(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.grid = config.image // config.patch
        self.patch = config.patch
        width = config.width
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.02)
        self.positional_embedding = nn.Parameter(positions(self.grid, width))
        self.conv1 = nn.Conv2d(3, width, config.patch, config.patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, config.layers)
        self.proj = nn.Parameter(torch.randn(width, config.joint) * width**-0.5)

    def forward(self, x, keep=None, window=(0, 0), shares=None):
        """Features [B, joint]. `keep` [B, K]: patches that are looked at (0-based); `window`: corner of a smaller grid; `shares`: of
        each block's MLP."""
        batch, _, high, wide = x.shape
        rows, columns = high // self.patch, wide // self.patch
        # A convolution whose stride is its kernel is one matrix product over flattened patches.
        x = x.view(batch, 3, rows, self.patch, columns, self.patch).permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)
        x = F.linear(x, self.conv1.weight.flatten(1))
        grid = self.positional_embedding[1:].view(self.grid, self.grid, -1)
        x = x + grid[window[0]:window[0] + rows, window[1]:window[1] + columns].reshape(rows * columns, -1)
        if keep is not None:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
        first = (self.class_embedding + self.positional_embedding[0]).to(x.dtype).expand(batch, 1, -1)
        x = self.ln_pre(torch.cat([first, x], 1))
        x = self.transformer(x, shares=shares)
        return self.ln_post(x[:, 0]) @ self.proj


class Clip(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.visual = Vision(config)
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_width)
        self.positional_embedding = nn.Parameter(torch.randn(config.context, config.text_width) * 0.01)
        self.transformer = Transformer(config.text_width, config.text_layers)
        self.ln_final = nn.LayerNorm(config.text_width)
        self.text_projection = nn.Parameter(torch.randn(config.text_width, config.joint) * config.text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def image(self, pixels, keep=None, window=(0, 0), shares=None):
        return F.normalize(self.visual(pixels, keep, window, shares).float(), dim=-1)

    def text(self, rows, device="cpu"):
        """`rows`: token ids per text. Padding after the end marker is never looked at: attention is causal."""
        if str(device) != "cpu" or len(rows) < 2 * GROUP:
            return self.read(rows, device)
        # Texts of like length together: most are a third as long as the longest.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        parts = [self.read([rows[i] for i in order[k:k + GROUP]], device) for k in range(0, len(rows), GROUP)]
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def read(self, rows, device):
        """Texts padded to the longest."""
        length = max(map(len, rows))
        tokens = torch.zeros(len(rows), length, dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row)
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        x = self.token_embedding(tokens.to(device)) + self.positional_embedding[:length]
        x = self.transformer(x, causal=True)
        x = self.ln_final(x[torch.arange(len(rows), device=device), last])
        return F.normalize((x @ self.text_projection).float(), dim=-1)


def positions(grid, width):
    """Sines and cosines of row and column as a start, at the scale of a learned embedding."""
    frequency = torch.exp(-math.log(100.0) * torch.arange(width // 4) / (width // 4))
    angle = torch.arange(grid)[:, None] * frequency[None]
    line = torch.cat([angle.sin(), angle.cos()], 1)
    table = torch.cat([line[:, None].expand(-1, grid, -1), line[None].expand(grid, -1, -1)], -1).reshape(grid * grid, width)
    return torch.cat([torch.zeros(1, width), table], 0) * 0.1


def whiten_patches(vision, pixels):
    """Patch embedding as a whitening of real patches: the first features are decorrelated and of unit scale."""
    patch = vision.patch
    x = F.unfold(pixels, patch, stride=patch).transpose(1, 2).reshape(-1, 3 * patch * patch)
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    width = vision.conv1.weight.shape[0]
    count = min(width, len(values))
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    weight = (vectors / (values.sqrt() + 0.05 * values[0].sqrt())).T
    with torch.no_grad():
        vision.conv1.weight[:count] = weight.view(count, 3, patch, patch)


def normalise(images):
    """uint8 [B, H, W, 3] -> float [B, 3, H, W], CLIP's mean and deviation."""
    x = images.float().div_(255)
    x = (x - torch.tensor(MEAN, device=x.device)) / torch.tensor(STD, device=x.device)
    return x.permute(0, 3, 1, 2).contiguous()
