"""The answer of an experiment, in sentences."""

from __future__ import annotations

import pandas as pd

from agrepa.reporting import answer


def test_the_answer_stands_first_with_levels_differences_and_what_they_amount_to() -> None:
    scores = pd.DataFrame(
        [("base", "speech_wer", 52.36, 45.74, 59.94, 1), ("control", "speech_wer", 114.8, 106.6, 123.7, 1)],
        columns=["row", "metric", "value", "low", "high", "seeds"],
    )
    gaps = pd.DataFrame(
        [
            ("REPA", "repa_l8", "speech_wer", 10.24, 4.906, 15.58, "worse"),
            ("AG-REPA", "ag_repa", "speech_wer", -0.23, -5.56, 5.1, ""),
            ("AG-REPA", "ag_repa", "speech_cer", -3.0, -4.0, -2.0, "better"),
            ("Control", "", "speech_wer", 62.5, 54.3, 70.7, "worse"),
        ],
        columns=["method", "arm", "metric", "difference", "low", "high", "verdict"],
    )
    assert answer.sentences({"base": "Base", "control": "Control"}, scores, gaps) == [
        "Word error rate of speech: Base 52.4 [45.7, 59.9] %; Control 115 [107, 124] %.",
        "REPA, against Base: +10.2 [4.9, 15.6] points of WER, worse.",
        "AG-REPA, against Base: -0.23 [-5.56, 5.10] points of WER, no difference is seen.",
        "One training a row: the intervals say how values vary with the clips, not with the training.",
    ]
    assert answer.sentences({}, scores.iloc[:0], gaps.iloc[:0]) == []
    assert answer.heard([{"domain": "audio"}]) is None
