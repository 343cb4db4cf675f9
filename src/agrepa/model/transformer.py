"""What transformer blocks of every backbone share: masked self-attention, a feed-forward part, and the block without a time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from agrepa.model.rotary import angles, rotate


class Transformer(nn.Module):
    """Attention and feed-forward; a subclass says what stands before and behind them.

    Args:
        width: D.
        heads: of attention; each has D / heads channels.
        ff_mult: hidden width of the feed-forward part over D.
        rotary: whether attention sees how far apart two frames are.
    """

    def __init__(self, width: int, heads: int, ff_mult: int, dropout: float, rotary: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, ff_mult * width), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(ff_mult * width, width)
        )

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Self-attention of x ``[B, T, D]`` over the frames where mask ``[B, T]`` is True: ``[B, T, D]``."""
        batch, frames, width = x.shape
        query, key, value = self.qkv(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.rotary:
            angle = angles(frames, width // self.heads, x.device)
            query, key = rotate(query, angle), rotate(key, angle)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        return self.out(mixed.transpose(1, 2).reshape(batch, frames, width))


class PreNorm(Transformer):
    """The ordinary block, a norm before each part and no time: returns what it adds, not the sum.

    Args:
        norm: class of both norms, built as ``norm(width)``.
    """

    def __init__(
        self, width: int, heads: int, ff_mult: int, dropout: float, rotary: bool, norm: type[nn.LayerNorm] | type[nn.RMSNorm]
    ) -> None:
        super().__init__(width, heads, ff_mult, dropout, rotary)
        self.norm_attention, self.norm_feed_forward = norm(width), norm(width)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """h ``[B, T, D]``, mask ``[B, T]`` -> residual ``[B, T, D]``."""
        attended = self.attend(self.norm_attention(h), mask)
        return attended + self.feed_forward(self.norm_feed_forward(h + attended))
