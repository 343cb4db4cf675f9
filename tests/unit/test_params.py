"""The schema: what is shipped loads, and what is wrong says so with file, key, value and remedy, before anything runs."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from pydantic import ValidationError

import agrepa
from agrepa import params
from agrepa.errors import ParamsError
from agrepa.params import stages
from agrepa.params.base import kinds, stated

PARAMS = Path(__file__).resolve().parents[2] / "params"
PACKAGE = Path(agrepa.__file__).parent
SLIPS = yaml.safe_load(Path(__file__).with_name("slips.yaml").read_text(encoding="utf-8"))
INFINITY = float("inf")


@pytest.mark.parametrize(
    "path", sorted(p for p in PARAMS.glob("*.yaml") if p.name not in params.FILES.values()), ids=lambda p: p.name
)
def test_every_shipped_experiment_loads_and_is_named_after_its_file(path):
    try:
        name = params.load(path).name
    except ParamsError as error:
        if not all("which is not installed" in line for line in str(error).splitlines()):
            raise
        pytest.skip(f"needs requirements/paper.txt: {error}")
    assert name == path.stem


def test_loading_imports_no_torch():
    code = f"import sys; from agrepa import params; params.load({str(PARAMS / 'demo.yaml')!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def parent(data, key):
    """What holds the value at a dotted key, and the last part of the key; digits count items of lists."""
    *way, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    for part in way:
        data = data[part]
    return data, last


def edited(folder, put, drop=None):
    """The shipped files in ``folder``, changed as slips.yaml says."""
    changed = {"demo": {}, "arms": {}, "archives": {}}
    for key in [*put, drop] if drop else put:
        where, _, inside = key.rpartition(":")
        changed[where or "demo"][inside] = key
    for file, keys in changed.items():
        source = PARAMS / f"{file}.yaml"
        if not keys:
            shutil.copy(source, folder)
            continue
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
        for inside, key in keys.items():
            holder, last = parent(data, inside)
            if key == drop:
                del holder[last]
            else:
                holder[last] = put[key]
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return folder / "demo.yaml"


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_one_clear_error(tmp_path, slip):
    with pytest.raises(ParamsError) as raised:
        params.load(edited(tmp_path, slip.get("put", {}), slip.get("drop")))
    assert str(raised.value).replace(f"{tmp_path}/", "") == slip["says"]


def leaves(data, key=""):
    """(dotted key, value) of everything in nested mappings and lists; lists also as a whole."""
    if not isinstance(data, dict):
        yield key, data
    if isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(value, f"{key}.{name}".removeprefix("."))


def refused(data, key, value):
    """Whether the experiment is refused, with an error at ``key`` or in it, once that is ``value``."""
    data = copy.deepcopy(data)
    holder, last = parent(data, key)
    holder[last] = value
    try:
        params.Experiment.model_validate(data)
    except ValidationError as error:
        return any(f"{'.'.join(map(str, item['loc']))}.".startswith(f"{key}.") for item in error.errors())
    return False


def test_no_number_anywhere_may_be_true_infinite_or_text(demo):
    data = demo.model_dump(mode="json")
    numbers = [key for key, value in leaves(data) if isinstance(value, int | float) and not isinstance(value, bool)]
    assert len(numbers) > 90
    for value in (True, INFINITY, float("nan"), "1"):
        assert [key for key in numbers if not refused(data, key, value)] == []


def test_no_list_may_be_empty_but_what_an_encoder_keeps(demo):
    data = demo.model_dump(mode="json")
    lists = {key: value for key, value in leaves(data) if isinstance(value, list) and value}
    kept = {key for key in lists if key.endswith((".frames", ".means"))}
    # A source may be a CSV, and says so as a whole.
    whole = {key for key in lists if key.startswith("corpora.sources.")}
    assert [key for key in lists if key not in kept | whole and not refused(data, key, [])] == []
    assert [key for key in whole if not refused(data, key, []) and not refused(data, key.removesuffix(".archives"), {})] == []


def test_a_count_that_no_one_knows_passes(tmp_path):
    every = {f"corpora.{split}": {"speech": None, "audio": None, "unseen": None} for split in ("validation", "test")}
    every["corpora.train"] = {"speech": None, "audio": None}
    many = {"shards": 5000, "probes.lasp.clips": 9999, "evaluation.frechet.reference_clips": 9999}
    assert params.load(edited(tmp_path, every | many)).shards == 5000


def test_own_recordings_need_no_archive(tmp_path):
    own = params.load(edited(tmp_path, {"corpora.sources": {"mine": {"kind": "folder", "csv": "list.csv"}}}))
    assert own.corpora.sources["mine"].csv == "list.csv"


def test_encoders_have_any_names(tmp_path):
    """Two sets of outputs of one network, under names of one's own."""
    data = yaml.safe_load((PARAMS / "demo.yaml").read_text(encoding="utf-8"))
    encoders = data["encoders"] | {"ear": data["encoders"]["yamnet"] | {"label": "Ear", "means": ["block13"]}}
    loaded = params.load(edited(tmp_path, {"encoders": encoders, "teachers.audio": ["ear", "block13"]}))
    assert loaded.teachers.audio == ("ear", "block13")


