#!/usr/bin/env python3
"""CLIP's image encoder and text tower in PyTorch, to be timed beside lancet.

    torch_clip.py --weights FILE                    serve the image encoder: one run per line of stdin
    torch_clip.py --weights FILE --texts 16         serve the text tower on 16 prompts padded to 77 tokens
    torch_clip.py --weights FILE --export FILE.onnx [--texts 16]    the same as an ONNX graph (needs onnx and onnxscript)
    torch_clip.py --weights FILE --figures [--quick]                a JSON of variants, batches and sizes on the GPU

FILE is an f32 safetensors of a ViT-B in OpenAI / OpenCLIP layout. See benches/peers/README.md.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

HEAD_WIDTH = 64


def tensors(path):
    """All tensors of a safetensors file, f32."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = bytearray(file.read())
    header.pop("__metadata__", None)
    found = {}
    for name, about in header.items():
        if about["dtype"] == "F32":
            start, end = about["data_offsets"]
            found[name] = torch.frombuffer(body, dtype=torch.float32, count=(end - start) // 4, offset=start).reshape(about["shape"])
    return found


class Norm(torch.nn.LayerNorm):
    def __init__(self, w, name):
        super().__init__(w[name + ".weight"].shape[0])
        self.weight.data, self.bias.data = w[name + ".weight"], w[name + ".bias"]


def dense(w, weight, bias):
    made = torch.nn.Linear(1, 1)
    made.weight.data, made.bias.data = w[weight], w[bias]
    return made


class Block(torch.nn.Module):
    def __init__(self, w, stem, causal):
        super().__init__()
        self.ln_1, self.ln_2, self.causal = Norm(w, stem + "ln_1"), Norm(w, stem + "ln_2"), causal
        self.qkv = dense(w, stem + "attn.in_proj_weight", stem + "attn.in_proj_bias")
        self.out = dense(w, stem + "attn.out_proj.weight", stem + "attn.out_proj.bias")
        self.up = dense(w, stem + "mlp.c_fc.weight", stem + "mlp.c_fc.bias")
        self.down = dense(w, stem + "mlp.c_proj.weight", stem + "mlp.c_proj.bias")
        self.fused = True

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.ln_1(x)).reshape(batch, tokens, 3, width // HEAD_WIDTH, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(HEAD_WIDTH)
            if self.causal:
                scores = scores + torch.full((tokens, tokens), -math.inf, device=x.device, dtype=x.dtype).triu(1)
            mixed = scores.softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        hidden = self.up(self.ln_2(x))
        return x + self.down(hidden * torch.sigmoid(1.702 * hidden))  # QuickGELU


def blocks(w, stem, causal):
    count = sum(name.startswith(stem) and name.endswith(".ln_1.weight") for name in w)
    return torch.nn.Sequential(*(Block(w, f"{stem}{i}.", causal) for i in range(count)))


class Vision(torch.nn.Module):
    """[B, 3, S, S] to every token's embedding, [B, 1 + N, D]."""

    def __init__(self, w, size=None):
        super().__init__()
        conv, positions = w["visual.conv1.weight"], w["visual.positional_embedding"]
        self.patch = conv.shape[2]
        native = math.isqrt(positions.shape[0] - 1)
        self.size = size or native * self.patch
        if (grid := self.size // self.patch) != native:
            table = positions[1:].reshape(1, native, native, -1).permute(0, 3, 1, 2)
            table = F.interpolate(table, (grid, grid), mode="bicubic", align_corners=False)
            positions = torch.cat([positions[:1], table.permute(0, 2, 3, 1).reshape(grid * grid, -1)])
        self.conv, self.positions = torch.nn.Parameter(conv), torch.nn.Parameter(positions)
        self.start = torch.nn.Parameter(w["visual.class_embedding"])
        self.pre, self.post = Norm(w, "visual.ln_pre"), Norm(w, "visual.ln_post")
        self.blocks = blocks(w, "visual.transformer.resblocks.", False)
        self.projection = torch.nn.Parameter(w["visual.proj"])

    def forward(self, image):
        x = F.conv2d(image, self.conv, stride=self.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.start.expand(x.shape[0], 1, -1), x], 1) + self.positions
        return self.post(self.blocks(self.pre(x))) @ self.projection

    def example(self, batch):
        """Smooth waves, about the range of a normalised photograph."""
        y, x = torch.meshgrid(torch.arange(self.size), torch.arange(self.size), indexing="ij")
        picture = torch.stack([(torch.sin(x * 0.07 + c) + torch.cos(y * 0.05)) * 0.9 for c in range(3)])
        return picture.expand(batch, -1, -1, -1).contiguous()


class Text(torch.nn.Module):
    """Ids [P, 77], the end marker last, to [P, D]."""

    def __init__(self, w):
        super().__init__()
        self.table, self.positions = torch.nn.Parameter(w["token_embedding.weight"]), torch.nn.Parameter(w["positional_embedding"])
        self.blocks, self.norm = blocks(w, "transformer.resblocks.", True), Norm(w, "ln_final")
        self.projection = torch.nn.Parameter(w["text_projection"])

    def forward(self, ids):
        x = self.blocks(F.embedding(ids, self.table) + self.positions)
        return self.norm(x[:, -1]) @ self.projection

    def example(self, prompts):
        tokens = self.positions.shape[0]
        return (torch.arange(prompts * tokens).reshape(prompts, tokens) * 7919 + 13) % self.table.shape[0]


def serve(tower, given, head):
    print(f"torch-clip: ready on the CPU ({torch.get_num_threads()} threads), PyTorch {torch.__version__}", file=sys.stderr, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        output = tower(given).numpy()
        ms = (time.perf_counter() - start) * 1e3
        if head:
            print(f"{output.size} numbers: {output.ravel()[:6]} ... {output.ravel()[-6:]}", file=sys.stderr)
        print(f"{ms:.3f}", flush=True)


# ---------------------------------------------------------------- figures of a GPU


def timed(run, wait, runs):
    for _ in range(3):
        run()
    wait()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        wait()
        times.append((time.perf_counter() - start) * 1e3)
    return {"median_ms": round(statistics.median(times), 4), "best_ms": round(min(times), 4)}


def graphed(tower, given):
    """The run as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            tower(given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tower(given)
    return graph.replay


# name: fused attention, element type, TF32 allowed, compiled, as a CUDA graph
VARIANTS = {
    "eager f32": (False, torch.float32, False, False, False),
    "sdpa f32": (True, torch.float32, False, False, False),
    "sdpa tf32": (True, torch.float32, True, False, False),
    "eager fp16": (False, torch.float16, False, False, False),
    "sdpa fp16": (True, torch.float16, False, False, False),
    "sdpa f32, CUDA graph": (True, torch.float32, False, False, True),
    "sdpa fp16, CUDA graph": (True, torch.float16, False, False, True),
    "torch.compile f32": (True, torch.float32, False, True, False),
    "torch.compile fp16": (True, torch.float16, False, True, False),
}


def figures(w, quick):
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    report = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "CPU", "runs": []}
    names = ["eager f32", "sdpa f32"] if quick else list(VARIANTS)
    for size in [224] if quick else [224, 512]:
        for batch in [1] if quick else [1, 8, 64]:
            given = Vision(w, size).example(batch).to(device)
            for name in names:
                fused, dtype, tf32, compiled, graph = VARIANTS[name]
                row = {"variant": name, "size": size, "batch": batch}
                try:
                    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
                    tower = Vision(w, size).to(device, dtype).eval()
                    for block in tower.blocks:
                        block.fused = fused
                    x = given.to(dtype)
                    call = torch.compile(tower) if compiled else tower
                    run = graphed(call, x) if graph else (lambda: call(x))
                    row |= timed(run, wait, 2 if quick else 20)
                except Exception as error:  # a variant that this machine cannot run says why
                    row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                report["runs"].append(row)
                print(f"torch_clip: {row}", file=sys.stderr, flush=True)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="FILE")
    parser.add_argument("--texts", type=int, metavar="P")
    parser.add_argument("--export", metavar="FILE")
    parser.add_argument("--figures", action="store_true")
    parser.add_argument("--quick", action="store_true", help="with --figures: two variants, one size")
    parser.add_argument("--head", action="store_true", help="also print the first numbers of the output, to compare with another program")
    args = parser.parse_args()
    weights = tensors(args.weights)
    with torch.no_grad():
        if args.figures:
            json.dump(figures(weights, args.quick), sys.stdout, indent=1)
            return
        tower = (Text(weights) if args.texts else Vision(weights)).eval()
        given = tower.example(args.texts or 1)
        if not args.export:
            serve(tower, given, args.head)
    if args.export:
        with torch.no_grad():
            torch.onnx.export(tower, (given,), args.export, input_names=["input"], output_names=["output"], external_data=True, dynamo=True)


if __name__ == "__main__":
    main()
