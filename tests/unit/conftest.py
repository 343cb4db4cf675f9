"""A small model with weights that do something: adaLN-Zero starts as the identity, which would hide mistakes."""

import pytest
import torch

from agrepa.model.conditioning import Condition, frame_positions
from agrepa.model.dit import DiT
from agrepa.params import Model

BANDS, VOCABULARIES = 10, [11, 7]


def condition(lengths, tokens, frames, rate=0.8):
    """A padded condition of clips with ``lengths`` frames and ``tokens`` tokens."""
    ids = torch.full((len(lengths), max(tokens), len(VOCABULARIES)), -1)
    positions = torch.zeros(len(lengths), frames)
    for i, (length, count) in enumerate(zip(lengths, tokens, strict=True)):
        for stream, size in enumerate(VOCABULARIES):
            ids[i, :count, stream] = torch.arange(count) * (i + 2 + stream) % size
        positions[i, :length] = frame_positions(length, 1.0, count, rate)
    return Condition(ids, positions, torch.zeros(len(lengths), frames, BANDS), torch.zeros(len(lengths), dtype=torch.bool))


@pytest.fixture
def make_condition():
    return condition


@pytest.fixture
def model():
    torch.manual_seed(0)
    settings = Model(depth=5, width=24, heads=4, ff_mult=2, conv_kernel=5, dropout=0.1, token_width=8, head_width=16)
    dit = DiT(settings, BANDS, VOCABULARIES)
    with torch.no_grad():
        for name, parameter in dit.named_parameters():
            if "modulation" in name or "leave" in name:
                parameter.normal_(std=0.2)
    return dit.eval()


@pytest.fixture
def inputs():
    """x_t, t, condition and mask of three clips of 12, 9 and 5 frames."""
    torch.manual_seed(1)
    lengths = [12, 9, 5]
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    x = torch.randn(3, 12, BANDS) * mask.unsqueeze(-1)
    return x, torch.tensor([0.1, 0.5, 0.9]), condition(lengths, [10, 7, 4], 12), mask
