"""The plan of an experiment: as many jobs as the rules make, and what run cards say that such jobs take."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from shrunken import merge

from agrepa.artifacts.files import write_table
from agrepa.errors import ArtifactError, ParamsError
from agrepa.params.stages import Settings
from agrepa.pipeline import estimates, lineage, plan
from agrepa.pipeline.amounts import GROWTH, Corpus, Job, growth
from agrepa.pipeline.stages import STAGES

DEMO, RESULTS = Path("params/demo.yaml"), Path("results/demo")


@pytest.fixture(autouse=True)
def in_the_repository(root, monkeypatch):
    """Rules name their files from the top of the repository."""
    monkeypatch.chdir(root)


@pytest.fixture
def changed(root, tmp_path):
    """``changed(change)`` is the demo's params file with some keys changed."""

    def write(change):
        shutil.copytree(root / "params", tmp_path / "params", dirs_exist_ok=True)
        path = tmp_path / "params" / "demo.yaml"
        # Another name: where the repository's own demo has run, its manifest would be counted.
        change = {"name": "planned"} | change
        path.write_text(yaml.safe_dump(merge(yaml.safe_load((root / DEMO).read_text()), change), sort_keys=False))
        return path

    return write


def by_rule(params, hours=None):
    return {one.rule: one for one in plan.plan(params, RESULTS, hours or {})[0]}


def measured_core_hours():
    taken = Counter()
    for path in RESULTS.rglob("*.card.json"):
        card = json.loads(path.read_text())
        taken[card["stage"]] += card["seconds"] * card["threads"] / 3600
    return taken


def test_the_plan_of_what_was_measured_is_the_sum_of_its_run_cards(changed):
    found, taken = by_rule(changed({})), measured_core_hours()
    assert found["train"].jobs == 3 and found["encode"].jobs == 6
    for rule, one in found.items():
        stage = "report" if rule == "page" else rule
        if stage in taken:
            assert one.core_hours == pytest.approx(taken[stage], rel=1e-9), rule
        else:
            assert one.core_hours is None and one.rate.startswith("none"), rule
    warmup = json.loads((RESULTS / "cards/work.demo.warmup.checkpoint.safetensors.card.json").read_text())
    assert found["warmup"].memory_mb == warmup["peak_memory_mb"]


def test_there_are_as_many_jobs_as_in_the_rendered_pipeline(root, changed):
    counted = Counter()
    for name, stage in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].items():
        counted[name.split("-")[0]] += math.prod(len(values) for values in stage.get("matrix", {}).values())
    del counted["plan"]
    assert {rule: one.jobs for rule, one in by_rule(changed({})).items()} == counted


def test_doubled_steps_double_training_and_nothing_else(changed):
    once, twice = by_rule(changed({})), by_rule(changed({"training": {"arm_steps": 1600}}))
    for rule, one in once.items():
        factor = 2 if rule == "train" else 1
        assert twice[rule].core_hours == pytest.approx(one.core_hours and factor * one.core_hours), rule
        assert twice[rule].memory_mb == one.memory_mb, rule


def test_shards_share_the_work_out_and_more_clips_add_to_it(changed):
    once, more = by_rule(changed({})), by_rule(changed({"shards": 8, "corpora": {"train": {"speech": 2562}}}))
    assert more["encode"].jobs == 4 * once["encode"].jobs
    # 1,090 clips of speech and 572 of audio become 2,752 and 572.
    clips = pd.read_csv(RESULTS / "cards" / lineage.CORPUS).groupby("domain")[["clips", "seconds"]].sum()
    speech, audio = (clips.seconds / clips.clips)[["speech", "audio"]]
    ratio = (2752 * speech + 572 * audio) / (1090 * speech + 572 * audio)
    assert more["mel"].core_hours == pytest.approx(ratio * once["mel"].core_hours)
    assert more["train"].core_hours == pytest.approx(once["train"].core_hours)
    assert more["mel"].memory_mb == once["mel"].memory_mb, "a shard of half the clips holds no more"


def test_arms_and_seeds_that_nobody_measured_take_what_others_did(changed):
    found = by_rule(changed({"arms": ["base", "ag_repa", "random"], "seeds": [0, 1]}))
    base, ag_repa, repa = (
        json.loads((RESULTS / f"cards/work.demo.arms.{arm}.seed0.checkpoint.safetensors.card.json").read_text())["seconds"]
        for arm in ("base", "ag_repa", "repa_l8")
    )
    mean = (base + ag_repa + repa) / 3
    assert found["train"].jobs == 6
    assert found["train"].core_hours * 3600 == pytest.approx(2 * (base + ag_repa + mean))
    assert "of the same arm" in found["train"].rate and "of another arm" in found["train"].rate


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"accelerator": "cuda"}}, "none: demo has not measured it on cuda"),
        ({"model": {"kind": "uvit"}}, "none: demo has not measured uvit"),
    ],
)
def test_what_was_measured_on_another_device_or_network_gives_no_rate(changed, change, said):
    found, _ = plan.plan(changed(change), RESULTS, {})
    train = next(one for one in found if one.rule == "train")
    assert (train.core_hours, train.gpu_hours, train.memory_mb, train.rate) == (None, None, None, said)
    last = plan.text(found).splitlines()[-1]
    assert last.startswith("in all") and "train" in last.partition("without ")[2]