def test_a_new_module_needs_no_edit_of_the_schema(tmp_path):
    package = shutil.copytree(PACKAGE, tmp_path / "agrepa", ignore=shutil.ignore_patterns("__pycache__"))
    new = {
        "alignment/heads/twin.py": "def build(settings, width, target_width): ...\n",
        "alignment/heads/helper.py": "def blend(x): ...\n",
        "probes/entropy.py": "def run(p, *, warmup, out): ...\n",
        "encoders/voice.py": "import not_needed\nOUTPUTS: dict[str, int] = {'embedding': 160}\ndef load(archives): ...\n",
        "encoders/silent.py": "OUTPUTS = tuple(range(3))\ndef load(archives): ...\n",
        "model/toy/__init__.py": "def build(settings, bands, vocabularies): ...\n",
    }
    for name, text in new.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text)
    voice = {"kind": "voice", "label": "Voice", "archives": ["yamnet"], "domains": ["speech", "audio"], "frames": ["embedding"]}
    change = {
        "arms:ag_repa.head": "twin",
        "arms:ag_repa.strategy": "entropy",
        "probes.entropy": {"clips": 4, "times": [0.5]},
        "model.kind": "toy",
        "encoders.voice": voice,
        "evaluation.frechet.embeddings": ["voice"],
    }
    loaded = params.load(edited(tmp_path, change), package)
    assert (loaded.rows["ag_repa"].head, loaded.probes.entropy.clips, loaded.model.kind) == ("twin", 4, "toy")
    with pytest.raises(ParamsError, match=r"ag_repa.head: .* has conv, conv2d, identity, mlp \(found 'twin'\)"):
        params.load(edited(tmp_path, {"arms:ag_repa.head": "twin"}))
    with pytest.raises(ParamsError, match=r"arms.yaml: ag_repa.head: there is no such kind: .*twin \(found 'helper'\)"):
        params.load(edited(tmp_path, {"arms:ag_repa.head": "helper"}), package)
    with pytest.raises(ParamsError, match=r"encoders.voice.kind: .* has aisfx, .*vggish, voice, .*, yamnet \(found 'silent'\)"):
        params.load(edited(tmp_path, {"encoders.voice": voice | {"kind": "silent"}}), package)


def test_what_modules_there_are_and_what_they_state_is_read_from_their_files(tmp_path):
    (tmp_path / "one.py").write_text("LEVELS = {'a': 1}\nOTHER = len('a')\ndef load(path):\n    def build(): ...\n")
    (tmp_path / "__init__.py").write_text("def load(): ...\n")
    assert kinds("", "load", tmp_path) == kinds("", package=tmp_path) == ["one"]
    assert kinds("", "build", tmp_path) == kinds("nowhere", "load", tmp_path) == []
    assert stated("", "one", "LEVELS", tmp_path) == {"a": 1}
    assert stated("", "one", "OTHER", tmp_path) is stated("", "one", "NONE", tmp_path) is None


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"nowhere.yaml: no such params file"):
        params.load(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ParamsError, match=r"bad.yaml: not valid YAML"):
        params.load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ParamsError, match=r"list.yaml: expected a mapping of keys, found list"):
        params.load(tmp_path / "list.yaml")


