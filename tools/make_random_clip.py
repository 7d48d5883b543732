#!/usr/bin/env python3
"""Write a CLIP checkpoint of true size with random weights, to time and test without a download.

    tools/make_random_clip.py --arch ViT-B-16 --layout openclip --dtype f32 --out /tmp/random-b16
    tools/make_random_clip.py --arch RN50 --layout openai --dtype f16 --out /tmp/random-rn50

Layouts (the names differ, the weights do not: one seed gives the same model in all three):
  openclip      open_clip_model.safetensors + open_clip_config.json
  openai        the same names and files, plus OpenAI's three scalar tensors
  transformers  model.safetensors + config.json (has no ResNets)

Needs numpy. Tensors are drawn and written one after another, so memory stays near the largest chunk.
"""

import argparse
import json
import os
import struct
import sys
import zlib

try:
    import numpy as np
except ImportError:
    sys.exit("make_random_clip.py: numpy is missing: python3 -m pip install numpy")

VOCAB, CONTEXT = 49408, 77
LOGIT_SCALE = 4.6052  # ln 100
CHUNK = 1 << 22  # numbers drawn at a time

# image side, patch, (width, layers, heads) of vision and text, joint width, QuickGELU
ARCHS = {
    "ViT-B-16": (224, 16, (768, 12, 12), (512, 12, 8), 512, True),
    "ViT-B-32": (224, 32, (768, 12, 12), (512, 12, 8), 512, True),
    "ViT-L-14": (224, 14, (1024, 24, 16), (768, 12, 12), 768, True),
    "ViT-L-14-336": (336, 14, (1024, 24, 16), (768, 12, 12), 768, True),
    "ViT-H-14": (224, 14, (1280, 32, 16), (1024, 24, 16), 1024, False),
}
# image side, width after the stem, bottlenecks per layer, (width, layers, heads) of text, joint width
RESNETS = {
    "RN50": (224, 64, (3, 4, 6, 3), (512, 12, 8), 1024),
    "RN101": (224, 64, (3, 4, 23, 3), (512, 12, 8), 512),
    "RN50x4": (288, 80, (4, 6, 10, 6), (640, 12, 10), 640),
    "RN50x16": (384, 96, (6, 8, 18, 8), (768, 12, 12), 768),
    "RN50x64": (448, 128, (3, 15, 36, 10), (1024, 12, 16), 1024),
}
DTYPES = {"f32": ("F32", 4), "f16": ("F16", 2), "bf16": ("BF16", 2)}


class Tensor:
    """A tensor of the OpenAI / OpenCLIP layout: its numbers depend on the seed and its name alone."""

    def __init__(self, name, shape, mean, deviation):
        self.name, self.shape, self.mean, self.deviation = name, tuple(shape), mean, deviation

    def size(self):
        return int(np.prod(self.shape, dtype=np.int64))

    def chunks(self, seed):
        rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(self.name.encode())]))
        left = self.size()
        while left > 0:
            count = min(left, CHUNK)
            draw = rng.standard_normal(count, dtype=np.float32)
            draw *= np.float32(self.deviation)
            draw += np.float32(self.mean)
            yield draw
            left -= count

    def array(self, seed):
        return np.concatenate(list(self.chunks(seed))).reshape(self.shape)


