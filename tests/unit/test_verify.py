"""Whether published numbers came out again, in a real git repository with small results."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_compare import git
from typer.testing import CliRunner

from agrepa.artifacts.files import read_json, write_json
from agrepa.errors import ArtifactError
from agrepa.pipeline import likeness
from agrepa.pipeline.command_line import app
from agrepa.pipeline.replications import write_spread
from agrepa.pipeline.verify import verify
from agrepa.reporting.spread import half_width

DEMO = Path(__file__).resolve().parents[2] / "params" / "demo.yaml"
PUBLISHED = {"ground_truth": 9.0, "base": 90.0, "ag_repa": 80.0}
CARD: dict[str, Any] = {
    "params": {"seed": 0, "seeds": [0], "training": {"warmup_steps": 400, "accelerator": "cpu"}, "threads.arms": 1},
    "numerics": "AVX2", "threads": 1, "source": "aa", "git": {"commit": "c" * 40, "dirty": False}, "started": "monday",
    "versions": {"agrepa": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
    "hardware": {"cpu": "EPYC", "instructions": ["avx2", "fma"], "gpu": None, "cores": 2, "system": "Linux"},
}  # fmt: skip
Change = Callable[[dict[str, Any]], object]


def results(root: Path, values: dict[str, float], change: Change = lambda card: None, started: str = "tuesday") -> None:
    """What a run leaves in results/demo, with the cards of two jobs."""
    folder = root / "results" / "demo"
    lines = [{"row": row, "metric": "speech_wer", "value": v, "low": v - 1, "high": v + 1} for row, v in values.items()]
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(lines).to_csv(folder / "scores" / "scores.csv", index=False)
    digest = hashlib.sha256((folder / "scores" / "scores.csv").read_bytes()).hexdigest()
    for stage, outputs in {"train": {"work/demo/arms/base": "bb"}, "scores": {"results/demo/scores/scores.csv": digest}}.items():
        card = copy.deepcopy(CARD) | {"stage": stage, "outputs": outputs, "started": started}
        change(card)
        write_json(folder / "cards" / f"{stage}.card.json", card)


def save(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-m", "results")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with published results, whose working tree is as it was committed."""
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "README").write_text("nothing yet")
    save(tmp_path)
    git(tmp_path, "tag", "before")
    results(tmp_path, PUBLISHED, started="monday")
    save(tmp_path)
    return tmp_path


def with_spread(root: Path) -> float:
    """Publish a spread of three runs, and what half width follows: the deviations are -2, 0, 2 and -1, 0, 1."""
    folders = []
    for seed, (base, ag_repa) in enumerate([(90, 80), (92, 81), (94, 82)]):
        elsewhere = root.parent / f"{root.name}-{seed}"
        results(elsewhere, PUBLISHED | {"base": base, "ag_repa": ag_repa}, reseeded(seed))
        folders.append(elsewhere / "results" / "demo" / "scores")
    write_spread(root, "demo", folders)
    save(root)
    return half_width(1.58114, 4)


def reseeded(seed: int) -> Change:
    return lambda card: card["params"].update(seed=seed, seeds=[seed])


def natively(card: dict[str, Any]) -> None:
    card["numerics"] = "native"
    card["hardware"] |= {"cpu": "Xeon", "instructions": ["avx2", "avx512f", "fma"]}


def verdict(root: Path, revision: str = "HEAD") -> tuple[bool, str]:
    return verify(root, "demo", Path("params/demo.yaml"), revision)


def test_equal_bytes_pass(root: Path) -> None:
    results(root, PUBLISHED)
    passed, text = verdict(root)
    assert passed
    assert "Computed alike, so every byte counts: 3 of 3 scores agree to the byte" in text
    assert "| the same to the byte | 3 |" in text
    assert "What differs" not in text
    assert "came out again." in text


def test_runs_computed_alike_must_not_differ_in_a_digit(root: Path) -> None:
    results(root, PUBLISHED | {"base": 90.1})
    passed, text = verdict(root)
    assert not passed
    assert "2 of 3 scores agree to the byte" in text
    assert "did NOT come out again" in text
    cells = "value 90.0 > 90.1, low 89.0 > 89.1, high 91.0 > 91.1"
    assert f"| base speech_wer | inside | 90.0 [89.0, 91.0] | 90.1 | {cells} |" in text


