"""Evidence from probes: which layers store, which contribute, and whether FoG-A's order of them stays and says something new."""

from __future__ import annotations

from math import atanh, nan, sqrt, tanh
from typing import TYPE_CHECKING

from scipy import stats

from agrepa.domains import DOMAINS
from agrepa.errors import ArtifactError
from agrepa.evaluation.statistics import LEVEL
from agrepa.reporting import table_stability
from agrepa.reporting.evidence import CONTRADICTED, NOT_JUDGED, SUPPORTED, UNDECIDED, Evidence
from agrepa.reporting.table_scd import NAMES, TOP

if TYPE_CHECKING:
    import pandas as pd

    from agrepa.reporting.probed import Probe

OVERLAP = 0.5  # Jaccard's, of the best three: two of three stay, as between the paper's snapshots
Probes = dict[str, "Probe"]


def over_layers(correlation: float, layers: int) -> tuple[float, float, float]:
    """Ends of the 95 % interval and p of a rank correlation, layers taken as a sample.

    Fisher's z with the variance (1 + r²/2) / (L - 3) of Bonett & Wright (2000). NaN below four layers.
    """
    if layers < 4 or abs(correlation) >= 1:
        return (correlation, correlation, 0.0) if layers >= 4 else (nan, nan, nan)
    z, error = atanh(correlation), sqrt((1 + correlation**2 / 2) / (layers - 3))
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    return tanh(z - half), tanh(z + half), 2 * float(stats.norm.sf(abs(z) / error))


def dissociation(lasp: Probes, fog_a: Probes) -> list[Evidence]:
    """The evidence that LASP and FoG-A put other layers first; not judged where LASP does not clear its floors.

    Layers shared by the best three are judged by the bootstraps over clips of both probes, s being the part of the samples
    in which a layer is among the best three: none is shared where the expected number, the sum of s s' over layers, is at most
    0.05, and one surely is where s s' of it is at least 0.95.
    """
    lines = []
    for domain in (domain for domain in DOMAINS if domain in lasp and domain in fog_a):
        knows, uses = lasp[domain], fog_a[domain]
        at = [uses.at(layer) for layer in knows.layers]
        correlation, judged = (
            float(stats.spearmanr(knows.score, uses.score[at]).statistic),
            bool(knows.floors.get("ranked", True)),
        )
        low, high, p = over_layers(correlation, len(at))
        lines.append(
            Evidence(
                f"rank correlation below zero, {domain}", "rank correlation of LASP with FoG-A over layers", correlation, low,
                high, n=len(at), p=p, test=("layers", domain), sign=-1, says=UNDECIDED if judged else NOT_JUDGED,
            )
        )  # fmt: skip
        both = knows.stability * uses.stability[at]
        shared = SUPPORTED if both.sum() <= 1 - LEVEL else CONTRADICTED if both.max() >= LEVEL else UNDECIDED
        common = len({*knows.ranking[:TOP]} & {*uses.ranking[:TOP]})
        says = shared if judged else NOT_JUDGED
        lines.append(Evidence(f"other best three, {domain}", "layers among the best three of both", common, n=len(at), says=says))
    return lines


def stability(trend: pd.DataFrame, depth: int, settled: float) -> list[Evidence]:
    """The evidence that FoG-A's order of the layers had come to rest in the second half of the warm-up.

    Args:
        settled: the rank correlation from which on two orders count as the same.
    """
    frame = table_stability.snapshots(trend)
    last = frame["step"].max()
    lines = []
    for domain in (domain for domain in DOMAINS if frame[f"jaccard_{domain}"].notna().any()):
        # Of several seeds, the one whose order changed most.
        correlation = float(frame[frame["step"] == last][f"rank_correlation_{domain}"].min())
        low, high, _ = over_layers(correlation, depth)
        lines.append(
            Evidence(
                f"order of the layers, {domain}", "rank correlation of the last two snapshots", correlation, low, high, n=depth,
                says=_same(low, high, settled, alike=SUPPORTED, other=CONTRADICTED),
            )
        )  # fmt: skip
        late = frame[(frame["step"] >= last / 2) & (frame["step"] < last)][f"jaccard_{domain}"]
        if len(late):
            least = float(late.min())
            says = SUPPORTED if least >= OVERLAP else CONTRADICTED
            lines.append(Evidence(f"best three, {domain}", "least overlap with those of the end", least, n=depth, says=says))
    return lines


def beyond(fog_a: Probes, control: str, settled: float) -> list[Evidence]:
    """The evidence that FoG-A orders layers otherwise than one of its controls: its interval is over clips.

    Raises ArtifactError when the probe has no such control.
    """
    lines = []
    for domain, probe in fog_a.items():
        found = next((c for c in probe.controls.get("correlations", []) if c["between"] == ["fog_a", control]), None)
        if found is None:
            raise ArtifactError(f"fog_a.json lacks the control {control} for {domain}: run the stage fog_a again")
        value, low, high = (nan if found[key] is None else float(found[key]) for key in ("value", "low", "high"))
        says = _same(low, high, settled, alike=CONTRADICTED, other=SUPPORTED)
        measure = f"rank correlation of FoG-A with {NAMES[control]}"
        lines.append(Evidence(f"another order, {domain}", measure, value, low, high, n=probe.clips, says=says))
    return lines


def _same(low: float, high: float, settled: float, *, alike: str, other: str) -> str:
    """What an interval says that lies above or below the rank correlation from which on two orders are the same."""
    return alike if low >= settled else other if high < settled else UNDECIDED
