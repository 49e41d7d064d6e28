"""`jaxal list`: what is stored, what is damaged, and which models there are."""

import json

from click.testing import CliRunner
from test_store import change_manifest, write

from jaxal.cli.group import group
from jaxal_extract.models.table import MODELS


def listed(root) -> list[str]:
    result = CliRunner().invoke(group, ["list", "--store", str(root)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_a_damaged_pool_is_named_and_the_others_are_listed(tmp_path):
    for dataset, model in (("mnli", "minilm"), ("mnli", "other"), ("own", "made"), ("sound", "made")):
        write(tmp_path / dataset / model, dataset=dataset, model=model)
    (tmp_path / "mnli" / "other" / "manifest.json").write_text("{")
    change_manifest(tmp_path / "own" / "made", class_names=[["a"], ["b"], ["c"]])
    lines = listed(tmp_path)
    by_name = {line.split()[0]: line for line in lines if line}
    assert by_name["mnli"].endswith("   minilm, other (damaged)")
    assert by_name["own"].split() == ["own", "your", "own", "made", "(damaged)"]
    assert by_name["sound"].split() == ["sound", "your", "own", "3", "10", "4", "made"]
    damaged = [line for line in lines if line.startswith("damaged: ")]
    assert len(damaged) == 2
    assert f"{tmp_path / 'mnli' / 'other' / 'manifest.json'} cannot be read" in damaged[0]
    assert f"{tmp_path / 'own' / 'made' / 'manifest.json'} has class names" in damaged[1]


def test_a_sound_store_has_no_such_lines(tmp_path):
    write(tmp_path / "own" / "made")
    path = tmp_path / "half" / "made"
    path.mkdir(parents=True)
    about = json.loads((tmp_path / "own" / "made" / "manifest.json").read_text())
    (path / "unfinished.json").write_text(json.dumps(about))
    lines = listed(tmp_path)
    assert not [line for line in lines if "damaged" in line]
    assert any(line.startswith("half ") and line.endswith("made (unfinished)") for line in lines)


def test_every_model_has_its_line_with_what_is_not_checked(tmp_path):
    lines = listed(tmp_path)
    by_name = {line.split()[0]: line for line in lines if line}
    for name, model in MODELS.items():
        assert model.hub_id in by_name[name]
        assert ("not checked on its real weights" in by_name[name]) == (name != "minilm")
    assert "--trust-remote-code" in by_name["nv-embed-v2"]
    assert "licence cc-by-nc-4.0" in by_name["sfr-embed-2"]
