"""Content hashes of inputs, remembered by size and time of change, so that a file is hashed once and not in every job."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agrepa.artifacts.files import sha256

MEMORY = Path("work/.hashes.sqlite")
WAIT_SECONDS = 30.0
TABLE = "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT)"


def hash_of(path: Path) -> str:
    """``sha256`` of a file, from memory where size and time of change are those of the last look; a folder is always read."""
    if path.is_dir():
        return sha256(path)
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    try:
        MEMORY.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(MEMORY, timeout=WAIT_SECONDS)) as memory, memory:
            memory.execute(TABLE)
            known = memory.execute("SELECT sha256 FROM hashes WHERE path = ? AND size = ? AND changed = ?", key).fetchone()
            if known:
                return str(known[0])
            found = sha256(path)
            memory.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", (*key, found))
            return found
    except sqlite3.Error:
        # Only a memory: on a file system without locks, or one that is read-only, hashing again is right, just slower.
        return sha256(path)
