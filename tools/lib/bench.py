"""What the measuring tools share: building programs, random models, and a word on the machine. Needs nothing but Python."""

import datetime
import json
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "target", "bench-peers")
ARCHS = {"b16": "ViT-B-16", "b32": "ViT-B-32", "l14": "ViT-L-14", "rn50": "RN50"}


class Failed(Exception):
    """Something a user can act on; the message says what."""


def say(text):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)


def cargo(folder, arguments):
    """Runs cargo in `folder`; the messages it printed as JSON."""
    try:
        command = ["cargo", *arguments, "--message-format=json-render-diagnostics"]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Failed("cargo is not installed: see https://rustup.rs") from None
    if done.returncode:
        raise Failed(f"cargo {' '.join(arguments)} failed (its messages are above)")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def executable(messages, name):
    """The executable of a target among cargo's messages."""
    for message in reversed(messages):
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise Failed(f"cargo built no executable named {name}")


def build(folder, program):
    """`cargo build --release` of one program; its path."""
    say(f"building {program} (the first time takes minutes)")
    return executable(cargo(folder, ["build", "--release", "--bin", program]), program)


def python_with(modules, candidates):
    """The first of these pythons that can import all the modules, or None."""
    for python in dict.fromkeys(c for c in candidates if c):
        try:
            if subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode == 0:
                return python
        except OSError:
            pass
    return None


def venv(folder, packages):
    """A python with these packages from PyPI, in a virtual environment of its own."""
    say(f"installing {', '.join(packages)} into {folder}")
    python = os.path.join(folder, "bin", "python")
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, stdout=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError):
        raise Failed(f"{', '.join(packages)} could not be installed into {folder} (see above)") from None
    return python


def random_model(arch, folder, python, maker):
    """A folder with a random model of true size, made once; the weights file in it."""
    weights = os.path.join(folder, "open_clip_model.safetensors")
    if not all(os.path.exists(os.path.join(folder, f)) for f in (weights, "open_clip_config.json")):
        say(f"writing a random {arch} (0.4 to 1.7 GB) into {folder}")
        command = [python, maker, "--arch", arch, "--layout", "openclip", "--out", folder]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise Failed(f"{os.path.basename(maker)} failed (its message is above)")
    return weights


def commit():
    """The commit of this working tree, `-dirty` behind it where files differ; None outside a repository."""
    try:
        done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine():
    """Where and when."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as text:
            cpu = next((line.partition(":")[2].strip() for line in text if line.startswith("model name")), cpu)
    except OSError:
        pass
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(v, 2) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def write_json(path, value):
    """The whole file or none of it."""
    waiting = f"{path}.{os.getpid()}.tmp"
    with open(waiting, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(waiting, path)


def at_least(least):
    """For argparse: a whole number from `least` on."""
    def parse(text):
        import argparse
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number
    return parse
