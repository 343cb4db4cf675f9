"""What a training starts from where no checkpoint is: the seeded initialisation of Phase I, and of an arm from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agrepa.alignment.bit_c import BiTC
from agrepa.model.backbone import build
from agrepa.seeding import generator
from agrepa.tokens.centres import tables
from agrepa.tokens.sequence import vocabularies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agrepa.model.backbone import Backbone
    from agrepa.params.stages import WarmupSettings


def initial(p: WarmupSettings, seed: int, codebooks: Sequence[Path], teacher_widths: dict[str, int]) -> tuple[Backbone, BiTC]:
    """The backbone and BiT-C as the stream of ``seed`` initialises them, the same whoever asks.

    Args:
        codebooks: of every token stream, whose centres the token tables begin as where ``model.tables`` says so.
        teacher_widths: domain -> channels of its teacher's vector.

    Raises ArtifactError when a stream's codebook is asked for and not among the files.
    """
    torch.manual_seed(generator(seed, "initialisation").initial_seed())
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
    if p.model.tables == "centres":
        backbone.tokens.start(tables(codebooks, p.tokens, p.model.token_width, p.domains))
    return backbone, BiTC(backbone.width, teacher_widths)
