#!/usr/bin/env python3
"""An ONNX graph of torch_clip.py in ONNX Runtime on the CPU: one run per line of stdin. See benches/peers/README.md.

    onnx_clip.py FILE.onnx
"""

import sys
import time

import numpy as np
import onnxruntime as ort


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    if "int64" in given.type:
        data = (np.arange(np.prod(given.shape)).reshape(given.shape) * 7919 + 13) % 49408
    else:
        data = np.sin(np.arange(np.prod(given.shape), dtype=np.float32)).reshape(given.shape)
    print(f"onnx-clip: ready on the CPU, ONNX Runtime {ort.__version__}", file=sys.stderr, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        output = session.run(None, {given.name: data})[0]
        ms = (time.perf_counter() - start) * 1e3
        if not np.isfinite(output).all():
            sys.exit("onnx-clip: the output is not finite")
        print(f"{ms:.3f}", flush=True)


if __name__ == "__main__":
    main()
