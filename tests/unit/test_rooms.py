"""The rooms of the package import one way only, in the order of the DAG."""

import grimp
import pytest

ORDER = (
    *("params", "artifacts", "archives", "audio", "corpora", "encoders", "tokens", "flow", "model", "data", "alignment"),
    *("training", "probes", "selection", "evaluation", "reporting", "pipeline"),
)
# The rules take the names of the rows that are no arms from where those are stated; the pipeline is above every room.
FOUNDATION = {"errors", "domains", "extras", "progress", "job", "seeding", "device"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("agrepa", exclude_type_checking_imports=True, cache_dir=None)


def room(module):
    return module.split(".")[1] if "." in module else ""


def test_every_module_has_a_room(graph):
    assert {room(module) for module in graph.modules} - {""} == {*ORDER, *FOUNDATION}


def test_rooms_import_only_from_rooms_before_them(graph):
    place = {name: i for i, name in enumerate(ORDER)} | dict.fromkeys(FOUNDATION, -1)
    against = [
        f"{importer} -> {imported}"
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if room(importer) and room(imported) and place[room(imported)] > place[room(importer)]
    ]
    assert not against


def test_training_knows_nothing_of_probes_and_the_warm_up_nothing_of_alignment_but_bit_c(graph):
    training = graph.find_upstream_modules("agrepa.training.arm")
    assert not {module for module in training if room(module) in ("probes", "evaluation", "reporting")}
    warmup = {m for m in graph.find_upstream_modules("agrepa.training.warmup") if room(m) == "alignment"}
    assert warmup <= {"agrepa.alignment", "agrepa.alignment.bit_c"}


def test_flow_and_model_know_nothing_of_sound_or_data(graph):
    for name in ("flow", "model"):
        modules = [module for module in graph.modules if room(module) == name]
        behind = set().union(*(graph.find_upstream_modules(module) for module in modules))
        assert not {room(m) for m in behind} & {"archives", "audio", "corpora", "encoders", "tokens", "data", "evaluation"}


def test_no_room_but_encoders_names_an_encoder_and_none_but_corpora_a_corpus(root):
    encoders = ("whisper", "yamnet", "aisfx", "whisper_transformers", "beats", "s3", "vggish")
    for folder, names in (("encoders", encoders), ("corpora", ("queen", "game_sounds", "ufoai"))):
        for file in sorted((root / "src" / "agrepa").rglob("*.py")):
            if folder in file.parts:
                continue
            text = file.read_text()
            # The judge is Whisper through a library of that name: its class, its normaliser and the words of its record.
            found = [
                n for n in names if f'"{n}"' in text or f"{folder}.{n}" in text or f"_{n}" in text.replace("faster_whisper", "")
            ]
            assert not found, f"{file} names {found}"
