"""What training reads: batches, their order on one and on several processes, and the randomness of a step."""

import dataclasses
import itertools

import pytest
import torch
from torch.utils.data import DataLoader

from agrepa.artifacts.features import index, write_shard
from agrepa.data.batch_sampler import BatchSampler, pack, shares
from agrepa.data.collate import collate
from agrepa.data.dataset import Dataset
from agrepa.data.noise import clip_noise, crops, draw
from agrepa.data.steps import Steps
from agrepa.errors import ArtifactError
from agrepa.model.conditioning import at_positions
from agrepa.params.stages import ModelSettings, Settings

FRAMES = {f"c{i}": 10 + i % 7 for i in range(30)}


def test_packing_keeps_the_padded_size_within_the_budget():
    frames = {f"c{i}": 5 + i for i in range(20)}
    groups = pack(sorted(frames, key=frames.get), frames, 60)
    assert sorted(itertools.chain(*groups)) == sorted(frames)
    assert all(len(g) == 1 or len(g) * max(frames[c] for c in g) <= 60 for g in groups)
    assert pack(["long"], {"long": 500}, 60) == [["long"]]


def test_the_order_depends_on_seed_and_step_alone_and_covers_every_epoch():
    sampler = BatchSampler(FRAMES, 64, seed=3)
    first = list(itertools.islice(sampler.steps(0), 40))
    assert list(itertools.islice(BatchSampler(FRAMES, 64, seed=3).steps(17), 23)) == first[17:]
    epoch = sampler.epoch(0)
    assert sorted(itertools.chain(*epoch)) == sorted(FRAMES)
    assert first[: len(epoch)] == epoch
    assert BatchSampler(FRAMES, 64, seed=4).epoch(0) != epoch


@pytest.mark.parametrize(("processes", "each"), [(1, 1), (2, 1), (1, 2), (3, 2), (4, 4)])
def test_processes_and_micro_batches_share_the_clips_of_each_step_among_them(processes, each):
    for ids in itertools.islice(BatchSampler(FRAMES, 64, seed=3).steps(0), 20):
        dealt = shares(ids, processes, each)
        assert sorted(clip for parts in dealt for part in parts for clip in part) == sorted(ids)
        sizes = [sum(map(len, parts)) for parts in dealt]
        assert len(dealt) == processes and max(sizes) - min(sizes) <= each
        assert all(part for parts in dealt for part in parts)
    assert shares(ids, 1, 1) == [[ids]]


