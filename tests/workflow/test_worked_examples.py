"""The worked examples of docs/add-*.md, as they are printed there (the corpus's is in tests/unit/test_folder.py)."""

import re

import pytest
import torch
import yaml
from shrunken import Workspace

from agrepa import params
from agrepa.artifacts.files import read_json

pytestmark = pytest.mark.slow


def blocks(document, language):
    """The code blocks of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


def executed(module, name):
    """What a printed module defines."""
    names = {"__name__": name}
    exec(compile(module, name, "exec"), names)
    return names


def change(path, old, new):
    """Replace the first ``old`` in a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_new_arms_and_a_new_head_are_all_that_is_planned(root, workspace):
    guide = root / "docs" / "add-an-arm.md"
    arms, listed, linear = map(yaml.safe_load, blocks(guide, "yaml"))
    (module,) = blocks(guide, "python")
    (workspace.folder / "src/agrepa/alignment/heads/linear.py").write_text(module)
    workspace.edit("params/arms.yaml", arms | linear)
    workspace.edit("params/demo.yaml", {"arms": [row for row in [*listed["arms"], *linear] if row != "repa_l8"]})
    planned = workspace.planned()
    assert (planned["select"], planned["train"], planned["synthesize"], planned["wer"]) == (3, 3, 3, 3)
    prepared = {"fetch", "candidates", "decode", "manifest", "mel", "encode", "index", "codebook", "tokenize"}
    assert not (prepared | {"warmup", "fog_a", "lasp", "gradient_norm", "anchor"}) & planned.keys()


def test_the_new_head_maps_frames_and_pooled_states(root):
    (module,) = blocks(root / "docs" / "add-an-arm.md", "python")
    head = executed(module, "linear")["build"](None, 8, 5)
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert head(torch.ones(2, 3, 8), mask).shape == (2, 3, 5)
    assert head(torch.ones(2, 8), mask).shape == (2, 5)


def test_the_new_probe_scores_every_layer_and_an_arm_can_follow_it(root, workspace):
    guide = root / "docs" / "add-a-probe.md"
    module, entry, settings = blocks(guide, "python")
    (rule,) = blocks(guide, "snakemake")
    probe, stages = workspace.folder / "src/agrepa/probes/update_size.py", workspace.folder / "src/agrepa/pipeline/stages.py"
    rules, place = workspace.folder / "workflow/rules/probes.smk", "work/demo/probes/dit/seed0/update_size.json"
    probe.write_text(module)
    change(stages, '    "select": Stage(', f'{entry}    "select": Stage(')
    rules.write_text(f"{rules.read_text()}\n\n{rule}")
    command = f"snakemake --cores 1 -- {place}"
    assert f"`{command}`" in guide.read_text()
    workspace.run(*command.split())
    scores = read_json(workspace.folder / place)["domains"]
    assert all(len(domain["score"]) == 4 and min(domain["score"]) > 0 for domain in scores.values())

    line, arm = map(yaml.safe_load, blocks(guide, "yaml"))
    classes = workspace.folder / "src/agrepa/params/stages.py"
    classes.write_text(f"{classes.read_text()}\n\n{settings}")
    probe.write_text(module.replace("GradientNormSettings", "UpdateSizeSettings"))
    change(stages, entry, entry.replace("GradientNormSettings", "UpdateSizeSettings"))
    line["probes"]["update_size"]["clips"] = 3
    workspace.edit("params/demo.yaml", line | {"arms": ["base", "ag_repa", *arm]})
    workspace.edit("params/arms.yaml", arm)
    workspace.run("snakemake", "--cores", "1", "--", "work/demo/selections/seed0/far_movers.json")
    scores = read_json(workspace.folder / place)["domains"]
    selection = read_json(workspace.folder / "work/demo/selections/seed0/far_movers.json")["domains"]
    assert all(selection[domain]["layers"] == found["ranking"][:3] for domain, found in scores.items())


def test_the_new_encoder_turns_a_tone_into_unit_vectors(root):
    from agrepa.archives.fetch import fetch
    from agrepa.params.archives import Archive

    pinned, _ = map(yaml.safe_load, blocks(root / "docs" / "add-an-encoder.md", "yaml"))
    (module,) = blocks(root / "docs" / "add-an-encoder.md", "python")
    encoder = executed(module, "voice")["load"]([fetch(Archive(**pinned["resemblyzer"]))])
    tone = torch.sin(torch.arange(40000) * 0.2)
    vectors = encoder(torch.stack([tone, tone]), torch.tensor([40000, 20000]))["embedding"]
    assert [v.shape for v in vectors] == [(2, 256), (1, 256)]
    torch.testing.assert_close(vectors[0].norm(dim=1), torch.ones(2))


def test_the_new_encoder_needs_no_edit_of_the_schema(root, tmp_path):
    pinned, named = map(yaml.safe_load, blocks(root / "docs" / "add-an-encoder.md", "yaml"))
    (module,) = blocks(root / "docs" / "add-an-encoder.md", "python")
    space = Workspace(tmp_path)
    (space.folder / "src/agrepa/encoders/voice.py").write_text(module)
    space.edit("params/archives.yaml", pinned)
    space.edit("params/demo.yaml", named)
    experiment = params.load(space.folder / "params/demo.yaml", space.folder / "src/agrepa")
    assert "voice" in experiment.evaluation.frechet.embeddings
    assert experiment.encoders["voice"].archives == ["resemblyzer"]