def test_another_kind_of_machine_may_differ_within_the_interval(root: Path) -> None:
    half = with_spread(root)
    results(root, PUBLISHED | {"base": 90 + half - 0.01, "ag_repa": 80 - half + 0.01}, natively)
    passed, text = verdict(root)
    assert passed
    assert "Computed otherwise (numerics, cpu, instructions), so intervals decide: 1 of 3 scores agree to the byte, 2 lie" in text
    assert "Only intervals over clips" not in text
    assert "| computed with | AVX2 | native |" in text
    assert "| instructions only here | - | avx512f |" in text
    assert "| cpu | EPYC | Xeon |" in text
    assert "Not inside" not in text


def test_no_more_may_lie_outside_than_chance_allows_and_each_is_told(root: Path) -> None:
    results(root, {"ground_truth": 8.5, "base": 92, "ag_repa": 77}, natively)
    passed, text = verdict(root)
    assert not passed
    assert "0 of 3 scores agree to the byte, 1 lie inside their interval and 2 outside, of which 0.2 are expected" in text
    assert "| expected outside, at 95 % | 0.2 |" in text
    assert "| allowed outside, at 99 % | 1 |" in text
    assert "| base speech_wer | outside | 90.0 [89.0, 91.0] | 92.0 |" in text
    assert "| ground_truth speech_wer" not in text
    assert "Only intervals over clips are known ('HEAD' has no results/demo/spread.csv)" in text


def test_a_spread_of_other_params_is_not_used(root: Path) -> None:
    with_spread(root)
    card = root / "results" / "demo" / "spread.csv.card.json"
    stored = read_json(card)
    assert stored["params"] == {"seeds": 1, "training.warmup_steps": 400}
    write_json(card, stored | {"params": {"seeds": 1, "training.warmup_steps": 500}})
    save(root)
    results(root, PUBLISHED, natively)
    assert "was made with other params: training.warmup_steps: 500 > 400" in verdict(root)[1]


def test_other_code_is_allowed_and_said_and_so_are_jobs_that_were_not_run_anew(root: Path) -> None:
    results(root, PUBLISHED, lambda card: card.update(source="ab") if card["stage"] == "train" else None)
    passed, text = verdict(root)
    assert passed
    assert "The code differs in the stages train." in text
    assert "not run anew" not in text
    results(root, PUBLISHED, lambda card: card.update(started="monday") if card["stage"] == "train" else None)
    assert "1 of 2 jobs were not run anew" in verdict(root)[1]


def test_other_params_are_listed_and_nothing_is_compared(root: Path) -> None:
    def change(card: dict[str, Any]) -> None:
        card["params"]["training"] |= {"warmup_steps": 500, "ema": 0.9, "accelerator": "auto"}
        card["params"] |= {"seed": 1, "threads.arms": 2, "numerics": "native"}

    results(root, PUBLISHED, change)
    with pytest.raises(ArtifactError) as error:
        verdict(root)
    said, *lines = str(error.value).split("\n  ")
    assert "results/demo has other params than at 'HEAD', so that a comparison says nothing" in said
    assert lines == ["seed: 0 > 1", "training.warmup_steps: 400 > 500"]


def test_a_key_that_is_newer_than_the_published_run_is_named_and_allowed(root: Path) -> None:
    results(root, PUBLISHED, lambda card: card["params"]["training"].update(ema=0.9))
    passed, text = verdict(root)
    assert passed and "Keys that the published params did not have yet: training.ema." in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda card: None, []),
        (lambda card: card["hardware"].update(cpu="Xeon", instructions=["avx512f"], system="Mac"), []),
        (lambda card: card["versions"].update(python="3.11.9", agrepa="0.2.0"), []),
        (lambda card: card["versions"].update(torch="2.14.0"), ["torch"]),
        (lambda card: card.update(threads=2), ["threads"]),
        (lambda card: card["hardware"].update(gpu="H100"), []),
        (lambda card: card["params"]["training"].update(accelerator="cuda"), ["accelerator"]),
        (lambda card: card.pop("numerics"), ["numerics", "cpu", "instructions"]),
    ],
)
def test_what_keeps_runs_from_being_computed_alike(change: Change, expected: list[str]) -> None:
    old, new = copy.deepcopy(CARD), copy.deepcopy(CARD)
    change(new)
    assert likeness.unlike({"job": old}, {"job": new}) == expected


