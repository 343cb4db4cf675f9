"""The stage encode: what of a network's outputs is kept, of which clips, and that batches do not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from test_encoders import MODULES, batch

from agrepa.artifacts.features import Feature, FeatureStore, index
from agrepa.artifacts.files import sha256, write_table
from agrepa.audio import files
from agrepa.corpora.manifest import COLUMNS
from agrepa.encoders import aisfx, extract, whisper, yamnet
from agrepa.errors import AudioError, ParamsError
from agrepa.params.stages import EncodeSettings, Settings


class TestExtract:
    """The stage, on two spoken clips and two sounds at 16 kHz."""

    ORDER = ("game_horse", "queen_line", "game_cough", "game_silence")

    @pytest.fixture(scope="class")
    def clips(self, recordings, tmp_path_factory):
        folder = tmp_path_factory.mktemp("clips")
        sounds = {"queen_line": "speech", "game_horse": "Horse", "game_cough": "Cough-male"}
        for clip, source in sounds.items():
            files.write_flac(folder / f"{clip}.flac", files.resample(*recordings[source], 16000), 16000)
        files.write_flac(folder / "game_silence.flac", np.zeros(8000, np.float32), 16000)
        return folder

    @pytest.fixture(scope="class")
    def manifest(self, clips, tmp_path_factory):
        path = tmp_path_factory.mktemp("manifest") / "manifest.parquet"
        rows = pd.DataFrame({column: [kind()] * len(self.ORDER) for column, kind in COLUMNS.items()})
        rows["id"], rows["split"], rows["sample_rate"] = self.ORDER, "train", 16000
        rows["domain"] = ["speech" if clip.startswith("queen") else "audio" for clip in self.ORDER]
        paths = [clips / f"{clip}.flac" for clip in self.ORDER]
        rows["clip"], rows["sha256"] = [str(path) for path in paths], [sha256(path) for path in paths]
        rows["seconds"] = [files.length(path)[0] for path in paths]
        write_table(path, rows)
        return path

    @pytest.fixture
    def encode(self, demo, downloads, manifest, tmp_path):
        """Run the stage over all shards with other settings of one encoder; the files of frames and of means."""

        def run(encoder, shards=1, name="stage", **changes):
            settings = demo.encoders[encoder].model_copy(update=changes)
            p = EncodeSettings(encoder=settings, sample_rate=16000, shards=shards)
            outs = [(tmp_path / f"{name}_{k}.safetensors", tmp_path / f"{name}_{k}_means.safetensors") for k in range(shards)]
            for k, (frames, means) in enumerate(outs):
                files_ = {"manifest": manifest, "archives": downloads(encoder), "frames": frames, "means": means}
                extract.run(p, encoder=encoder, shard=str(k), **files_)
            return [list(kind) for kind in zip(*outs, strict=True)]

        return run

    def test_frames_and_means(self, encode, downloads, clips, tmp_path):
        frames, means = encode("yamnet", frames=["block8"], means=["embedding"], batch_seconds=1.0)
        index(Settings(), store="mel", shards=[*frames, *means], out=tmp_path / "index.parquet")
        store = FeatureStore([tmp_path / "index.parquet"])
        block, mean = store.feature("yamnet", "block8"), store.feature("yamnet", "embedding.mean")
        assert set(block.frames) == set(mean.frames) == set(self.ORDER)
        assert set(block.rate.values()) == {6.25} and set(mean.rate.values()) == {0.0}
        network = yamnet.load(downloads("yamnet"))
        wave, _ = files.read(clips / "game_horse.flac")
        encoded = network(*batch([torch.from_numpy(wave)]))
        assert torch.equal(block["game_horse"], encoded["block8"][0].half())
        assert torch.equal(mean["game_horse"], encoded["embedding"][0].mean(0, keepdim=True))

    def test_stored_features_equal_fresh_ones_whatever_the_batches(self, demo, encode, downloads, clips):
        frames, means = encode("aisfx", shards=2, frames=["embedding"], means=[])
        stored = [Feature.of_shard(path, "embedding") for path in frames]
        assert [set(feature.frames) for feature in stored] == [set(self.ORDER[::2]), set(self.ORDER[1::2])]
        assert all(path.exists() for path in means)  # with nothing in them
        network = aisfx.load(downloads("aisfx"))
        settings = demo.encoders["aisfx"].model_copy(update={"batch_seconds": 0.1})
        fresh = list(extract.encode_folder(network, clips, self.ORDER, 16000, ["embedding"], settings))
        assert [clip for clip, *_ in fresh] == list(self.ORDER)
        announced = aisfx.SoundEffects.outputs["embedding"]
        for clip, output, features, rate, first in fresh:
            assert (output, rate, first) == ("embedding", announced.rate, announced.first)
            feature = next(feature for feature in stored if clip in feature)
            torch.testing.assert_close(features, feature[clip], rtol=1e-3, atol=1e-3)

    def test_only_the_encoders_domains(self, encode):
        frames, means = encode("whisper", domains=["speech"], frames=["layer5"], means=["last"])
        assert set(Feature.of_shard(frames[0], "layer5").frames) == {"queen_line"}
        assert set(Feature.of_shard(means[0], "last.mean").frames) == {"queen_line"}

    def test_batches_are_of_similar_length_and_bounded(self):
        seconds = {"game_horse": 1.3, "queen_line": 3.5, "game_cough": 0.75, "game_silence": 0.5}
        batches = extract.in_batches(seconds, 1.6)
        assert batches == [["game_silence", "game_cough"], ["game_horse"], ["queen_line"]]

    @pytest.mark.parametrize("case", [("whisper", "layer5", 0.3), ("yamnet", "block8", 0.32)])
    def test_silence_before_the_clips_is_heard_and_cut_off_again(self, demo, encode, downloads, clips, tmp_path, case):
        """What is kept, stored or fresh, frames or means, is what the network says from the clip's own beginning on."""
        name, frame, lead = case
        kept = {"frames": [frame], "means": [frame], "lead_seconds": lead}
        frames, means = encode(name, **kept)
        network = MODULES[name].load(downloads(name))
        index(Settings(), store="mel", shards=[*frames, *means], out=tmp_path / "index.parquet")
        store = FeatureStore([tmp_path / "index.parquet"])
        stored, mean = store.feature(name, frame), store.feature(name, f"{frame}.mean")
        wave, _ = files.read(clips / "queen_line.flac")
        count, silence = round(lead * network.outputs[frame].rate), np.zeros(round(lead * 16000), np.float32)
        whole = network(*batch([torch.from_numpy(np.concatenate([silence, wave]))]))[frame][0]
        without = network(*batch([torch.from_numpy(wave)]))[frame][0]
        assert torch.equal(stored["queen_line"], whole[count:].half())
        assert torch.equal(mean["queen_line"], whole[count:].mean(0, keepdim=True))
        assert stored.frames["queen_line"] == len(without) and stored.first["queen_line"] == network.outputs[frame].first
        assert not torch.equal(stored["queen_line"][0], without[0].half())
        settings = demo.encoders[name].model_copy(update=kept)
        (fresh,) = extract.encode_folder(network, clips, ["queen_line"], 16000, [frame], settings)
        assert torch.equal(fresh.tensor, stored["queen_line"])

    def test_silence_of_a_part_of_a_frame_is_refused(self, demo, downloads, clips):
        network, settings = yamnet.load(downloads("yamnet")), demo.encoders["yamnet"].model_copy(update={"lead_seconds": 0.3})
        with pytest.raises(ParamsError, match=r"lead_seconds 0\.3 is 1\.875 frames of block8: make it a multiple of 0\.16 s"):
            list(extract.encode_folder(network, clips, self.ORDER, 16000, ["block8"], settings))

    def test_unknown_output_is_refused(self, demo, archive, clips):
        network = yamnet.load([archive("yamnet")])
        with pytest.raises(ParamsError, match="no output 'block99': choose from block1, block2"):
            list(extract.encode_folder(network, clips, self.ORDER, 16000, ["block99"], demo.encoders["yamnet"]))

    def test_missing_clip_is_named(self, demo, archive, clips):
        network = yamnet.load([archive("yamnet")])
        with pytest.raises(AudioError, match=r"not_there\.flac"):
            list(extract.encode_folder(network, clips, ["not_there"], 16000, ["block8"], demo.encoders["yamnet"]))

    @pytest.mark.parametrize(
        ("lead", "words"),
        [(0.0, "blip: a clip of 100 samples is shorter than the 320"), (0.3, "blip: is too short for a frame of last")],
    )
    def test_unsuitable_clip_is_named(self, demo, downloads, tmp_path, lead, words):
        files.write_flac(tmp_path / "blip.flac", np.zeros(100, np.float32), 16000)
        network, settings = whisper.load(downloads("whisper")), demo.encoders["whisper"].model_copy(update={"lead_seconds": lead})
        with pytest.raises(AudioError, match=words):
            list(extract.encode_folder(network, tmp_path, ["blip"], 16000, ["last"], settings))