def test_a_key_that_is_there_twice_is_named(tmp_path):
    path = edited(tmp_path, {})
    arms = tmp_path / "arms.yaml"
    arms.write_text(arms.read_text() + "base: {label: Again, strategy: none}\n")
    with pytest.raises(ParamsError, match=r"(?s)arms.yaml: not valid YAML: the key 'base' is there twice.*line \d+"):
        params.load(path)


def test_rows_and_archives_belong_in_their_own_files(tmp_path):
    with pytest.raises(ParamsError, match=r"demo.yaml: key 'rows' belongs in .*arms.yaml"):
        params.load(edited(tmp_path, {"rows": {}}))


def test_all_slips_are_told_at_once(tmp_path):
    with pytest.raises(ParamsError) as raised:
        params.load(edited(tmp_path, {"shards": 9999, "control": "lasp", "model.kind": "unet"}))
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()] == ["model.kind", "control", "shards"]


def test_an_experiment_made_in_code_is_checked_as_well(demo):
    data = demo.model_dump(mode="json")
    assert params.Experiment.model_validate(data) == demo
    data["rows"]["ag_repa"]["k"] = 13
    with pytest.raises(ValueError, match=r"rows.ag_repa.k: arm 'ag_repa' asks for k = 13 layers and the model has 12"):
        params.Experiment.model_validate(data)


def test_what_stages_may_read_is_of_the_types_of_the_schema():
    settings = [kind for kind in vars(stages).values() if isinstance(kind, type) and issubclass(kind, stages.Settings)]
    assert len(settings) > 20
    assert all(get_type_hints(kind) for kind in settings if kind is not stages.Settings)


def derived(folder, name, text):
    """A params file of that text in a folder, beside copies of the shipped ones."""
    for path in PARAMS.glob("*.yaml"):
        shutil.copy(path, folder)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{name}.yaml"


def test_a_file_that_extends_another_changes_the_keys_that_it_states(tmp_path):
    path = derived(tmp_path, "tiny", "extends: demo.yaml\nname: tiny\nmodel: {depth: 6, front: {blocks: 1}}\narms: [base]\n")
    base, found = params.load(PARAMS / "demo.yaml"), params.load(path)
    assert (found.name, found.model.depth, found.model.front.blocks, found.arms) == ("tiny", 6, 1, ["base"])
    front = base.model.front.model_copy(update={"blocks": 1})
    assert found.model == base.model.model_copy(update={"depth": 6, "front": front})
    assert found.training == base.training


def test_an_error_names_the_file_that_states_the_key(tmp_path):
    path = derived(tmp_path, "tiny", "extends: demo.yaml\nname: tiny\nmodel: {depth: 0}\n")
    with pytest.raises(ParamsError, match=r"tiny\.yaml: model\.depth: .*\(found 0\)"):
        params.load(path)
    path.write_text("extends: demo.yaml\nname: tiny\ncorpora: {sample_rate: 8000}\n", encoding="utf-8")
    demo = tmp_path / "demo.yaml"
    demo.write_text(demo.read_text(encoding="utf-8").replace("heads: 2", "heads: 0"), encoding="utf-8")
    with pytest.raises(ParamsError) as raised:
        params.load(path)
    assert "tiny.yaml: corpora.sample_rate" in str(raised.value) and "demo.yaml: model.heads" in str(raised.value)


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nowhere.yaml", r"nowhere\.yaml: no such params file"),
        ("../demo.yaml", r"extends: must be the name of a params file beside it \(found '\.\./demo\.yaml'\)"),
        ("tiny.yaml", r"tiny\.yaml extends this file in turn"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path, extends, message):
    with pytest.raises(ParamsError, match=message):
        params.load(derived(tmp_path, "tiny", f"extends: {extends}\nname: tiny\n"))
