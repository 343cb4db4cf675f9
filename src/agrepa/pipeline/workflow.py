"""What the rules take from the experiment: a job's parameters, its command line, and the lists that its files run over."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import product
from typing import Any

from agrepa.evaluation import rows
from agrepa.params import Experiment
from agrepa.pipeline import keys
from agrepa.pipeline.file_lists import compact
from agrepa.pipeline.signatures import signature
from agrepa.pipeline.source import source_hash
from agrepa.tokens import sequence

WILDCARD = re.compile(r"\{(\w+)[^}]*\}")
PREFIX = "set -euo pipefail; trap '' TERM USR1; "
"""Before every rule's shell command. A batch system sends its signals to all processes of a job at once: a shell that died of
one, or the copy into the log, would take the stage along before it has written what it can go on from."""
SUFFIXES = {"deb": "deb", "wheel": "whl", "tar": "tar", "hub": "zip", "folder": "zip"}


class Workflow:
    """The experiment as the rules see it.

    Attributes:
        streams: token streams that the configuration has.
        kinds: of the backbones that arms are of; the experiment's own is the first.
        encoders: those that anything refers to, in the order of the params.
        evaluated: (row, seed) of everything that is evaluated.
    """

    def __init__(self, experiment: Experiment, params: str) -> None:
        self.experiment, self.params = experiment, params
        self.streams = sequence.streams(experiment.tokens, experiment.domains)
        self.stream_encoders = _distinct(getattr(experiment.tokens, stream).encoder for stream in self.streams)
        self.teacher_encoders = _distinct(getattr(experiment.teachers, domain)[0] for domain in experiment.domains)
        self.embeddings = list(experiment.evaluation.frechet.embeddings)
        used = {*self.stream_encoders, *self.teacher_encoders, *self.embeddings}
        self.encoders = [name for name in experiment.encoders if name in used]
        self.kinds = _distinct([experiment.model.kind, *(experiment.backbone_of[arm] for arm in experiment.arms)])
        self.shards = [str(shard) for shard in range(experiment.shards)]
        self.evaluated = [(row, str(s)) for row, s in rows.evaluated(experiment.arms, experiment.seeds, experiment.seed)]

    def job(self, stage: str) -> dict[str, Callable[..., str]]:
        """A rule's params: what the job reads, the hash of its code, and its command line."""

        def reads(wildcards: Any) -> str:
            return json.dumps(keys.values(stage, self.experiment, dict(wildcards)), sort_keys=True)

        def source(wildcards: Any) -> str:
            return source_hash(stage, self.experiment, dict(wildcards))

        def command(wildcards: Any, input: Any, output: Any) -> str:
            return shlex.join(self.words(stage, dict(wildcards), input, output))

        return {"reads": reads, "source": source, "command": command}

    def words(self, stage: str, wildcards: dict[str, str], reads: Any, writes: Any) -> list[str]:
        """The command line of a job: every argument of the stage's signature from the rule's files of that name."""
        found = ["agrepa", stage.replace("_", "-"), "--params", self.params]
        for name, kind in signature(stage).arguments.items():
            if kind == "Wildcard":
                value = wildcards[name]
            elif kind == "State":
                job = [f"{k}{v}" if v.isdigit() else v for k, v in wildcards.items()]
                value = f"work/{self.experiment.name}/state/{'.'.join([stage, *job])}"
            else:
                files = getattr(writes if kind == "Out" else reads, name)
                value = compact([files] if isinstance(files, str) else files)
            found += [f"--{name.replace('_', '-')}", value]
        return [*found, "--card", str(writes.card)]

    def download(self, archive: str) -> str:
        """Where a pinned archive lies once it is fetched."""
        return f"downloads/{archive}.{SUFFIXES[self.experiment.archives[archive].kind]}"

    def downloads(self, names: Iterable[str]) -> list[str]:
        """``download`` of several archives, each once."""
        return _distinct(map(self.download, names))

    def encoder_archives(self, *encoders: str) -> list[str]:
        """The downloads of some encoders."""
        return self.downloads(name for encoder in encoders for name in self.experiment.encoders[encoder].archives)

    @property
    def corpus_archives(self) -> list[str]:
        """The downloads of all corpora."""
        return self.downloads(name for source in self.experiment.corpora.sources.values() for name in source.archives)

    @property
    def own_recordings(self) -> list[str]:
        """Files of the user's own that a corpus lists, which are inputs though no command names them."""
        sources = self.experiment.corpora.sources.values()
        return [path for s in sources if s.own for path in import_module(f"agrepa.corpora.{s.kind}").listed(s)]

    @property
    def vocoder_archives(self) -> list[str]:
        """The download of the vocoder, if it has one."""
        archive = self.experiment.evaluation.vocoder.archive
        return [self.download(archive)] if archive else []

    @property
    def archives(self) -> list[str]:
        """Every download that the experiment reads."""
        evaluation = self.experiment.evaluation
        judges = (evaluation.judge, evaluation.second_judge, evaluation.mos, evaluation.similarity)
        judged = self.downloads(judge.archive for judge in judges if judge)
        return _distinct([*self.corpus_archives, *self.encoder_archives(*self.encoders), *judged, *self.vocoder_archives])

    def indexes(self, store: str, encoders: Iterable[str]) -> list[str]:
        """The indexes of some encoders' "features" or "targets"."""
        return [f"work/{self.experiment.name}/{store}/{encoder}/index.parquet" for encoder in encoders]

    def urgency(self, wildcards: Any) -> int:
        """The priority of an encoder's jobs: that of all that the warm-up waits for, or of what only evaluation reads."""
        return 30 if wildcards.encoder in {*self.stream_encoders, *self.teacher_encoders} else 0

    def aligned_frames(self, arm: str) -> list[str]:
        """The indexes of the teachers' frames, for an arm whose target they are."""
        return self.indexes("features", self.teacher_encoders if self.experiment.rows[arm].reads_frames else [])

    def every(self, pattern: str) -> list[str]:
        """The files of a rule's pattern over all its jobs, in the order of the params."""
        pattern = WILDCARD.sub(r"{\1}", pattern)  # a wildcard may carry its constraint
        names = _distinct(WILDCARD.findall(pattern))
        if names == ["archive", "suffix"]:
            return [f"{path}{pattern.partition('{suffix}')[2]}" for path in self.archives]
        lists: dict[str, list[str]] = {
            "shard": self.shards,
            "encoder": self.encoders,
            "embedding": self.embeddings,
            "stream": self.streams,
            "arm": list(self.experiment.arms),
            "seed": [str(seed) for seed in self.experiment.seeds],
            "kind": self.kinds,
            "store": self.stores,
        }
        if "row" in names:
            anchors = [pair for pair in self.evaluated if pair[0] in rows.ANCHORS]
            pairs = self.evaluated if "seed" in names else anchors
            others = [name for name in names if name not in ("row", "seed")]
            combinations = [
                {"row": row, "seed": seed} | dict(zip(others, values, strict=True))
                for row, seed in pairs
                for values in product(*(lists[name] for name in others))
            ]
        else:
            combinations = [dict(zip(names, values, strict=True)) for values in product(*(lists[name] for name in names))]
        return _distinct(pattern.format(**these) for these in combinations)

    def own(self, pattern: str) -> list[str]:
        """``every`` of the experiment's own backbone alone, of which the tables and figures of layers are."""
        return self.every(WILDCARD.sub(r"{\1}", pattern).replace("{kind}", self.experiment.model.kind))

    @property
    def stores(self) -> list[str]:
        """The feature stores, each with an index of its own."""
        kept = [f"features/{encoder}" for encoder in self.encoders]
        return ["mel", "tokens", *kept, *(f"targets/{encoder}" for encoder in self.teacher_encoders)]


def _distinct(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
