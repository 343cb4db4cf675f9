"""The worked examples of docs/add-*.md, as they are printed there (the corpus's is in tests/unit/test_corpora.py)."""

import re

import pytest
import torch
import yaml

pytestmark = pytest.mark.slow


def blocks(document, language):
    """The code blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


def test_two_new_arms_are_all_that_is_planned(root, workspace):
    arms, listed = blocks(root / "docs" / "add-an-arm.md", "yaml")
    workspace.edit("params/arms.yaml", yaml.safe_load(arms))
    workspace.edit("params/demo.yaml", {"arms": [row for row in yaml.safe_load(listed)["arms"] if row != "repa_l8"]})
    planned = workspace.planned()
    assert (planned["select"], planned["train"], planned["synthesize"], planned["wer"]) == (2, 2, 2, 2)
    assert not {"fetch", "prepare", "encode", "tokenize", "warmup", "fog_a", "anchor"} & planned.keys()


def test_the_new_probe_scores_every_layer(root, workspace):
    (module,) = blocks(root / "docs" / "add-a-probe.md", "python")
    (workspace.folder / "src/agrepa/probes/update_size.py").write_text(module)
    shards = {name: [f"work/demo/{name}/{k}.safetensors" for k in (0, 1)] for name in ("mel", "tokens")}
    shards |= {name: [f"work/demo/features/{name}/{k}.safetensors" for k in (0, 1)] for name in ("whisper", "yamnet")}
    script = f"""
from pathlib import Path
from agrepa import params
from agrepa.probes import update_size
sources = {{name: [Path(path) for path in paths] for name, paths in {shards}.items()}}
sources |= {{"manifest": Path("work/demo/manifest.parquet"), "statistics": Path("work/demo/mel/statistics.json")}}
p = params.load(Path("params/demo.yaml"))
update_size.run(p, Path("work/demo/warmup/checkpoint.safetensors"), Path("probe.json"), **sources)
"""
    workspace.run("python", "-c", script)
    scores = yaml.safe_load((workspace.folder / "probe.json").read_text())["domains"]
    assert all(len(domain["score"]) == 4 and min(domain["score"]) > 0 for domain in scores.values())


def test_the_new_encoder_turns_a_tone_into_unit_vectors(root, tmp_path):
    from agrepa.archives.fetch import fetch
    from agrepa.params import Archive

    pinned, _ = blocks(root / "docs" / "add-an-encoder.md", "yaml")
    (module,) = blocks(root / "docs" / "add-an-encoder.md", "python")
    wheel = fetch(Archive(**yaml.safe_load(pinned)["resemblyzer"]))
    names = {"__name__": "voice"}
    exec(compile(module, "add-an-encoder.md", "exec"), names)
    encoder = names["load"]([wheel])
    tone = torch.sin(torch.arange(40000) * 0.2)
    vectors = encoder(torch.stack([tone, tone]), torch.tensor([40000, 20000]))["embedding"]
    assert [v.shape for v in vectors] == [(2, 256), (1, 256)]
    torch.testing.assert_close(vectors[0].norm(dim=1), torch.ones(2))
