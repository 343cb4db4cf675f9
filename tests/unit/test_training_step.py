"""The benchmark of a training step: it counts operations as torch does, and its options cost what they cost."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from agrepa.model.backbone import build
from agrepa.model.conditioning import Condition
from agrepa.model.transformer import Transformer
from agrepa.params.model import Model

ROOT = Path(__file__).resolve().parents[2]
BANDS, VOCABULARIES = 10, [11, 7]


def benchmark() -> ModuleType:
    """The benchmark, under a name that no package has."""
    spec = importlib.util.spec_from_file_location("measured_training_step", ROOT / "benchmarks" / "training_step.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MEASURED = benchmark()


@pytest.mark.parametrize("kind", ["dit", "uvit", "f5", "unet1d"])
def test_operations_are_counted_as_torch_counts_them(sizes, kind) -> None:
    backbone = build(Model.model_validate(sizes | {"kind": kind, "depth": 8, "dropout": 0.0}), BANDS, VOCABULARIES)
    frames = 36
    condition = Condition(
        torch.zeros(1, frames, 2, dtype=torch.long),
        torch.arange(frames)[None].float(),
        torch.zeros(1, frames, BANDS),
        torch.zeros(1, dtype=torch.bool),
    )
    given = (torch.randn(1, frames, BANDS), torch.rand(1), condition, torch.ones(1, frames, dtype=torch.bool))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made = backbone(*given)
    found = MEASURED.forward_flops(backbone, frames, BANDS, 2)
    assert found.total() == counter.get_total_flops()
    assert all(found[part] > 0 for part in ("linear", "attention", "convolution"))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        made.sum().backward()
    # The first layers need no gradient of what they are given. torch takes depthwise convolutions for dense ones, backwards.
    products = {str(op): count for op, count in backward.get_flop_counts()["Global"].items() if "convolution" not in str(op)}
    assert 1.85 < sum(products.values()) / (found["linear"] + found["attention"]) <= 2.0


def test_explicit_attention_is_the_same_attention() -> None:
    torch.manual_seed(0)
    block, x = Transformer(24, 4, 2, 0.0, True).eval(), torch.randn(2, 9, 24)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    torch.testing.assert_close(MEASURED.explicit_attention(block, x, mask), block.attend(x, mask))


def measure(capsys, *words: str) -> dict:
    MEASURED.main(
        [*words, "--steps", "1", "--warm-up", "0", "--batch-frames", "300", "--seconds", "0.3", "1", "--accelerator", "cpu"]
    )
    return json.loads(capsys.readouterr().out)


def test_a_step_is_measured_on_a_cpu_and_padding_does_no_more_work(capsys) -> None:
    params = ["--params", str(ROOT / "params" / "demo.yaml")]
    plain = measure(capsys, *params, "--peak-teraflops", "0.5")
    assert plain["device"] == "CPU" and plain["frames"] <= plain["padded_frames"] <= 300
    assert plain["utilisation"] == pytest.approx(plain["flops"] / plain["seconds"] / 0.5e12, abs=1e-3)
    naive = measure(capsys, *params, "--pad-seconds", "3", "--attention-weights", "--precision", "32-true")
    assert naive["utilisation"] is None, "no peak is known of a CPU"
    assert naive["flops"] == plain["flops"], "what is done for padding is not counted as use"
    assert naive["padded_frames"] == naive["clips"] * round(3 * 62.5)
