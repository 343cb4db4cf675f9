"""Token tables that start as the centres of their codebooks."""

import numpy as np
import pytest
import torch

from agrepa.errors import ArtifactError
from agrepa.model.conditioning import TokenEmbedding
from agrepa.tokens.centres import rows, tables
from agrepa.tokens.codebook import Codebook
from agrepa.tokens.sequence import table_streams, vocabularies


def test_a_token_is_its_whole_centre_at_unit_scale_with_zeros_behind_it():
    centres = 7 * np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    found = rows(centres, 8)
    assert found.shape == (12, 8) and found.dtype == np.float32
    assert (found[:, 5:] == 0).all()
    assert np.square(found[:, :5]).mean() == pytest.approx(1, rel=1e-5)
    assert np.allclose(found[:, :5] / centres, found[0, 0] / centres[0, 0], rtol=1e-4)
    assert np.array_equal(rows(centres, 5), found[:, :5])


def test_a_wider_centre_is_reduced_to_its_principal_components():
    rng = np.random.default_rng(1)
    centres = (rng.standard_normal((20, 3)) @ rng.standard_normal((3, 9)) + 4).astype(np.float32)
    found = rows(centres, 3)
    assert found.shape == (20, 3) and np.square(found).mean() == pytest.approx(1, rel=1e-5)
    # Three directions hold everything: distances between centres stay as they are, up to the one factor.
    apart = [np.linalg.norm(c[:, None] - c[None], axis=-1) for c in (centres, found)]
    factor = apart[1].sum() / apart[0].sum()
    assert np.allclose(apart[1], factor * apart[0], atol=1e-3)
    assert np.array_equal(rows(centres, 3), found)
    few = rows(centres[:2], 4)
    assert few.shape == (2, 4) and np.isfinite(few).all() and (few[:, 2:] == 0).all()


def test_the_rows_of_a_table_are_in_the_order_of_the_ids(small, codebooks):
    found = tables(reversed(codebooks), small.tokens, 30)
    assert [len(table) for table in found] == vocabularies(small.tokens)
    speech, audio = (Codebook.load(path) for path in codebooks[:2])
    assert table_streams(small.tokens)[0] == [speech.stream, audio.stream]
    assert np.allclose(found[0][: len(speech.centres)], rows(speech.centres, 30))
    assert np.allclose(found[0][len(speech.centres) :], rows(audio.centres, 30))
    with pytest.raises(ArtifactError, match="no codebook of stream audio"):
        tables([codebooks[0], *codebooks[2:]], small.tokens, 30)


def test_the_null_token_starts_as_nothing_and_a_table_of_another_size_is_refused():
    embedding = TokenEmbedding([4, 3], 6, 8)
    starts = [torch.randn(4, 6), torch.randn(3, 6)]
    embedding.start(starts)
    for table, start in zip(embedding.tables, starts, strict=True):
        assert torch.equal(table.weight[:-1], start) and (table.weight[-1] == 0).all()
    with pytest.raises(RuntimeError):
        embedding.start([torch.randn(5, 6), torch.randn(3, 6)])
