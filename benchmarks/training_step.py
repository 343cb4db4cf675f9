"""What one step of training costs: time, memory, and how much of the machine's arithmetic it uses.

    python benchmarks/training_step.py --params params/small.yaml
    python benchmarks/training_step.py --params params/small.yaml --precision 32-true --teacher-in-loop --pad-seconds 10

The step is the trainer's own, of the params' model, budget of frames and precision, with AG-REPA's supervision of three layers a
domain, on clips of random lengths and contents. The options bring back choices that cost and can be left out, one at a time or
together. Writes one JSON object to standard output.

Floating-point operations are those of the backbone's matrix products: linear layers, attention and convolutions, of valid frames
alone, a backward pass taken as two forward ones. "utilisation" (MFU) is what is done of them in a second over the peak.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agrepa import params as schema
from agrepa.alignment import supervision
from agrepa.alignment.bit_c import BiTC
from agrepa.data.collate import Batch, Whole
from agrepa.data.noise import Draw, draw
from agrepa.data.steps import Share
from agrepa.domains import DOMAINS
from agrepa.job import State
from agrepa.model.backbone import Backbone, build
from agrepa.model.conditioning import Condition
from agrepa.model.rotary import angles, rotate
from agrepa.model.transformer import Transformer
from agrepa.params.stages import ArmSettings
from agrepa.pipeline import keys
from agrepa.tokens.sequence import vocabularies
from agrepa.training.leaving import Notice
from agrepa.training.objective import Objective
from agrepa.training.trainer import Trainer

PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "4090": 165}
"""Dense bfloat16 teraflops a second that the makers state, by a part of the device's name."""
TEACHER = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}  # Whisper base
LISTENS = 3000  # mel frames that Whisper's encoder takes, 30 s
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d)


def forward_flops(backbone: Backbone, frames: int, bands: int, streams: int) -> Counter[str]:
    """Operations of one forward pass of one clip: "linear", "attention", "convolution". A multiplication and an addition are two.

    The backbone is run on shapes alone, with hooks on what multiplies matrices.
    """
    found: Counter[str] = Counter()
    shapes = copy.deepcopy(backbone).to("meta").eval()

    def linear(module: nn.Linear, given: tuple[Tensor, ...], made: Tensor) -> None:
        found["linear"] += 2 * module.in_features * made.numel()

    def convolution(module: nn.Conv1d, given: tuple[Tensor, ...], made: Tensor) -> None:
        over = given[0] if isinstance(module, nn.ConvTranspose1d) else made
        found["convolution"] += 2 * module.weight.numel() * over.shape[0] * math.prod(over.shape[2:])

    def attention(_: nn.Linear, given: tuple[Tensor, ...], made: Tensor) -> None:
        batch, length, width = given[0].shape
        found["attention"] += 4 * batch * length**2 * width  # Q K^T, and the weights times V

    for module in shapes.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
        elif isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(convolution)
        if isinstance(module, Transformer):
            module.qkv.register_forward_hook(attention)
    with torch.device("meta"):
        tokens, nothing = torch.zeros(1, frames, streams, dtype=torch.long), torch.zeros(1, dtype=torch.bool)
        condition = Condition(tokens, torch.zeros(1, frames), torch.zeros(1, frames, bands), nothing)
        shapes(torch.zeros(1, frames, bands), torch.zeros(1), condition, torch.ones(1, frames, dtype=torch.bool))
    return found


