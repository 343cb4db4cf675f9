"""What the tests of the paper's networks share: files on disk, pinned as an archive of kind folder and fetched as any other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from agrepa.archives import fetch
from agrepa.params.archives import Archive
from agrepa.params.stages import FetchSettings


def archive(folder: Path, *names: str, **changes: Any) -> Archive:
    """Files of a folder, all of them by default, as they would be pinned in archives.yaml."""
    names = names or tuple(sorted(path.name for path in folder.iterdir()))
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    settings = {
        "kind": "folder",
        "package": "a tiny network",
        "version": "1",
        "file": f"{folder.name}.zip",
        "files": digests,
        "path": str(folder),
        "megabytes": 1,
        "role": "a test",
        "licence": "CC0",
        "attribution": "nobody",
    }
    return Archive(**(settings | changes))


def packed(folder: Path, *names: str) -> Path:
    """The archive of the files of a folder, through the fetch stage, in ``downloads`` beside it."""
    out = folder.parent / "downloads" / f"{folder.name}.zip"
    fetch.run(FetchSettings(archive=archive(folder, *names)), archive=folder.name, out=out)
    return out


def written(folder: Path, **files: Any) -> Path:
    """A folder of files: bytes, JSON of mappings, or torch checkpoints; ``__`` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content))
        else:
            torch.save(content, path)
    return folder