def test_a_step_is_the_same_on_one_process_and_on_several(small, settings_of, dataset):
    """Clips, crops, times, noise and dropouts; what a share divides its sums by is the step's."""

    def taken(rank, world, workers=0, **changes):
        p = settings_of(ModelSettings, small)
        p = dataclasses.replace(p, training=p.training.model_copy(update=changes | {"workers": workers}))
        return list(Steps(p, dataset, 0, rank, world).between(3, 9))

    def by_clip(share):
        found = {}
        for batch, drawn in () if share.idle else share.batches:
            for i, clip in enumerate(batch.ids):
                frames = batch.mask[i].sum()
                values = (
                    batch.mel[i, :frames],
                    drawn.eps[i, :frames],
                    drawn.t[i],
                    drawn.condition.dropped[i],
                    drawn.given[i, :frames],
                )
                found[clip] = values
        return found

    alone = taken(0, 1)
    assert [share.step for share in alone] == [3, 4, 5, 6, 7, 8]
    one_sided = 0
    for world, each in ((2, 1), (1, 3), (7, 1)):
        ranks = [taken(rank, world, accumulate=each) for rank in range(world)]
        for whole, *parts in zip(alone, *ranks, strict=True):
            ((batch, drawn),) = whole.batches
            together = {clip: values for share in parts for clip, values in by_clip(share).items()}
            assert {*together} == {*batch.ids}
            for clip, values in by_clip(whole).items():
                assert all(torch.equal(a, b) for a, b in zip(values, together[clip], strict=True))
            for share in parts:
                for mine, mine_drawn in share.batches:
                    assert mine.whole == batch.whole and mine_drawn.heard == drawn.heard
                    one_sided += len({*mine.domain.tolist()}) < len({*batch.domain.tolist()})
        assert any(share.idle for rank in ranks for share in rank) == (world == 7), "a process without a clip has a stand-in"
    assert one_sided, "some share has to lack a domain that its step has"
    for made, ahead in zip(alone, taken(0, 1, workers=2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(*(by_clip(s)[s.batches[0][0].ids[0]] for s in (made, ahead)), strict=True))
        assert made.batches[0][0].ids == ahead.batches[0][0].ids


def test_an_epoch_sees_a_share_of_the_thinned_clips_and_another_one_each_time():
    thinned = [f"c{i}" for i in range(10)]
    sampler = BatchSampler(FRAMES, 64, 3, thinned=thinned, share=0.3)
    seen = [set(itertools.chain(*sampler.epoch(number))) & set(thinned) for number in range(20)]
    assert {len(clips) for clips in seen} == {3}
    assert set().union(*seen) == set(thinned)
    assert all(len(list(itertools.chain(*sampler.epoch(number)))) == 23 for number in range(3))
    assert BatchSampler(FRAMES, 64, 3, thinned=thinned, share=0.01).clips(0) != sorted(set(FRAMES) - set(thinned))
    assert BatchSampler(FRAMES, 64, 3, thinned=thinned).epoch(1) == BatchSampler(FRAMES, 64, 3).epoch(1)


def test_crops_are_drawn_for_each_clip_by_itself_and_reach_every_place():
    frames = {"short": 9, "equal": 10, "long": 13}
    drawn = [crops(frames, 10, 0, step) for step in range(60)]
    assert all(set(windows) == {"long"} for windows in drawn)
    assert {windows["long"] for windows in drawn} == {(first, first + 10) for first in range(4)}
    assert crops({"long": 13}, 10, 0, 7) == drawn[7]
    assert crops(frames, None, 0, 0) == {}


def test_a_crop_is_that_part_of_the_clip_with_its_tokens_and_teacher_in_place(dataset):
    clip = max(("clip_0", "clip_1", "clip_2"), key=dataset.mel.frames.get)
    frames = dataset.mel.frames[clip]
    whole = dataset.batch([clip])
    for first in range(frames - 5):
        batch = dataset.batch([clip], windows={clip: (first, first + 5)})
        assert torch.equal(batch.mel[0], whole.mel[0, first : first + 5])
        assert batch.mask.all()
        values = [at_positions(b.condition.tokens.float(), b.condition.positions) for b in (whole, batch)]
        assert torch.allclose(values[1][0], values[0][0, first : first + 5], atol=1e-4)
        assert batch.condition.tokens.shape[1] <= 7
        (name,) = batch.teacher_frames
        placed = [at_positions(b.teacher_frames[name].values, b.teacher_frames[name].positions) for b in (whole, batch)]
        assert torch.allclose(placed[1][0], placed[0][0, first : first + 5], atol=1e-5)
        assert torch.equal(batch.teacher_vectors[name], whole.teacher_vectors[name])


def test_a_prompted_clip_stands_behind_the_start_of_another_with_its_tokens_and_its_mel_as_reference(dataset):
    prompt, frames = dataset.mel.frames["clip_2"], dataset.mel.frames["clip_0"]
    batch = dataset.batch(["clip_1", "clip_0"], prompts={"clip_0": ("clip_2", prompt - 3)})
    alone, start = dataset["clip_0"], dataset["clip_2"].window(0, prompt - 3)
    first = prompt - 3
    assert batch.mask.sum(1).tolist() == [dataset.mel.frames["clip_1"], first + frames]
    assert torch.equal(batch.mel[1, : first + frames], torch.cat([start.mel, alone.mel]))
    assert torch.equal(batch.condition.reference[1, :first], start.mel)
    assert (batch.condition.reference[1, first:] == 0).all() and (batch.condition.reference[0] == 0).all()
    found = at_positions(batch.condition.tokens.float(), batch.condition.positions)[1]
    for example, place in ((start, slice(0, first)), (alone, slice(first, first + frames))):
        heard = at_positions(example.tokens[None].float(), example.positions[None])[0]
        assert torch.allclose(found[place], heard, atol=1e-4), "no token is blended over the seam"
    lengths = {"clip_0": first + frames, "clip_1": dataset.mel.frames["clip_1"]}
    packed = dataset.in_batches(["clip_0", "clip_1"], 1, prompts={"clip_0": ("clip_2", first)})
    assert [b.ids for b in packed] == [[clip] for clip in sorted(lengths, key=lengths.get)]


def test_batches_normalise_pad_and_route_teachers(dataset):
    batch = dataset.batch(["clip_0", "clip_1", "clip_2"])
    frames = dataset.mel.frames["clip_1"]
    assert torch.allclose(batch.mel[1, :frames], (dataset.mel["clip_1"] + 3) / 2)
    assert batch.mask.sum(1).tolist() == [dataset.mel.frames[c] for c in batch.ids]
    assert (batch.mel[~batch.mask] == 0).all()
    assert (batch.condition.tokens[1, frames:] == -1).all()
    assert batch.domain.tolist() == [0, 1, 0]
    assert torch.equal(batch.teacher_vectors["speech"][1], dataset.teacher_vectors["speech"]["clip_2"][0])
    assert torch.equal(batch.teacher_vectors["audio"][0], dataset.teacher_vectors["audio"]["clip_1"][0])
    swapped = dataset.batch(["clip_0"], {"clip_0": "clip_2"})
    assert torch.equal(swapped.condition.tokens[0], dataset.tokens["clip_2"].long())


def test_every_band_has_its_own_scale_and_comes_back(dataset):
    bands = dataset.mel["clip_1"].shape[1]
    dataset.mean, dataset.std = torch.arange(bands) - 3.0, torch.arange(bands) + 1.0
    seen = dataset["clip_1"].mel
    assert torch.allclose(seen[:, 2], (dataset.mel["clip_1"][:, 2] + 1) / 3)
    assert torch.allclose(dataset.log_mel(seen), dataset.mel["clip_1"], atol=1e-5)


def test_frames_of_teachers_lie_where_their_hop_times_are(dataset):
    batch = dataset.batch(["clip_0", "clip_1", "clip_2"])
    for name, clip, row in (("speech", "clip_2", 1), ("audio", "clip_1", 0)):
        teacher, stored = dataset.teacher_frames[name], batch.teacher_frames[name]
        frames = teacher[clip]
        assert torch.equal(stored.values[row, : len(frames)], frames)
        placed = at_positions(stored.values, stored.positions)[row]
        for j in range(dataset.mel.frames[clip]):
            place = (j + 0.5) / 62.5 * teacher.rate[clip] - 0.5
            low = min(max(int(place // 1), 0), len(frames) - 1)
            high, part = min(low + 1, len(frames) - 1), min(max(place - low, 0), 1)
            assert torch.allclose(placed[j], (1 - part) * frames[low] + part * frames[high], atol=1e-4)


def test_tokens_lie_where_their_centres_are_said_to_be(small, settings_of, features, tmp_path):
    """The same tokens, half a token earlier in the clip, are half a token further on at every mel frame."""
    there = Dataset(settings_of(ModelSettings, small), **features["sources"])
    clip = "clip_0"
    assert (there.tokens.first[clip], there.mel.first[clip]) == (0.01, 0.008)
    write_shard(tmp_path / "0.safetensors", "tokens", [(clip, "tokens", there.tokens[clip], 50.0, 0.0)])
    index(Settings(), store="tokens", shards=[tmp_path / "0.safetensors"], out=tmp_path / "index.parquet")
    moved = Dataset(settings_of(ModelSettings, small), **features["sources"] | {"tokens": tmp_path / "index.parquet"})
    before, after = there[clip].positions, moved[clip].positions
    inside = (before > 0) & (after < len(there.tokens[clip]) - 1)
    assert inside.sum() > 3 and torch.allclose(after[inside], before[inside] + 0.5, atol=1e-5)


def test_teachers_are_read_only_when_asked_for(small, settings_of, features, tmp_path):
    for path in (tmp_path / "features").glob("*-means.*"):
        path.unlink()
    dataset = Dataset(settings_of(ModelSettings, small), **features["sources"])
    batch = dataset.batch(["clip_0", "clip_1"])
    assert batch.teacher_vectors == batch.teacher_frames == dataset.teacher_widths() == {}
    with pytest.raises(ArtifactError, match="whisper-means"):
        Dataset(settings_of(ModelSettings, small), **features["sources"], teachers=small.teachers, targets=features["targets"])


def test_standardised_teachers_have_mean_0_and_deviation_1_over_the_training_clips(small, settings_of, features):
    kinds = {"targets": features["targets"], "features": features["features"]}

    def read(standardised):
        teachers = small.teachers.model_copy(update={"standardised": standardised})
        return Dataset(settings_of(ModelSettings, small), **features["sources"], teachers=teachers, **kinds)

    plain, scaled = read(False), read(True)
    for domain, first in (("speech", 0), ("audio", 1)):
        train, held_out = ([f"clip_{i}" for i in range(start + first, end, 2)] for start, end in ((0, 16), (16, 24)))
        vectors = scaled.batch(train).teacher_vectors[domain]
        assert torch.allclose(vectors.mean(0), torch.zeros(vectors.shape[1]), atol=1e-5)
        assert torch.allclose(vectors.std(0, correction=0), torch.ones(vectors.shape[1]), atol=1e-4)
        before = plain.batch(train).teacher_vectors[domain]
        mean, deviation = before.mean(0), before.std(0, correction=0)
        # The same scale for what is held out, and for the frames that the vectors are means of.
        expected = (plain.batch(held_out).teacher_vectors[domain] - mean) / deviation
        assert torch.allclose(scaled.batch(held_out).teacher_vectors[domain], expected, atol=1e-4)
        frames = (plain.teacher_frames[domain][held_out[0]] - mean) / deviation
        assert torch.allclose(scaled[held_out[0]].teacher_frames[0], frames, atol=1e-4)
        assert torch.allclose(plain.teacher_mean(domain), mean, atol=1e-5)
        assert torch.allclose(scaled.teacher_mean(domain), torch.zeros_like(mean), atol=1e-5)


def test_a_teachers_dimension_that_never_varies_keeps_its_scale(dataset):
    stored = {f"clip_{i}": torch.tensor([[float(i), 3.0]]) for i in range(0, 16, 2)}
    dataset.teacher_vectors["speech"] = stored
    mean, deviation = dataset._teacher_scale("speech")
    assert mean.tolist() == [7, 3] and deviation.tolist() == pytest.approx([21**0.5, 1])


def test_the_parts_work_with_the_loader_of_torch(dataset):
    sampler = BatchSampler({clip: dataset.mel.frames[clip] for clip in dataset.of_split("train")}, 120, 0)
    batches = sampler.epoch(0)
    loaded = list(DataLoader(dataset, batch_sampler=batches, collate_fn=collate))
    assert [batch.ids for batch in loaded] == batches
    assert torch.equal(loaded[0].mel, dataset.batch(batches[0]).mel)


def test_draws_are_shared_by_arms_and_respect_their_rates(small, settings_of, dataset):
    p = settings_of(ModelSettings, small)
    batch = dataset.batch([f"clip_{i}" for i in range(16)])
    first, again = draw(p, batch, 0, 5), draw(p, batch, 0, 5)
    assert torch.equal(first.eps, again.eps)
    assert torch.equal(first.condition.reference, again.condition.reference)
    assert not torch.equal(first.t, draw(p, batch, 0, 6).t)
    draws = [draw(p, batch, 0, step) for step in range(300)]
    dropped = torch.stack([d.condition.dropped for d in draws]).float().mean()
    assert dropped == pytest.approx(0.1, abs=0.02)
    for d in draws[:20]:
        shown = (d.condition.reference != 0).any(-1)
        assert torch.equal(shown, d.given)
        assert (shown.sum(1) <= (p.training.reference_fraction * batch.mask.sum(1)).floor()).all()
        assert (shown.int().diff(dim=1) <= 0).all(), "the reference is a prefix"
    either = torch.stack([torch.stack([d.condition.dropped, (d.condition.reference == 0).all(-1).all(-1)]) for d in draws])
    both = either[:, 0] & either[:, 1]
    rates = either.float().mean((0, 2))
    assert both.float().mean() == pytest.approx(float(rates[0] * rates[1]), abs=0.01), "dropped independently"
    assert rates[1] > 0.1


def test_the_noise_of_a_clip_is_the_same_in_every_batch(dataset):
    alone, together = dataset.batch(["clip_3"]), dataset.batch(["clip_0", "clip_3"])
    frames = dataset.mel.frames["clip_3"]
    assert torch.equal(clip_noise(alone, 0.5, 7, "x")[0], clip_noise(together, 0.5, 7, "x")[1, :frames])
    assert (clip_noise(together, 0.5, 7, "x")[~together.mask] == 0).all()


def test_what_is_drawn_for_a_clip_is_the_same_in_every_batch(small, settings_of, dataset):
    p = settings_of(ModelSettings, small)
    for step in range(8):
        alone = draw(p, dataset.batch(["clip_3"]), 0, step)
        together = draw(p, dataset.batch(["clip_0", "clip_2", "clip_3"]), 0, step)
        frames = dataset.mel.frames["clip_3"]
        assert torch.equal(alone.eps[0], together.eps[2, :frames])
        assert torch.equal(alone.condition.reference[0], together.condition.reference[2, :frames])
        assert alone.condition.dropped[0] == together.condition.dropped[2]
        assert (together.eps[~dataset.batch(["clip_0", "clip_2", "clip_3"]).mask] == 0).all()
        assert len(set(together.t.tolist())) == 3
        reordered = draw(p, dataset.batch(["clip_3", "clip_0", "clip_2"]), 0, step)
        assert reordered.t.tolist() == together.t[[2, 0, 1]].tolist()
        free = dataclasses.replace(p, training=p.training.model_copy(update={"stratified_times": False}))
        assert draw(free, dataset.batch(["clip_3"]), 0, step).t == draw(free, dataset.batch(["clip_0", "clip_3"]), 0, step).t[1]


def test_stratified_times_share_out_the_interval_and_are_uniform_for_each_clip(small, settings_of, dataset):
    p = settings_of(ModelSettings, small)
    ids = [f"clip_{i}" for i in range(5)]
    times = torch.stack([draw(p, dataset.batch(ids), 0, step).t for step in range(200)])
    assert torch.equal((times.sort(1).values * 5).long(), torch.arange(5).expand(200, 5))
    counts = torch.histc(times[:, 0], 5, 0, 1)
    assert counts.min() > 20, "the place of a clip differs from step to step"
    assert times[:, 0].mean() == pytest.approx(0.5, abs=0.07)