def test_native_numbers_are_alike_on_the_same_cpu_with_the_same_instructions_only() -> None:
    old = copy.deepcopy(CARD) | {"numerics": "native"}
    for key, value in (("cpu", "Xeon"), ("instructions", ["avx2"])):
        new = copy.deepcopy(old)
        assert likeness.unlike({"job": old}, {"job": new}) == []
        new["hardware"][key] = value
        assert likeness.unlike({"job": old}, {"job": new}) == [key]
    unsaid = {key: value for key, value in CARD.items() if key != "numerics"}
    assert likeness.unlike({"job": unsaid}, {"job": unsaid}) == ["numerics"]
    assert likeness.unlike({"job": old}, {}) == ["jobs"]


def test_what_is_not_there_is_named_with_its_remedy(root: Path) -> None:
    with pytest.raises(ArtifactError, match="results/demo is the published run of 'HEAD' itself, so demo was not run yet: move"):
        verdict(root)
    results(root, PUBLISHED)
    with pytest.raises(ArtifactError, match=r"in revision 'before' has no scores/scores\.csv: name a revision that has"):
        verdict(root, "before")
    with pytest.raises(ArtifactError, match="git knows no revision 'v9'"):
        verdict(root, "v9")
    scores = root / "results" / "demo" / "scores" / "scores.csv"
    scores.write_text(scores.read_text().replace("90.0", "91.0"))
    with pytest.raises(ArtifactError, match=r"no run card in cards/ is of this scores\.csv"):
        verdict(root)
    scores.unlink()
    with pytest.raises(ArtifactError, match=r"scores\.csv is missing, so demo was not run yet: .* make verify PARAMS=params"):
        verdict(root)
    results(root, PUBLISHED)
    (root / "results" / "demo" / "cards" / "train.card.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"cards/train\.card\.json is not valid JSON"):
        verdict(root)


def test_a_spread_is_of_runs_that_differ_in_seeds_alone(root: Path) -> None:
    def folder(name: str, change: Change) -> Path:
        results(root.parent / name, PUBLISHED, change)
        return root.parent / name / "results" / "demo" / "scores"

    own, same, other = root / "results/demo/scores", folder("same", reseeded(0)), folder("other", reseeded(1))
    longer = folder("longer", lambda card: card["params"].update(seed=2, seeds=[2, 3]))
    for folders, message in (
        ([own, same], "same/results/demo/scores has seed 0 as .* has: run it with other values of seed and seeds"),
        ([own, longer], "has other params than .*\n  seeds: 1 > 2"),
        ([own, other.parent], "is no scores folder"),
        ([own, root / "nowhere" / "scores"], r"nowhere/scores/scores\.csv is missing: run the experiment there"),
        ([own], "over two runs at least"),
    ):
        with pytest.raises(ArtifactError, match=message):
            write_spread(root, "demo", folders)
    assert write_spread(root, "demo", [own, other]).read_text().splitlines()[1] == "speech_wer,speech,base ag_repa,2,0,2"


def test_the_commands_exit_with_1_where_numbers_did_not_come_out_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    call = CliRunner().invoke
    results(root, PUBLISHED)
    assert call(app, ["verify", "--params", str(DEMO)]).exit_code == 0
    results(root, PUBLISHED | {"base": 90.1})
    done = call(app, ["verify", "--params", str(DEMO), "--against", "HEAD"])
    assert (done.exit_code, "did NOT come out again" in done.stdout) == (1, True)
    folders = ["results/demo/scores", "../other/results/demo/scores"]
    results(root.parent / "other", PUBLISHED, reseeded(1))
    done = call(app, ["spread", "--params", str(DEMO), "--of", *folders])
    assert done.stdout.strip().endswith("results/demo/spread.csv")
