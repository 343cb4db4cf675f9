"""What pins an archive of several files: a hub's commit and the SHA-256 of each file, as they are found now."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agrepa.archives.packed import ENDPOINT
from agrepa.artifacts.files import sha256
from agrepa.errors import FetchError
from agrepa.params.archives import UNPINNED

if TYPE_CHECKING:
    from agrepa.params.archives import Archive


def pin(archive: Archive) -> dict[str, object]:
    """The keys ``version`` and ``files`` for archives.yaml.

    A hub's version is the newest commit, unless it is pinned already. Hashes of large files are those that the hub states; small
    files are downloaded.

    Raises FetchError when the archive is no hub and no folder, the hub cannot be reached or lacks a file, or the folder does.
    """
    if archive.kind == "folder":
        folder = Path(str(archive.path)).expanduser()
        if missing := [name for name in archive.files or () if not (folder / name).is_file()]:
            raise FetchError(f"{archive.package}: the folder {folder} lacks {', '.join(missing)}: correct path or files")
        return {"version": archive.version, "files": {name: sha256(folder / name) for name in archive.files or ()}}
    if archive.kind == "hub":
        return _from_hub(archive)
    raise FetchError(
        f"{archive.package}: an archive of kind {archive.kind} has one hash: that of its file, by sha256sum or md5sum"
    )


def _from_hub(archive: Archive) -> dict[str, object]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    hub = os.environ.get("HF_ENDPOINT", ENDPOINT)
    asked = None if archive.version == UNPINNED else archive.version
    try:
        found = HfApi(endpoint=hub).model_info(archive.package, revision=asked, files_metadata=True)
        stated = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in found.siblings or ()}
        if missing := [name for name in archive.files or () if name not in stated]:
            raise FetchError(f"{archive.package} at {found.sha} lacks {', '.join(missing)}: correct files in archives.yaml")
        files = {}
        with tempfile.TemporaryDirectory() as scratch:
            for name in archive.files or ():
                files[name] = stated[name] or sha256(
                    Path(hf_hub_download(archive.package, name, revision=found.sha, local_dir=scratch, endpoint=hub))
                )
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise FetchError(f"{archive.package}: the hub gives no answer ({error}): run this where it can be reached") from None
    return {"version": found.sha, "files": files}
