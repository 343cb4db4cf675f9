"""The verdicts on the paper's claims: each is forced once, on made-up scores."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import judge, settings, write_collected
from scipy import stats

from agrepa.errors import ArtifactError
from agrepa.params import Experiment
from agrepa.reporting import claims, claims_page, evidence_layers
from agrepa.reporting.collected import read_pairs
from agrepa.reporting.evidence import Evidence, corrected, of_claim, of_part
from agrepa.reporting.evidence_arms import Arms
from agrepa.reporting.probed import Probe

ORDER = ("fog_a_equal", "gradient_norm", "lasp", "random")


def scores(wer: float = 30.0, **differences: tuple[float, float, float]) -> pd.DataFrame:
    """WER of Base and of arms, whose difference to Base has the given value, half width and p; and flow losses of 0.3."""
    lines = []
    for arm, (gap, half, p) in {"base": (nan, nan, nan), **differences}.items():
        for metric, value, unit in (("speech_wer", wer, 1.0), ("speech_flow_loss", 0.3, 0.01)):
            ends = {"difference_low": (gap - half) * unit, "difference_high": (gap + half) * unit, "difference_p": p}
            lines.append({"row": arm, "metric": metric, "value": value, "difference": gap * unit, **ends, "n": 40})
    return pd.DataFrame(lines)


def pairs(**gaps: tuple[float, float, float]) -> pd.DataFrame:
    """Differences in WER between arms ``first__second``: value, half width, p."""
    lines = []
    for names, (gap, half, p) in gaps.items():
        first, second = names.split("__")
        lines.append((first, second, "speech_wer", gap, gap - half, gap + half, p, 40))
    return pd.DataFrame(lines, columns=["first", "second", "metric", "difference", "low", "high", "p", "n"])


def arms_of(demo: Experiment, scored: pd.DataFrame, paired: pd.DataFrame | None = None) -> Arms:
    measured = [metric for metric in claims.judged_by(settings(demo, "claims")) if metric.name != "audio_flow_loss"]
    return Arms(demo.rows, scored, pairs() if paired is None else paired, measured)


def probe(score: list[float], best: tuple[int, ...], sure: float = 1.0, ranked: bool = True, **more: object) -> Probe:
    """Layers with a score and those that are among the best three, in a part ``sure`` of the bootstrap samples."""
    layers = list(range(1, len(score) + 1))
    array = np.array(score, float)
    share = np.where(np.isin(layers, best), sure, 0.0)
    order = [int(layer) + 1 for layer in np.argsort(-array, kind="stable")]
    return Probe(layers, [0.5], array, array, array, array[:, None], 24, order, share, floors={"ranked": ranked}, **more)


def verdict(found: list[Evidence]) -> str:
    """Of the claim that these lines are all of."""
    return next(claims.lines({"claim": found}))["verdict"]


RISING, FALLING = [float(n) for n in range(12)], [float(-n) for n in range(12)]


@pytest.mark.parametrize(
    ("stores", "uses", "expected"),
    [
        (probe(RISING, (10, 11, 12)), probe(FALLING, (1, 2, 3)), "supported"),
        (probe(RISING, (10, 11, 12)), probe(RISING, (10, 11, 12)), "contradicted"),
        (probe(RISING, (10, 11, 12), 0.5), probe(FALLING, (10, 2, 3), 0.5), "undecided"),
        (probe(RISING, (10, 11, 12), ranked=False), probe(FALLING, (1, 2, 3)), "not judged"),
    ],
    ids=["opposite", "the same", "a shared layer of half the samples", "LASP at its floor"],
)
def test_store_and_contribute_are_dissociated(stores: Probe, uses: Probe, expected: str) -> None:
    assert verdict(evidence_layers.dissociation({"speech": stores}, {"speech": uses})) == expected


def test_a_rank_correlation_has_an_interval_over_layers() -> None:
    low, high, p = evidence_layers.over_layers(0.5, 12)
    assert (low, high) == (pytest.approx(-0.14267, abs=1e-5), pytest.approx(0.84610, abs=1e-5))
    assert p == pytest.approx(2 * stats.norm.sf(np.arctanh(0.5) / np.sqrt(1.125 / 9)))
    assert evidence_layers.over_layers(-1.0, 12) == (-1.0, -1.0, 0.0)
    assert all(isnan(number) for number in evidence_layers.over_layers(0.9, 3))


def test_that_interval_covers_what_it_should() -> None:
    rng, truth, covered = np.random.default_rng(0), 6 / np.pi * np.arcsin(-0.6 / 2), 0
    for _ in range(1000):
        x = rng.standard_normal((2, 24))
        y = -0.6 * x[0] + 0.8 * x[1]
        low, high, _ = evidence_layers.over_layers(float(stats.spearmanr(x[0], y).statistic), 24)
        covered += low <= truth <= high
    assert 930 <= covered <= 970


@pytest.mark.parametrize(
    ("gap", "expected", "detectable"),
    [
        ((-6.0, 2.0, 0.001), "supported", nan),
        ((6.0, 2.0, 0.001), "contradicted", nan),
        ((-3.0, 2.5, 0.06), "undecided", 2.5),
    ],
)
def test_one_arm_against_another(demo: Experiment, gap: tuple[float, ...], expected: str, detectable: float) -> None:
    known = (0.0, 1.0, 0.9)
    found = arms_of(demo, scores(fog_a_equal=known, lasp=known), pairs(fog_a_equal__lasp=gap)).against("fog_a_equal", "lasp")
    line = next(claims.lines({"selection": found}))
    assert (line["verdict"], line["says"], line["effect"]) == (expected, expected, gap[0])
    assert line["detectable"] == pytest.approx(detectable, nan_ok=True)
    turned = arms_of(demo, scores(fog_a_equal=known, lasp=known), pairs(lasp__fog_a_equal=gap)).gap(
        "fog_a_equal", "lasp", "speech_wer"
    )
    assert turned == (-gap[0], -gap[0] - gap[1], -gap[0] + gap[1], gap[2], 40)


def test_word_errors_of_speech_that_is_not_understood_are_not_judged(demo: Experiment) -> None:
    known = (0.0, 1.0, 0.9)
    for wer, expected in ((79.0, "supported"), (81.0, "not judged")):
        found = arms_of(demo, scores(wer, fog_a_equal=known, lasp=known), pairs(fog_a_equal__lasp=(-6.0, 2.0, 0.001)))
        assert verdict(found.against("fog_a_equal", "lasp")) == expected


def test_a_claim_whose_arms_were_not_run_names_them(demo: Experiment) -> None:
    (line,) = arms_of(demo, scores(lasp=(0.0, 1.0, 0.9))).against("fog_a_equal", "lasp")
    assert (line.says, line.missing) == ("not run", ("fog_a_equal",))
    assert verdict([line]) == "not run"


def test_ag_repa_beats_every_fixed_choice_or_loses_to_one(demo: Experiment) -> None:
    known = (0.0, 1.0, 0.9)
    scored = scores(**dict.fromkeys(("ag_repa", "repa_l4", "repa_l8"), known))
    for second, expected in (
        ((-6.0, 2.0, 0.001), "supported"),
        ((6.0, 2.0, 0.001), "contradicted"),
        ((-1.0, 2.0, 0.3), "undecided"),
    ):
        found = arms_of(demo, scored, pairs(ag_repa__repa_l4=(-6.0, 2.0, 0.001), ag_repa__repa_l8=second))
        assert verdict([line for arm in ("repa_l4", "repa_l8") for line in found.against("ag_repa", arm)]) == expected


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ((1.0, 2.0, 0.3), "supported"),  # a gain of 1 point at most, of 1.5 that would count
        ((0.0, 2.0, 0.9), "undecided"),
        ((-4.0, 2.0, 0.001), "contradicted"),
        ((6.0, 2.0, 0.001), "supported"),
    ],
)
def test_deep_layers_do_not_help_where_a_gain_of_a_twentieth_is_left_out(
    demo: Experiment, gap: tuple[float, float, float], expected: str
) -> None:
    """Of WER 30 that is 1.5 points, of flow loss 0.3 it is 0.015."""
    assert verdict(arms_of(demo, scores(repa_deep=gap)).no_help("repa_deep")) == expected


@pytest.mark.parametrize(
    ("losses", "half", "expected"),
    [
        ((0.36, 0.29, 0.28, 0.27), 0.001, ("supported", 2.0, 2.0, 4.0)),
        ((0.33, 0.32, 0.31, 0.301), 0.0005, ("contradicted", nan, 0.0, 1.0)),
        ((0.29, 0.28, 0.27, 0.26), 0.001, ("supported", 4.0, 4.0, inf)),
        ((0.31, 0.30, 0.296, 0.26), 0.005, ("undecided", 2.0, 1.0, 4.0)),
    ],
    ids=["after half", "never", "at the first validation", "not told from Base's at first"],
)
def test_steps_to_bases_last_loss(
    demo: Experiment, losses: tuple[float, ...], half: float, expected: tuple[str, float, float, float]
) -> None:
    """A warm-up of 1000 steps, four validations 100 steps apart; Base ends at a loss of 0.3."""
    known = {"base": (0.4, 0.35, 0.32, 0.3), "ag_repa": losses}
    lines = [
        (row, 0, 1100 + 100 * place, "validation_flow_speech", loss)
        for row, its in known.items()
        for place, loss in enumerate(its)
    ]
    curves = pd.DataFrame(lines, columns=["row", "seed", "step", "series", "value"])
    (line,) = arms_of(demo, scores(ag_repa=(0.0, 100 * half, 0.5))).sooner("ag_repa", curves, 1000)
    assert (line.says, line.effect, line.low, line.high) == pytest.approx(expected, nan_ok=True)


def test_the_order_of_strategies_is_one_of_every_two(demo: Experiment) -> None:
    scored = scores(**dict.fromkeys(ORDER, (0.0, 1.0, 0.9)))
    held = claims.PAIRS["order"]
    assert len(held) == 6 and held[0] == ("fog_a_equal", "gradient_norm") and held[-1] == ("lasp", "random")
    sure = {f"{better}__{worse}": (-6.0, 2.0, 0.001) for better, worse in held}
    for name, gap, expected in (
        ("lasp__random", (-6.0, 2.0, 0.001), "supported"),
        ("fog_a_equal__random", (6.0, 2.0, 0.001), "contradicted"),
        ("lasp__random", (-1.0, 2.0, 0.3), "undecided"),
    ):
        found = arms_of(demo, scored, pairs(**sure | {name: gap}))
        assert verdict([line for better, worse in held for line in found.against(better, worse)]) == expected


@pytest.mark.parametrize(
    ("middle", "correlation", "expected"),
    [([4, 3, 2, 1], 0.99, "supported"), ([1, 2, 3, 4], 0.99, "supported"), ([4, 3, 2, 1], 0.1, "contradicted"),
     ([4, 3, 2, 1], 0.85, "undecided"), ([1, 2, 3, 4, 5, 6], 0.99, "contradicted")],
    ids=["same", "two of three", "another order", "unsure order", "another three"],
)  # fmt: skip
def test_the_selection_is_stable_in_the_second_half_of_the_warm_up(middle: list[int], correlation: float, expected: str) -> None:
    """Layers 1, 2, 3 are the best at the end; the snapshot at 100 has no say."""
    depth = 12
    found = {100: RISING, 200: [*middle, *[0.0] * (depth - len(middle))], 300: FALLING}
    lines = [(0, step, "speech", layer, score, correlation) for step, its in found.items() for layer, score in enumerate(its, 1)]
    trend = pd.DataFrame(lines, columns=["seed", "step", "domain", "layer", "score", "rank_correlation"])
    assert verdict(evidence_layers.stability(trend, depth, 0.8)) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.6, 0.7, "supported"), (0.82, 0.9, "contradicted"), (0.7, 0.9, "undecided")]
)
def test_fog_a_says_more_than_the_size_of_an_update(low: float, high: float, expected: str) -> None:
    beside = {"correlations": [{"between": ["fog_a", "update_size"], "value": (low + high) / 2, "low": low, "high": high}]}
    fog_a = {"speech": probe(FALLING, (1, 2, 3), controls=beside)}
    assert verdict(evidence_layers.beyond(fog_a, "update_size", 0.8)) == expected
    with pytest.raises(ArtifactError, match=r"lacks the control mean_ablation for speech: run the stage fog_a again"):
        evidence_layers.beyond(fog_a, "mean_ablation", 0.8)


def test_holms_correction_is_over_all_tests_and_counts_each_once() -> None:
    line = Evidence("a", "WER", -1.0, p=0.02, test=("a", "b", "speech_wer"), sign=-1)
    other = Evidence("c", "WER", -1.0, p=0.03, test=("a", "c", "speech_wer"), sign=-1)
    unheard = replace(other, p=0.001, test=("d",), says="not judged")
    found = corrected([line, line, unheard])
    assert [(one.p_holm, one.says) for one in found[:2]] == [(0.02, "supported")] * 2
    assert isnan(found[2].p_holm) and found[2].says == "not judged"
    assert [(one.p_holm, one.says) for one in corrected([line, other])] == [(0.04, "supported")] * 2
    assert [one.says for one in corrected([replace(line, p=0.026), other])] == ["undecided", "undecided"]


def test_one_part_contradicts_a_claim_and_only_all_support_it() -> None:
    assert of_part(["supported", "undecided", "not judged"]) == "supported"
    assert of_part(["supported", "contradicted"]) == "undecided", "metrics disagree"
    assert of_claim(["supported", "not judged"]) == "supported"
    assert of_claim(["supported", "not run", "contradicted"]) == "contradicted"
    assert of_claim(["supported", "undecided", "not run"]) == "not run"
    assert of_claim(["supported", "undecided"]) == "undecided"
    assert of_claim([]) == of_part([]) == "not judged"


def test_every_claim_has_a_verdict_and_the_arms_that_it_lacks(demo: Experiment, tmp_path: Path) -> None:
    collected = write_collected(tmp_path / "scores")
    judge(demo, collected, tmp_path)
    frame = claims_page.read_claims(tmp_path / "claims.csv")
    assert set(frame["claim"]) == set(claims_page.CLAIMS)
    text = (tmp_path / "claims.md").read_text()
    assert "not run: selection, fixed layers, deep layers, order, beyond update size, beyond mean ablation." in text
    assert "Not run: name under arms in the params: repa_l4, repa_l12, repa_l4_8_12, fog_a_equal, repa_shallow." in text
    assert "AG-REPA (FoG-A top-3) against REPA @ n/3 | speech FAD (YAMNet)" in text
    again = tmp_path / "again"
    again.mkdir()
    judge(demo, collected, again)
    assert (again / "claims.md").read_bytes() == (tmp_path / "claims.md").read_bytes()


def test_results_without_pairs_say_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pairs\.csv is missing: run the stage that writes it"):
        read_pairs(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("effect", "low", "high", "text"),
    [
        (4.0, 4.0, inf, "4.00 [4.00, no upper end]"),
        (nan, 0.0, 1.0, "not reached [0.00, 1.00]"),
        (2.0, 1.0, 4.0, "2.00 [1.00, 4.00]"),
    ],
)
def test_steps_without_a_value_or_an_upper_end_are_told_in_words(
    demo: Experiment, tmp_path: Path, effect: float, low: float, high: float, text: str
) -> None:
    line = Evidence("AG-REPA", "Base's steps over its own", effect, low, high, n=40, says="supported")
    frame = pd.DataFrame(claims.lines({"steps": [line]}), columns=claims_page.COLUMNS)
    frame.to_csv(tmp_path / "claims.csv", index=False)
    shown = claims_page.page(settings(demo, "claims"), claims_page.read_claims(tmp_path / "claims.csv"))
    assert shown.grids[0].rows[0][2] == text
    assert shown.notes[0].endswith(f"Supported: AG-REPA (Base's steps over its own {text}).")
    assert shown.reading == "At this scale, of 1 claims: supported: steps."
