#!/usr/bin/env python3
"""Test and measure lancet on the GPU of this machine, without a network; one JSON.

    ./run                                  everything, into lancet-gpu.json
    ./run --only tests,profiles --out FILE parts of it; parts that FILE has from before are kept
    ./run --quick --software               a short pass on a software adapter, to see that the pack works

The parts, in this order: adapter, tests (kernels against their definitions, the golden ladder), tune (if this lancet can), profiles (batch
1, 8 and 64; 224 and 512 px; f32, f16, int8), growth (tokens, labels, batch), torch (PyTorch's figures, if it is installed). Whatever fails is
noted in the JSON, and the rest goes on; the JSON is written after every step. Random models of true size are made here; that needs numpy.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
import bench  # noqa: E402
from bench import Failed, at_least, say  # noqa: E402

PARTS = ["adapter", "tests", "tune", "profiles", "growth", "torch"]
# Where drivers put the file that tells the Vulkan loader about them. Containers mount them in places of their own.
DRIVERS = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/local/nvidia/share/vulkan/icd.d"]


class Places:
    """Where the pieces lie, in a pack or in a working tree."""

    def __init__(self, programs, data, tools, torch, library):
        self.programs, self.data, self.tools, self.torch, self.library = programs, data, tools, torch, library

    @staticmethod
    def pack():
        at = lambda *path: os.path.join(HERE, *path)  # noqa: E731
        programs = {name: at("bin", name) for name in ("lancet", "kernels", "ladder")}
        return Places(programs, at("data"), at("lib"), at("lib", "torch_clip.py"), at("vulkan"))


def environment(places, software):
    """The carried Vulkan loader where the system has none, a driver's file where the loader would not look, the demo model."""
    env = {**os.environ, "CARGO_MANIFEST_DIR": places.data, "LANCET_WEIGHTS": os.path.join(places.data, "weights")}
    env.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    listed = subprocess.run("ldconfig -p 2>/dev/null || /sbin/ldconfig -p", shell=True, capture_output=True, text=True).stdout
    folders = [os.path.dirname(p) for p in glob.glob(os.path.join(places.library or "", "**", "libvulkan.so.1"), recursive=True)]
    if "libvulkan.so.1" not in listed and folders:
        say(f"the system has no Vulkan loader: using the one in {folders[0]}")
        env["LD_LIBRARY_PATH"] = ":".join([*folders, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    files = [f for folder in DRIVERS for f in sorted(glob.glob(os.path.join(folder, "*.json")))]
    if software:
        files = [f for f in files if "lvp" in os.path.basename(f)]
        if not files:
            raise Failed("--software: no file of Mesa lavapipe in " + ", ".join(DRIVERS))
    if software or ("VK_DRIVER_FILES" not in env and files and not any(f.startswith(("/etc", "/usr/share")) for f in files)):
        env["VK_DRIVER_FILES"] = env["VK_ICD_FILENAMES"] = ":".join(files)
    return env


class Session:
    """Runs programs and keeps what they said."""

    def __init__(self, places, args):
        self.places, self.args, self.env = places, args, environment(places, args.software)
        self.until = time.monotonic() + 60 * args.minutes if args.minutes else None

    def run(self, words, timeout=1800):
        """(exit, stdout, stderr); 124 for one that ran too long."""
        if self.until:
            timeout = min(timeout, self.until - time.monotonic())
            if timeout < 5:
                raise Failed("the time of --minutes is over")
        say(" ".join(os.path.basename(words[0]) if i == 0 else w for i, w in enumerate(words)))
        try:
            done = subprocess.run(words, capture_output=True, text=True, env=self.env, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            return 124, error.stdout or "", f"stopped after {timeout:.0f} s"
        except OSError as error:
            raise Failed(f"{words[0]}: {error.strerror}") from None
        return done.returncode, done.stdout, done.stderr

    def lancet(self, *words, timeout=1800):
        """What a subcommand says with --json, or what it complained about."""
        code, out, err = self.run([self.places.programs["lancet"], *words, "--json"], timeout)
        try:
            return json.loads(out) if code == 0 else {"error": (err.strip().splitlines() or [f"exit {code}"])[-1], "exit": code}
        except ValueError:
            return {"error": f"no JSON: {out[:200]}"}

    def tests(self, name):
        """An executable of tests: how many passed, and what failed."""
        start = time.monotonic()
        code, out, err = self.run([self.places.programs[name], *(["kernel::l", "kernel::m"] if self.args.quick and name == "kernels" else [])])
        failed = [line.split()[1] for line in out.splitlines() if line.startswith("test ") and line.endswith("FAILED")]
        passed = sum(line.startswith("test ") and line.endswith("ok") for line in out.splitlines())
        row = {"exit": code, "passed": passed, "failed": failed, "seconds": round(time.monotonic() - start, 1)}
        return row | ({"output": (out + err)[-6000:]} if code else {})

    def model(self, arch):
        """A random model of true size, made once; its folder."""
        folder = os.path.join(self.args.models or os.path.join(tempfile.gettempdir(), "lancet-random-models"), arch)
        numpy = bench.python_with("numpy", [self.args.python, sys.executable, "python3"])
        if numpy is None:
            raise Failed("no python with numpy, which random models need (--python PROGRAM names one)")
        bench.random_model(arch, folder, numpy, os.path.join(self.places.tools, "make_random_clip.py"))
        return folder


def cases(quick, runs):
    """(name, architecture or demo, arguments) of the profiles."""
    if quick:
        for precision in ("f32", "f16", "int8"):
            yield f"demo {precision} batch 1", "demo", ["--precision", precision, "--runs", "2"]
        return
    runs = ["--runs", str(runs)]
    for size in (224, 512):
        for batch in (1, 8, 64):
            for precision in ("f32", "f16", "int8"):
                yield (f"ViT-B-16 {size} px {precision} batch {batch}", "ViT-B-16", ["--size", str(size), "--batch", str(batch), "--precision", precision, *runs])
    yield "ViT-B-16 224 px f32 batch 1, method clip", "ViT-B-16", ["--size", "224", "--method", "clip", "--precision", "f32", *runs]
    for arch in ("ViT-B-32", "ViT-L-14", "RN50"):
        for batch in (1, 8):
            for precision in ("f32", "f16"):
                yield f"{arch} 224 px {precision} batch {batch}", arch, ["--size", "224", "--batch", str(batch), "--precision", precision, *runs]


def adapter(session, report, save):
    report["adapter"] = found = session.lancet("info")
    if "error" in found:
        raise Failed(f"no adapter: {found['error']}")
    say(f"on {found['adapter']} ({found['driver']})")
    if found["device_type"] == "Cpu" and not session.args.software:
        raise Failed(f"the only adapter is {found['adapter']}, a software one; --software runs on it all the same")


def tests(session, report, save):
    rows = report["tests"] = {}
    for name in ("kernels", "ladder"):
        rows[name] = session.tests(name)
        save()
        say(f"{name}: {rows[name]['passed']} passed, {len(rows[name]['failed'])} failed {' '.join(rows[name]['failed'])}")


def tune(session, report, save):
    if session.run([session.places.programs["lancet"], "tune", "--help"])[0] != 0:
        report["tune"] = {"skipped": "this lancet has no subcommand tune"}
        return
    report["tune"] = session.lancet("tune", timeout=900)


def profiles(session, report, save):
    rows = report.setdefault("profiles", {})
    for name, arch, words in cases(session.args.quick, session.args.runs):
        if session.args.cases not in name:
            continue
        folder = arch if arch == "demo" else session.model(arch)
        row = session.lancet("profile", "--model", folder, *words)
        row.pop("model", None)
        # The steps of one are an example; of all they are megabytes.
        if rows and "steps" in row:
            del row["steps"]
        rows[name] = row
        save()
        say(f"{name}: " + (row["error"] if "error" in row else f"{row['median_ms']:.2f} ms, {row['percent_of_ceiling']:.0f} % of the ceilings"))


def growth(session, report, save):
    rows = report["growth"] = {}
    for axis in ("tokens", "labels", "batch"):
        demo = session.args.quick or session.args.growth_model == "demo"
        folder = "demo" if demo else session.model(session.args.growth_model)
        words = ["--runs", "1", "--longest", "0.05"] if session.args.quick else ["--runs", "5", "--longest", str(session.args.longest)]
        rows[axis] = session.lancet("profile", "--grow", axis, "--model", folder, *words)
        save()


def torch(session, report, save):
    python = bench.python_with("torch, numpy", [session.args.python, sys.executable, "python3"])
    if python is None:
        report["torch"] = {"skipped": "PyTorch is not installed"}
        return
    weights = os.path.join(session.model("ViT-B-16"), "open_clip_model.safetensors")
    words = [python, session.places.torch, "--weights", weights, "--figures", *(["--quick"] if session.args.quick else [])]
    code, out, err = session.run(words)
    report["torch"] = json.loads(out) if code == 0 else {"error": err.strip()[-1000:], "exit": code}


def main(places=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="lancet-gpu.json", metavar="FILE", help="where the JSON goes (default lancet-gpu.json)")
    parser.add_argument("--only", metavar="PARTS", help=f"of {','.join(PARTS)} (default: all)")
    parser.add_argument("--minutes", type=at_least(1), metavar="N", help="begin nothing more after this time; the JSON has what was done")
    parser.add_argument("--quick", action="store_true", help="a part of the tests, the bundled model only")
    parser.add_argument("--software", action="store_true", help="on Mesa lavapipe, whatever else there is")
    parser.add_argument("--python", metavar="PROGRAM", help="a python with numpy or torch (default: this one, or python3)")
    parser.add_argument("--models", metavar="FOLDER", help="where random models are made, or lie already (default: the temporary folder)")
    parser.add_argument("--growth-model", default="ViT-B-16", metavar="ARCH", help="the model whose cost is followed, or demo (default ViT-B-16)")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only profiles with this in their name, e.g. \"224 px f32 batch 1\"")
    parser.add_argument("--runs", type=at_least(1), default=20, metavar="N", help="warm runs of a profile (default 20)")
    parser.add_argument("--longest", type=at_least(1), default=60, metavar="S", help="growth ends with a run of this many seconds (default 60)")
    args = parser.parse_args()
    wanted = args.only.split(",") if args.only else PARTS
    if unknown := [part for part in wanted if part not in PARTS]:
        parser.error(f"--only: `{unknown[0]}` is none of {', '.join(PARTS)}")

    failed = 0
    try:
        session = Session(places or Places.pack(), args)
        report = {}
        if args.only and os.path.exists(args.out):
            with open(args.out, encoding="utf-8") as file:
                report = json.load(file)
        commit_file = os.path.join(HERE, "COMMIT")
        commit = open(commit_file, encoding="utf-8").read().strip() if os.path.exists(commit_file) else bench.commit()
        if commit:
            session.env["LANCET_COMMIT"] = commit
        report |= {"machine": bench.machine(), "commit": commit, "quick": args.quick}
        save = lambda: bench.write_json(args.out, report)  # noqa: E731
        steps = {"adapter": adapter, "tests": tests, "tune": tune, "profiles": profiles, "growth": growth, "torch": torch}
        adapter(session, report, save)
        for part in PARTS:
            if part == "adapter" or part not in wanted:
                continue
            try:
                steps[part](session, report, save)
            except Failed as error:
                failed += 1
                report[part] = {**(report.get(part) or {}), "error": str(error)}
                say(f"{part}: {error}")
            save()
        failed += sum(len(row["failed"]) or row["exit"] for row in report.get("tests", {}).values() if isinstance(row, dict))
        say(f"wrote {args.out}")
    except (Failed, ValueError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
