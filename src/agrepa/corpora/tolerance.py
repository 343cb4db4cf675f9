"""How much of a corpus may be missing or unreadable: counted, named, and bounded by the source's ``tolerate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agrepa.errors import CorpusError

if TYPE_CHECKING:
    from agrepa.params.corpora import Source

SHOWN = 5  # files that a message names


def check(name: str, source: Source, problems: Sequence[tuple[str, str]], total: int, where: str) -> None:
    """Print how many of a source's clips cannot be used.

    Args:
        problems: file and reason of each.
        total: of how many clips.
        where: what lists them all.

    Raises CorpusError that names the counts and the first files where they are more than ``tolerate`` allows.
    """
    if not problems:
        return
    counted = f"{len(problems)} of {total} clips are missing or cannot be read"
    if len(problems) > source.tolerate * total:
        first = "\n".join(f"{file}: {reason}" for file, reason in problems[:SHOWN])
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CorpusError(
            f"{name}: {counted}, and corpora.sources.{name}.tolerate allows {source.tolerate:g} of them: copy or download them "
            f"again, or raise tolerate. The first:\n{first}{more}"
        )
    print(f"{name}: {counted}; {where} lists them", file=sys.stderr)
