"""Checkpoints: named arrays and a little JSON in one safetensors file, whole or not at all.

A file is written under a temporary name and then renamed, so that the old one survives a full
disk, a crash, or a power cut.  A digest over every byte shows tampering and silent corruption.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise


class CheckpointError(Exception):
    """A checkpoint could not be written, or is not one that we wrote."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, or leave what was there.  Raises OSError (disk full, no permission)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")      # mkstemp's would be for our eyes only
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON-able metadata.  Raises CheckpointError; an older file at `path` is then intact."""
    text = json.dumps(metadata)
    whole = {"metadata": text, "sha256": _digest(arrays, text)}
    tidy = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    try:
        write_atomically(path, serialise(tidy, whole))
    except OSError as error:
        kept = "the checkpoint that was there is intact" if os.path.exists(path) else "nothing was written"
        raise CheckpointError(f"cannot save {path}: {error.strerror or error}; {kept}. "
                              "Free some space, or choose another folder") from error


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and metadata of a checkpoint.

    Raises CheckpointError for a missing, truncated or tampered file, or one of another kind.
    Nothing in the file is ever executed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    data = path.read_bytes()
    if data[8:9] != b"{" and (data[:1] == b"\x80" or data[:2] == b"PK"):     # ours may start so too: with a length
        raise CheckpointError(f"{path}: this is a pickle or a zip file (PyTorch's, perhaps), which can run code "
                              "when it is opened. minivae reads only its own safetensors checkpoints")
    try:
        arrays = parse(data)
        header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        text, digest = header["metadata"], header["sha256"]
        metadata = json.loads(text)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: truncated, damaged, or not a minivae checkpoint "
                              f"({type(error).__name__}: {error})") from error
    if digest != _digest(arrays, text):
        raise CheckpointError(f"{path}: its contents do not match its digest: the file was changed or damaged "
                              "after it was written")
    return arrays, metadata


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        a = arrays[name]
        digest.update(f"{name} {a.dtype.str} {a.shape}".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()