def explicit_attention(self: Transformer, x: Tensor, mask: Tensor) -> Tensor:
    """What ``Transformer.attend`` gives, by way of weights that are made and kept, ``[B, H, T, T]``."""
    batch, frames, width = x.shape
    query, key, value = self.qkv(x).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    if self.rotary:
        angle = angles(frames, width // self.heads, x.device)
        query, key = rotate(query, angle), rotate(key, angle)
    scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
    weights = scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(-1)
    return self.out((weights.to(value.dtype) @ value).transpose(1, 2).reshape(batch, frames, width))


def clips_of(p: ArmSettings, seconds: tuple[float, float], rate: float) -> list[int]:
    """Mel frames of clips of random lengths that fill a batch, cropped as in training."""
    drawn, most = torch.Generator().manual_seed(0), p.training.crop_frames or math.inf
    lengths: list[int] = []
    while True:
        part = float(torch.rand((), generator=drawn))
        frames = int(min(max(rate * (seconds[0] + part * (seconds[1] - seconds[0])), 2), most))
        if lengths and max(*lengths, frames) * (len(lengths) + 1) > p.training.batch_frames:
            return lengths
        lengths.append(frames)


def batch_of(p: ArmSettings, lengths: list[int], teacher_width: int, padded: int) -> tuple[Batch, Draw]:
    """Random clips of these lengths, by turns of speech and audio, padded to ``padded`` frames at least, and a draw of them."""
    size, frames, bands = len(lengths), max(*lengths, padded), p.mel.bands
    mask = torch.arange(frames) < torch.tensor(lengths)[:, None]
    domain = torch.arange(size) % len(DOMAINS)
    tokens = torch.stack([torch.randint(0, size_of, (size, frames)) for size_of in vocabularies(p.tokens, p.domains)], -1)
    mel = torch.randn(size, frames, bands) * mask[..., None]
    condition = Condition(tokens, torch.arange(frames).float() * mask, torch.zeros_like(mel), torch.zeros(size, dtype=torch.bool))
    whole = Whole([str(i) for i in range(size)], [DOMAINS[i] for i in domain])
    vectors = {name: torch.randn(whole.domains.count(name), teacher_width) for name in DOMAINS}
    batch = Batch(whole.ids, mel, mask, condition, domain, vectors, {}, whole)
    return batch, draw(p, batch, 0, 0)


class Teachers:
    """Of a dataset what a supervision asks it for: how wide the teachers' vectors are."""

    def __init__(self, width: int) -> None:
        self.width = width

    def teacher_widths(self) -> dict[str, int]:
        return dict.fromkeys(DOMAINS, self.width)


def listening(device: torch.device) -> Callable[[int], None]:
    """A teacher of Whisper base's size with random weights, which hears so many clips."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(**TEACHER)
    encoder = WhisperEncoder(config).to(device).eval()

    @torch.no_grad()
    def hear(clips: int) -> None:
        encoder(torch.zeros(clips, config.num_mel_bins, LISTENS, device=device))

    return hear


def settings(experiment: schema.Experiment, **training: Any) -> ArmSettings:
    """Those of the arm ``ag_repa``, with some keys of training changed."""
    p = keys.settings("train", experiment, {"arm": "ag_repa"})
    assert isinstance(p, ArmSettings)
    return dataclasses.replace(p, training=p.training.model_copy(update=training))


def measured(p: ArmSettings, options: argparse.Namespace) -> dict[str, Any]:
    """Time, memory and operations of a step."""
    rate = p.sample_rate / p.mel.hop
    lengths = clips_of(p, tuple(options.seconds), rate)
    padded = round(rate * options.pad_seconds)
    torch.manual_seed(0)
    backbone = build(p.model, p.mel.bands, vocabularies(p.tokens, p.domains), noise_scale=p.flow.noise_scale)
    each = {length: forward_flops(backbone, length, p.mel.bands, len(vocabularies(p.tokens, p.domains))) for length in {*lengths}}
    flops = 3 * sum((each[length] for length in lengths), Counter()).total()
    teachers: Any = Teachers(options.teacher_width)
    layers = [max(p.model.depth // 4, 1), p.model.depth // 2, p.model.depth]
    selection: Any = {domain: (layers, [1 / len(layers)] * len(layers)) for domain in DOMAINS}
    term = supervision.build(p, selection, backbone, teachers)
    objective = Objective(p.training, backbone, BiTC(backbone.width, teachers.teacher_widths()), term)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(p, objective, teachers, "benchmark", 0, 0, 1, None, State(Path(folder) / "state", ""))
    device = trainer.fabric.device
    share = Share(0, [batch_of(p, lengths, options.teacher_width, padded)], idle=False)
    hear = listening(device) if options.teacher_in_loop else None
    attend = Transformer.attend
    if options.attention_weights:
        Transformer.attend = explicit_attention
    taken = []
    try:
        for _ in range(options.warm_up + options.steps):
            begun = time.perf_counter()
            if hear is not None:
                hear(len(lengths))
            trainer.train(share, p.training.learning_rate, Notice(None))
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begun)
    finally:
        Transformer.attend = attend
    seconds = sorted(taken[options.warm_up :])[options.steps // 2]
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else "CPU"
    peak = options.peak_teraflops or next((value for part, value in PEAKS.items() if part in name), None)
    memory = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "device": name,
        "parameters": sum(parameter.numel() for parameter in objective.parameters()),
        "clips": len(lengths),
        "frames": sum(lengths),
        "padded_frames": len(lengths) * max(*lengths, padded),
        "seconds": round(seconds, 5),
        "frames_a_second": round(sum(lengths) / seconds),
        "peak_memory_gb": round(memory / 1e9, 3),
        "flops": flops,
        "teraflops_a_second": round(flops / seconds / 1e12, 4),
        "utilisation": None if peak is None else round(flops / seconds / 1e12 / peak, 4),
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params/demo.yaml"))
    parser.add_argument("--seconds", type=float, nargs=2, default=(1.0, 10.0), metavar=("FROM", "TO"), help="lengths of clips")
    parser.add_argument("--batch-frames", type=int, help="budget of a step, instead of the params'")
    parser.add_argument("--whole-clips", action="store_true", help="do not crop to training.crop_frames")
    parser.add_argument("--accelerator", choices=["cpu", "cuda", "auto"], help="instead of the params'")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], help="instead of the params'")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--teacher-in-loop", action="store_true", help="run an encoder like Whisper base on every clip as well")
    parser.add_argument("--attention-weights", action="store_true", help="attention that makes and keeps its weights")
    parser.add_argument("--pad-seconds", type=float, default=0.0, help="pad every clip to so many seconds at least")
    parser.add_argument("--teacher-width", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10, help="timed ones, of which the median is given")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them")
    parser.add_argument("--peak-teraflops", type=float, help="of the device, where it is not known by name")
    options = parser.parse_args(words)
    changes: dict[str, Any] = {"compile": options.compile}
    given = {"batch_frames": options.batch_frames, "accelerator": options.accelerator, "precision": options.precision}
    changes |= {key: value for key, value in given.items() if value is not None}
    if options.whole_clips:
        changes["crop_frames"] = None
    p = settings(schema.load(options.params), **changes)
    print(json.dumps({"options": vars(options) | {"params": str(options.params)}, **measured(p, options)}, indent=2))


if __name__ == "__main__":
    main()
