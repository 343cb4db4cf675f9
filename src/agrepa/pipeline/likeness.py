"""What the run cards of two runs say of each other: the same params, computed alike, the same code, and on what machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agrepa.errors import ArtifactError
from agrepa.pipeline.provenance import LIBRARIES

Card = dict[str, Any]
Cards = Mapping[str, Card]  # by the name of the card's file
ARITHMETIC = ("numerics", "threads", "training.accelerator")
"""Params that choose how a machine computes and not what."""
NO_LIBRARY = ("agrepa", "python")
UNSAID = "not said"


def read(files: Mapping[str, bytes], where: str) -> dict[str, Card]:
    """Run cards from the bytes of a folder's files.

    Args:
        where: what an error calls the folder.

    Raises ArtifactError for one that is no JSON.
    """
    cards = {}
    for name, data in files.items():
        try:
            cards[name] = json.loads(data)
        except ValueError as error:
            raise ArtifactError(f"{where}/{name} is not valid JSON ({error}): take the results from their commit again") from None
    return cards


def scores_card(cards: Cards, scores: bytes, where: str) -> Card:
    """The card of the job that wrote these scores.

    Args:
        scores: the bytes of scores.csv.
        where: what an error calls the results.

    Raises ArtifactError when no card is of these very bytes.
    """
    wanted = hashlib.sha256(scores).hexdigest()
    for card in cards.values():
        if card["stage"] == "scores" and wanted in card["outputs"].values():
            return card
    raise ArtifactError(
        f"{where}: no run card in cards/ is of this scores.csv (sha256 {wanted[:12]}), so it was changed or comes from another "
        "run: run snakemake until nothing is left to do, or take the results from one commit"
    )


def params(cards: Cards) -> dict[str, Any]:
    """All params that the jobs of a run read, by dotted key, less those of ``ARITHMETIC``."""
    found: dict[str, Any] = {}
    for card in cards.values():
        found |= _flat(card["params"])
    return {k: v for k, v in found.items() if not any(k == key or k.startswith(f"{key}.") for key in ARITHMETIC)}


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or (key and not value):
        return {key: value}
    parts = [_flat(part, f"{key}.{name}" if key else name) for name, part in value.items()]
    return {name: leaf for part in parts for name, leaf in part.items()}


def different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """``key: before > after`` for each of two runs' ``params`` that differs or that only one of them read."""
    keys = sorted(key for key in before | after if key not in before or key not in after or before[key] != after[key])
    said = [[json.dumps(found[key]) if key in found else "not read" for key in keys] for found in (before, after)]
    return [f"{key}: {one} > {other}" for key, one, other in zip(keys, *said, strict=True)]


def seedless(found: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` but for the seeds, whose number stays: what whole replications have in common."""
    return {key: len(value) if key == "seeds" else value for key, value in found.items() if key != "seed"}


def arithmetic(card: Card) -> dict[str, Any]:
    """What the last bits of a job's numbers depend on besides its params and code.

    With AVX2 that is the threads and the libraries; with native instructions the machine's own and its CPU as well, and with
    a GPU that. Of a training also on how many processes and in how many micro-batches it was carried out.
    """
    hardware, numerics = card["hardware"], card.get("numerics", UNSAID)
    found = {"numerics": numerics, "threads": card["threads"], **card.get("carried_out", {})}
    found |= {name: version for name, version in card["versions"].items() if name in LIBRARIES and name not in NO_LIBRARY}
    if numerics != "AVX2":
        found |= {"cpu": hardware["cpu"], "instructions": hardware.get("instructions", UNSAID)}
    accelerator = _flat(card["params"]).get("training.accelerator", "cpu")
    return found | ({} if accelerator == "cpu" else {"accelerator": accelerator, "gpu": hardware["gpu"]})


def unlike(old: Cards, new: Cards) -> list[str]:
    """What keeps two runs from being computed alike, as names of ``arithmetic``; none where equal bytes can be demanded."""
    pairs = [(arithmetic(old[name]), arithmetic(new[name])) for name in old if name in new]
    names = dict.fromkeys(
        name for a, b in pairs for name in a | b if a.get(name) != b.get(name) or UNSAID in (a.get(name), b.get(name))
    )
    return list(names) if pairs else ["jobs"]


def other_code(old: Cards, new: Cards) -> list[str]:
    """The stages whose code differs, and those that only one run has."""
    return sorted({card["stage"] for one, other in ((old, new), (new, old)) for name, card in one.items()
                   if name not in other or card["source"] != other[name]["source"]})  # fmt: skip


def machines(cards: Cards) -> dict[str, str]:
    """Commit, machine and versions of a run, each as text; several where its jobs ran in several places."""
    found: dict[str, dict[str, None]] = {}
    for card in cards.values():
        git, hardware = card["git"], card["hardware"]
        commit = "no git" if git is None else git["commit"][:10] + (" + local changes" if git["dirty"] else "")
        said = {"commit": commit, "computed with": card.get("numerics", UNSAID), "cpu": hardware["cpu"]}
        said |= {"instructions": " ".join(hardware.get("instructions", [UNSAID])), "gpu": hardware["gpu"] or "none"}
        said |= {"cores": hardware["cores"], "system": hardware["system"]} | card["versions"]
        for name, value in said.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: "; ".join(values) for name, values in found.items()}