def test_hours_must_be_known(root, changed):
    with pytest.raises(ParamsError, match="speech is null, all clips that there are: say how much with --hours speech=HOURS"):
        plan.plan(changed({"corpora": {"train": {"speech": None}}}), RESULTS, {})
    for words, said in (("speech", "write DOMAIN=HOURS"), ("speech=many", "write DOMAIN=HOURS")):
        with pytest.raises(ParamsError, match=said):
            plan.by_domain([words])
    with pytest.raises(ParamsError, match=r"music: .* has the domains speech, audio"):
        plan.plan(changed({}), RESULTS, {"music": 3})
    with pytest.raises(ArtifactError, match=r"params holds no run cards: name the results of a finished experiment"):
        plan.plan(changed({}), Path("params"), {})


def test_more_jobs_than_the_limit_are_refused_with_the_shards_that_would_do(changed):
    path = changed({"shards": 500})
    _, jobs = plan.plan(path, RESULTS, {})
    sharded = sum("shard" in job.wildcards for job in jobs)
    assert sharded == 500 * 6, "decode, mel, tokens and three encoders"
    plan.check_size(path, jobs, 500, len(jobs))
    rest = len(jobs) - sharded
    with pytest.raises(plan.TooManyJobsError, match="lower shards from 500 to 100 or less"):
        plan.check_size(path, jobs, 500, rest + 605)
    with pytest.raises(plan.TooManyJobsError, match=f"{rest} of them are no shards, so run fewer arms or seeds"):
        plan.check_size(path, jobs, 500, rest)


def card(shard, seconds, size, gpu=None, accelerator="cpu"):
    reads = {"shards": 2, "training": {"accelerator": accelerator}} if accelerator != "cpu" else {"shards": 2}
    return {
        "stage": "mel",
        "wildcards": {"shard": shard},
        "params": reads,
        "hardware": {"gpu": gpu},
        "seconds": seconds,
        "threads": 2,
        "peak_memory_mb": 100,
        "bytes": {"a": size, "b": size},
    }


def test_rates_by_hand():
    corpus = Corpus({"speech": 100, "audio": 100}, {"speech": 3.0, "audio": 1.0})
    rates = estimates.Rates(estimates.measured([card("0", 10, 1e6), card("1", 30, 3e6)], corpus), "x")
    larger = Corpus({"speech": 1000, "audio": 0}, {"speech": 4.0})
    jobs = [Job("mel", {"shard": str(i)}, {"shards": 4}, larger) for i in range(4)]
    found = estimates.estimate("mel", jobs, rates)
    # 80 core-seconds and 8 MB for 400 s of audio, 200 a job; now 4,000 s, 1,000 a job.
    assert found.core_hours * 3600 == pytest.approx(800)
    assert (found.memory_mb, found.job_disk_mb, found.disk_mb, found.gpu_hours) == pytest.approx((500, 20, 80, 0))
    assert found.rate == "2 jobs, by hours of audio"


def test_a_gpu_counts_where_the_job_could_use_it_and_by_the_clock():
    corpus = Corpus({"speech": 10})
    cards = [card("0", 36, 1e6, "H100"), card("1", 36, 1e6, "H100", "auto")]
    unused, used = estimates.measured(cards, corpus)
    assert (unused.gpu_seconds, used.gpu_seconds, used.core_seconds) == (0, 36, 72)


def test_run_cards_lie_beside_the_hours_that_their_jobs_had(tmp_path):
    rows = [("train", "speech", 2.0), ("train", "speech", 4.0), ("test", "speech", 1.5), ("train", "audio", 5.0)]
    write_table(tmp_path / "manifest.parquet", pd.DataFrame(rows, columns=["split", "domain", "seconds"]))
    out = tmp_path / "cards"
    lineage.gather(Settings(), cards=[], manifest=tmp_path / "manifest.parquet", out=out)
    assert (out / "corpus.csv").read_text() == (
        "split,domain,clips,seconds\ntest,speech,1,1.5\ntrain,audio,1,5.0\ntrain,speech,2,6.0\n"
    )
    heard = {"evaluation.speech_clips": 5, "evaluation.unseen_clips": 2, "evaluation.audio_clips": 3}
    found = plan.measured_corpus([{"stage": "synthesize", "params": heard}], tmp_path)
    assert (found.clips, found.length) == ({"audio": 1, "speech": 3}, {"audio": 5.0, "speech": 2.5})
    assert found.heard() == 7 * 2.5 + 3 * 5


def test_hours_become_clips_of_the_measured_length(demo):
    known = Corpus({"speech": 10, "audio": 10}, {"speech": 2.0, "audio": 9.0})
    found = plan.planned_corpus(demo.model_copy(update={"name": "planned"}), DEMO, known, {"speech": 1.0})
    assert found.clips == {"speech": 1800, "audio": 572}
    assert found.length["audio"] == demo.corpora.max_seconds, "longer clips would be cut"


def test_every_stage_that_grows_is_a_stage():
    assert GROWTH.keys() <= STAGES.keys()
    assert not growth("tables").words


def test_codes_that_are_given_take_no_time_and_another_kind_of_codebook_has_no_rate():
    given, learnt = (
        Job("codebook", {"stream": "speech"}, {"tokens.speech": {"vocabulary": 4096} | settings}, Corpus({}))
        for settings in ({"codebook": "given"}, {"codebook": "vq", "max_frames": 10_000, "iterations": 2})
    )
    assert growth("codebook").time(given) == 0
    assert growth("codebook").time(learnt) == 10_000 * 4096 * 2
    assert given.alike != learnt.alike
