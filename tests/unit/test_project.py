"""The project's own files agree with each other."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def pins(path):
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line)


def test_every_requirement_is_pinned_plainly_and_matches_pyproject():
    lock = {}
    for file in ("lock.txt", "no-deps.txt", "paper.txt"):
        lock |= pins(ROOT / "requirements" / file)
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in lock.values()), "no local versions, URLs or ranges"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["paper"]]
    for requirement in wanted:
        name, _, version = requirement.partition("==")
        if version:
            assert lock[name] == version, requirement


def test_the_conda_environment_installs_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert environment["dependencies"][0] == "python=3.11"
    assert project["requires-python"] == ">=3.11,<3.12"
    assert environment["dependencies"][-1]["pip"] == ["-r requirements/lock.txt"]


def test_torchaudio_and_the_audio_models_of_transformers_import():
    import torch
    import torchaudio
    from transformers import HubertModel, Wav2Vec2Model, WhisperModel

    assert WhisperModel and HubertModel and Wav2Vec2Model
    tone = torch.sin(torch.arange(1600) * 0.3)
    assert torchaudio.functional.resample(tone, 16000, 8000).shape == (800,)


def test_documents_link_only_to_files_that_exist():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
