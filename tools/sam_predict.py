#!/usr/bin/env python3
"""Masks by SAM or SAM 2 from the points that `lancet points` wrote.

    lancet points photo.jpg "dog"
    tools/sam_predict.py lancet-out/photo.points.json --checkpoint sam_vit_h_4b8939.pth
    tools/sam_predict.py lancet-out/photo.points.json --checkpoint sam2.1_hiera_large.pt --sam2 configs/sam2.1/sam2.1_hiera_l.yaml

Writes every proposed mask as NAME.mask-N.png, white on black, best score first. Small things are often in another mask than
the best-scored one. Needs numpy, Pillow, torch, and segment_anything or sam2, with a checkpoint of theirs.
"""

import argparse
import json
import pathlib
import sys


def predictor(args):
    """SAM 2's predictor has the methods of SAM's."""
    if args.sam2:
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        return SAM2ImagePredictor(build_sam2(args.sam2, args.checkpoint, device=args.device))
    from segment_anything import SamPredictor, sam_model_registry

    return SamPredictor(sam_model_registry[args.model](checkpoint=args.checkpoint).to(args.device))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=pathlib.Path, help="NAME.points.json")
    parser.add_argument("--checkpoint", required=True, help="weights of SAM or SAM 2")
    parser.add_argument("--model", default="vit_h", choices=["vit_h", "vit_l", "vit_b"], help="SAM's size (default: vit_h)")
    parser.add_argument("--sam2", metavar="CONFIG", help="use SAM 2 with this config")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: cpu)")
    parser.add_argument("--image", type=pathlib.Path, help="the image, if it is not where the JSON says")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the masks (default: beside the JSON)")
    args = parser.parse_args()

    try:
        said = json.loads(args.points.read_text(encoding="utf-8"))
        coords, labels, size = said["point_coords"], said["point_labels"], said["size"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        sys.exit(f"{args.points}: not a file that lancet points wrote: {e!r}")
    path = args.image or pathlib.Path(said["image"])

    import numpy as np
    import torch
    from PIL import Image, ImageOps

    # Turned as its EXIF says and on white, as lancet sees it.
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    image = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    if [image.shape[1], image.shape[0]] != size:
        sys.exit(f"{path}: {image.shape[1]}x{image.shape[0]} pixels, the points are for {size[0]}x{size[1]}")

    sam = predictor(args)
    with torch.inference_mode():
        sam.set_image(image)
        masks, scores, _ = sam.predict(
            point_coords=np.array(coords, dtype=np.float32), point_labels=np.array(labels, dtype=np.int32), multimask_output=True
        )
    folder = args.out or args.points.parent
    folder.mkdir(parents=True, exist_ok=True)
    name = args.points.name.removesuffix(".json").removesuffix(".points")
    for n, best in enumerate(np.argsort(-scores), start=1):
        target = folder / f"{name}.mask-{n}.png"
        Image.fromarray(masks[best].astype(bool).astype(np.uint8) * 255).save(target)
        print(f"{target}  score {scores[best]:.3f}  {int(masks[best].sum())} pixels")


if __name__ == "__main__":
    main()