def canonical(arch):
    """Every tensor of the model, OpenAI names, scales as in CLIP's own initialisation."""
    if arch in RESNETS:
        tw, tl, _ = RESNETS[arch][3]
        joint = RESNETS[arch][4]
    else:
        side, patch, (vw, vl, _), (tw, tl, _), joint, _ = ARCHS[arch]

    def norm(name, width):
        return [Tensor(f"{name}.weight", [width], 1.0, 0.05), Tensor(f"{name}.bias", [width], 0.0, 0.02)]

    def blocks(prefix, width, layers):
        attention, up = width**-0.5, (2 * width) ** -0.5
        back = width**-0.5 * (2 * layers) ** -0.5  # into the residual stream
        for i in range(layers):
            at = f"{prefix}transformer.resblocks.{i}."
            yield from norm(at + "ln_1", width)
            yield Tensor(at + "attn.in_proj_weight", [3 * width, width], 0.0, attention)
            yield Tensor(at + "attn.in_proj_bias", [3 * width], 0.0, 0.01)
            yield Tensor(at + "attn.out_proj.weight", [width, width], 0.0, back)
            yield Tensor(at + "attn.out_proj.bias", [width], 0.0, 0.01)
            yield from norm(at + "ln_2", width)
            yield Tensor(at + "mlp.c_fc.weight", [4 * width, width], 0.0, up)
            yield Tensor(at + "mlp.c_fc.bias", [4 * width], 0.0, 0.01)
            yield Tensor(at + "mlp.c_proj.weight", [width, 4 * width], 0.0, back)
            yield Tensor(at + "mlp.c_proj.bias", [width], 0.0, 0.01)

    if arch in RESNETS:
        yield from resnet(arch)
    else:
        yield Tensor("visual.class_embedding", [vw], 0.0, vw**-0.5)
        yield Tensor("visual.positional_embedding", [(side // patch) ** 2 + 1, vw], 0.0, 0.01)
        yield Tensor("visual.conv1.weight", [vw, 3, patch, patch], 0.0, 0.02)
        yield from norm("visual.ln_pre", vw)
        yield from blocks("visual.", vw, vl)
        yield from norm("visual.ln_post", vw)
        yield Tensor("visual.proj", [vw, joint], 0.0, vw**-0.5)
    yield Tensor("token_embedding.weight", [VOCAB, tw], 0.0, 0.02)
    yield Tensor("positional_embedding", [CONTEXT, tw], 0.0, 0.01)
    yield from blocks("", tw, tl)
    yield from norm("ln_final", tw)
    yield Tensor("text_projection", [tw, joint], 0.0, tw**-0.5)
    yield Tensor("logit_scale", [], LOGIT_SCALE, 0.0)


def resnet(arch):
    """The image side of a ResNet: convolutions as He et al. scale them, batch norms with statistics that fit."""
    side, width, layers, _, joint = RESNETS[arch]

    def conv(name, norm, out, into, kernel, gain=1.0):
        yield Tensor(name, [out, into, kernel, kernel], 0.0, (2 / (into * kernel * kernel)) ** 0.5)
        yield Tensor(f"{norm}.weight", [out], gain, 0.05)
        yield Tensor(f"{norm}.bias", [out], 0.0, 0.1)
        yield Tensor(f"{norm}.running_mean", [out], 0.0, 0.1)
        yield Tensor(f"{norm}.running_var", [out], 1.0, 0.05)

    half = width // 2
    for i, (out, into) in enumerate([(half, 3), (half, half), (width, half)], 1):
        yield from conv(f"visual.conv{i}.weight", f"visual.bn{i}", out, into, 3)
    into = width
    for layer, blocks in enumerate(layers, 1):
        planes = width << (layer - 1)
        for i in range(blocks):
            at = f"visual.layer{layer}.{i}."
            yield from conv(at + "conv1.weight", at + "bn1", planes, into, 1)
            yield from conv(at + "conv2.weight", at + "bn2", planes, planes, 3)
            # A small last gain keeps a sum of many blocks in bounds.
            yield from conv(at + "conv3.weight", at + "bn3", 4 * planes, planes, 1, 0.3)
            if i == 0:
                yield from conv(at + "downsample.0.weight", at + "downsample.1", 4 * planes, into, 1, 0.7)
            into = 4 * planes
    yield Tensor("visual.attnpool.positional_embedding", [(side // 32) ** 2 + 1, into], 0.0, into**-0.5)
    for part, rows in [("q_proj", into), ("k_proj", into), ("v_proj", into), ("c_proj", joint)]:
        yield Tensor(f"visual.attnpool.{part}.weight", [rows, into], 0.0, into**-0.5)
        yield Tensor(f"visual.attnpool.{part}.bias", [rows], 0.0, 0.01)


# ---- transformers names ---------------------------------------------------------------------

WHOLE_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
}
NORM_NAMES = {
    "visual.ln_pre": "vision_model.pre_layrnorm",  # the misspelling is the real name
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
BLOCK_NAMES = [
    ("attn.out_proj", "self_attn.out_proj"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
]


def renamed(name):
    """The transformers name of a tensor that only changes its name."""
    if name in WHOLE_NAMES:
        return WHOLE_NAMES[name]
    stem, _, leaf = name.rpartition(".")
    if stem in NORM_NAMES:
        return f"{NORM_NAMES[stem]}.{leaf}"
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    index, _, rest = name.partition("resblocks.")[2].partition(".")
    part = rest.rpartition(".")[0]
    return f"{tower}.encoder.layers.{index}.{dict(BLOCK_NAMES)[part]}.{leaf}"


def entries(arch, layout, seed):
    """(name, shape, function giving chunks of numbers) for every tensor of the file, in order."""
    for tensor in canonical(arch):
        name, shape = tensor.name, tensor.shape
        if layout != "transformers":
            yield name, shape, lambda t=tensor: t.chunks(seed)
        elif name in TRANSPOSED:
            yield TRANSPOSED[name], shape[::-1], lambda t=tensor: [t.array(seed).T]
        elif ".attn.in_proj_" in name:
            leaf = name.rpartition("_")[2]  # weight or bias
            stem = renamed(name.replace("in_proj_" + leaf, "out_proj." + leaf))
            width = shape[0] // 3
            for i, part in enumerate("qkv"):
                rows = slice(i * width, (i + 1) * width)
                yield (
                    stem.replace("out_proj", part + "_proj"),
                    (width,) + shape[1:],
                    lambda t=tensor, rows=rows: [t.array(seed)[rows]],
                )
        else:
            yield renamed(name), shape, lambda t=tensor: t.chunks(seed)


def encode(numbers, dtype):
    numbers = np.ascontiguousarray(numbers, dtype="<f4")
    if dtype == "f32":
        return numbers.tobytes()
    if dtype == "f16":
        return numbers.astype("<f2").tobytes()
    bits = numbers.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # nearest, ties to even


def write_safetensors(path, arch, layout, dtype, seed):
    """8 bytes of header length, the JSON header, the data; under a temporary name until it is whole."""
    tag, width = DTYPES[dtype]
    plan = []  # (name, dtype, shape, function giving chunks of bytes)
    if layout == "openai":  # first, so that every tensor stays aligned
        scalars = {"input_resolution": (RESNETS.get(arch) or ARCHS[arch])[0], "context_length": CONTEXT, "vocab_size": VOCAB}
        for name, value in scalars.items():
            plan.append((name, "I64", (), lambda v=value: [struct.pack("<q", v)]))
    parameters = 0
    for name, shape, chunks in entries(arch, layout, seed):
        parameters += int(np.prod(shape, dtype=np.int64))
        plan.append((name, tag, shape, lambda c=chunks: (encode(numbers, dtype) for numbers in c())))

    header, offset = {"__metadata__": {"format": "pt", "model": f"random {arch}, seed {seed}"}}, 0
    for name, kind, shape, _ in plan:
        end = offset + int(np.prod(shape, dtype=np.int64)) * (8 if kind == "I64" else width)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    part = path + ".tmp"
    try:
        with open(part, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, _, _, chunks in plan:
                for data in chunks():
                    file.write(data)
            if file.tell() != 8 + len(text) + offset:
                raise RuntimeError("the data and the header disagree; this is a bug")
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return parameters, 8 + len(text) + offset


def config_openclip(arch):
    if arch in RESNETS:
        side, width, layers, (tw, tl, th), joint = RESNETS[arch]
        quick = True
        vision = {"image_size": side, "layers": list(layers), "width": width, "patch_size": None}
    else:
        side, patch, (vw, vl, vh), (tw, tl, th), joint, quick = ARCHS[arch]
        vision = {"image_size": side, "layers": vl, "width": vw, "head_width": vw // vh, "patch_size": patch}
    text = {"context_length": CONTEXT, "vocab_size": VOCAB, "width": tw, "heads": th, "layers": tl}
    return {
        "model_cfg": {"embed_dim": joint, "quick_gelu": quick, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def config_transformers(arch, dtype):
    side, patch, (vw, vl, vh), (tw, tl, th), joint, quick = ARCHS[arch]

    def tower(kind, width, layers, heads, **more):
        return {
            "model_type": kind,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "hidden_act": "quick_gelu" if quick else "gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": joint,
            **more,
        }

    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": joint,
        "logit_scale_init_value": LOGIT_SCALE,
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype],
        "text_config": tower(
            "clip_text_model", tw, tl, th, vocab_size=VOCAB, max_position_embeddings=CONTEXT,
            bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
        ),
        "vision_config": tower("clip_vision_model", vw, vl, vh, image_size=side, patch_size=patch, num_channels=3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=[*ARCHS, *RESNETS], default="ViT-B-16")
    parser.add_argument("--layout", choices=["openclip", "openai", "transformers"], default="openclip")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder, made if need be")
    args = parser.parse_args()
    if args.seed < 0:
        parser.error("--seed must not be negative")

    if args.layout == "transformers" and args.arch in RESNETS:
        parser.error("the transformers layout has no ResNets; take --layout openclip or openai")
    if args.layout == "transformers":
        weights, config_name, config = "model.safetensors", "config.json", config_transformers(args.arch, args.dtype)
    else:
        weights, config_name, config = "open_clip_model.safetensors", "open_clip_config.json", config_openclip(args.arch)
    try:
        os.makedirs(args.out, exist_ok=True)
        path = os.path.join(args.out, weights)
        parameters, size = write_safetensors(path, args.arch, args.layout, args.dtype, args.seed)
        with open(os.path.join(args.out, config_name), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)
            file.write("\n")
    except OSError as error:
        sys.exit(f"make_random_clip.py: {error}")
    print(f"{path}: {args.arch}, {parameters:,} parameters, {args.dtype}, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
