#!/usr/bin/env python3
"""Turn a locality-aligned checkpoint (a pickle) into what lancet loads.

    tools/convert_locality.py clip-vitb16.pth --heads 12 --out locality-b16
    lancet encode photo.jpg --model locality-b16 --tokens --out features.npy

Writes model.safetensors (the encoder's tensors under timm's names, as they are) and model.json. The exponential moving
average is taken where there is one. Locality alignment (arXiv 2410.11087) has QuickGELU and a soft cap of 30 for CLIP.
Needs torch and safetensors.
"""

import argparse
import json
import pathlib

WRAPPERS = ("module.", "_orig_mod.", "encoder.")


def bare(name):
    """A tensor's own name."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def encoder(checkpoint):
    """The encoder's tensors by their own names; what belongs to the decoder and the head stays behind."""
    tensors = next((checkpoint[key] for key in ("state_dict_ema", "state_dict") if key in checkpoint), checkpoint)
    wrapped = any("encoder." in name for name in tensors)
    kept = {bare(name): t for name, t in tensors.items() if not wrapped or "encoder." in name}
    kept = {name: t.contiguous() for name, t in kept.items() if not name.startswith(("decoder.", "head."))}
    if "patch_embed.proj.weight" not in kept:
        raise SystemExit(f"no patch_embed.proj.weight: not a timm ViT; first names are {sorted(kept)[:3]}")
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--heads", type=int, required=True, help="12 for B/16, 16 for L/14")
    parser.add_argument("--activation", choices=("quick_gelu", "gelu"), default="quick_gelu")
    parser.add_argument("--softcap", type=float, default=30.0, help="0: ordinary attention")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    import torch
    from safetensors.torch import save_file

    tensors = encoder(torch.load(args.checkpoint, map_location="cpu", weights_only=True))
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "model.safetensors")
    config = {"heads": args.heads, "activation": args.activation, "attention_softcap": args.softcap or None, "eps": 1e-5}
    (args.out / "model.json").write_text(json.dumps(config) + "\n")
    print(f"{args.out}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
