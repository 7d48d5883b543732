"""What every part shares: errors that are told in one line, files that are written whole or not at all."""

import hashlib
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Problem(Exception):
    """Something the user can mend: shown as one line, exit status 1."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


@contextmanager
def whole_file(path):
    """Yields a temporary path beside `path`; renames it when the block ends well, removes it when not."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise Problem(f"cannot write {path}: {error.strerror or error} (free space on that disk?)") from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path, data):
    with whole_file(path) as part:
        part.write_bytes(data)


def write_json(path, value):
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
