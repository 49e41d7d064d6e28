"""study.toml: what is wrong is said in one line that names the line; the grid it comes to, and its cost."""

import json

import commands
import numpy as np
import pandas as pd
import pytest
from commands import call, refused
from small import write_npz

from jaxal.data.sizes import Sizes, sizes
from jaxal.errors import ConfigError, StoreError
from jaxal.experiments.sweep import cost, plan, study

cache, here, world = commands.cache, commands.here, commands.world  # fixtures

WRONG = {  # the end of a study that begins with two good lines -> the line of the error, and what is said
    "an unknown key": ("seds = 3", 3, "unknown key 'seds': did you mean seeds?"),
    "a wrong type": ('cycles = "ten"', 3, "cycles has 'ten': each value must be a whole number from 1"),
    "a truth for a number": ("cycles = true", 3, "cycles has True"),
    "a number for a truth": ("normalize = [false, 1]", 3, "normalize has 1: each value must be true or false"),
    "an empty list": ("ips = []", 3, "ips is empty"),
    "a value on a line of its own": ('ips = [\n  "random",\n  "tpiclust",\n]', 5, "did you mean typiclust?"),
    "a variant": ('variants = ["oficial"]', 3, "unknown variant 'oficial': did you mean official?"),
    "a negative size": ("pool_sizes = [-5]", 3, 'must be a whole number from 1, or "full"'),
    "an infinite C": ("C = [1, inf]", 3, "C has inf"),
    "a list in a list": ("C = [[1]]", 3, "C has [1]"),
    "a small budget": ("\nbudgets = [50, 7]\ncycles = 10", 4, "a budget of 7 labels is less than one a cycle of 10"),
    "seeds of another kind": ('seeds = "many"', 3, "seeds is 'many'"),
    "no seeds": ("seeds = 0", 3, "seeds is 0"),
    "an empty range": ('seeds = "5:5"', 3, "seeds is '5:5'"),
    "a seed out of range": ("seeds = [1, -1]", 3, "seeds must be between 0 and 2^32 - 1"),
    "a seed of another kind": ("seeds = [1,\n 2.5]", 4, "seeds has 2.5"),
    "an unknown strategy's settings": ("[settings.badge]\nk = 1", 3, "settings of badge, which is not among"),
    "a setting": ("#\n[settings.margin]\nn = 1", 4, "margin has no settings (got 'n')"),
    "settings in no table": ("[settings]\nn = 1", 3, "settings are tables by strategy"),
    "a key twice": ("seeds = 3\nseeds = 4\n", None, "at line 4"),
    "no TOML": ("seeds == 3", None, "at line 3"),
}
BEGIN = 'datasets = ["digits"]\nstrategies = ["margin", "random"]\n'


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_study_is_told_with_its_line(here, kind):
    end, line, message = WRONG[kind]
    (here / "s.toml").write_text(BEGIN + end)
    said = refused("sweep", "s.toml")
    assert message in said
    assert said.startswith("s.toml is not TOML: " if line is None else f"s.toml, line {line}: "), said
    assert [path.name for path in here.iterdir()] == ["s.toml"], "something was begun"


def test_wrong_strategies_and_no_datasets(here):
    (here / "s.toml").write_text('seeds = 1\nstrategies = [\n"random",\n"no_module:f"]\ndatasets = "digits"')
    assert "s.toml, line 4: cannot load the strategy 'no_module:f'" in refused("sweep", "s.toml")
    (here / "s.toml").write_text("seeds = 1")
    assert "a study needs `datasets`" in refused("sweep", "s.toml")
    assert "cannot read none.toml (No such file" in refused("sweep", "none.toml")
    (here / "s.toml").write_bytes(b"\xff")
    assert "s.toml is not TOML" in refused("sweep", "s.toml")


def test_arguments_that_do_not_go_together(here):
    assert "give a study" in refused("sweep")
    assert "give one of them" in refused("sweep", "--dry-run", "--group", 1)
    assert "none has no plan.json" in refused("sweep", "--status", "none")


def read(here, text) -> study.Study:
    (here / "s.toml").write_text(text)
    return study.read(here / "s.toml")


def test_the_grid(here):
    grid = read(here, 'datasets = ["digits", "toy"]\nips = ["random", "coreset"]\nC = [1, 0.1]\nseeds = "3:5"\n'
                      'budgets = 100\ncycles = [10, 20]\nstrategies = "margin"')  # fmt: skip
    made = plan.make(grid)
    assert made.seeds == [3, 4]
    assert [group.folder for group in made.groups] == ["digits-pixels", "toy-made"]
    folders = [run.folder for run in made.groups[0].runs]
    assert folders[:4] == ["random-budget100-cycles10", "random-budget100-cycles10-C0.1", "random-budget100",
                           "random-budget100-C0.1"]  # fmt: skip
    assert len(set(folders)) == 8
    assert made.groups[0].runs[0].settings["batch_size"] == 10
    assert made.groups[0].runs[2].settings["initial_size"] == 5
    assert made.groups == plan.make(grid).groups


def test_folders_stay_when_a_study_grows(here):
    small = plan.make(read(here, 'datasets = "digits"'))
    large = plan.make(read(here, 'datasets = "digits"\nseeds = 50\nC = [0.1, 1.0]\npool_sizes = [100, "full"]\n'
                                 'normalize = [false, true]\nwarm_start = [true, false]'))  # fmt: skip
    runs = {run.folder: run.settings for run in large.groups[0].runs}
    assert len(runs) == 16
    assert small.groups[0].runs[0] == ("random", runs["random"])
    assert runs["random-pool100-C0.1-normalize-cold"] == {
        "ips": "random", "variant": "official", "cycles": 20, "C": 0.1, "normalize": True, "pool_size": 100,
        "warm_start": False,
    }  # fmt: skip


def test_a_plan_is_read_as_it_was_written(here):
    made = plan.make(read(here, 'datasets = ["toy", "missing"]\n[settings.dropquery]\nn_masks = 2'))
    plan.write(made, here / "out")
    again = plan.read(here / "out")
    assert again == made
    assert again.groups[1].sizes is None
    assert again.group("1") is again.groups[1]
    assert again.group("toy-made") is again.groups[0]
    with pytest.raises(ConfigError, match="unknown group '2'"):
        again.group("2")
    (here / "out" / "plan.json").write_text(json.dumps({"groups": [{"dataset": 1}]}))
    with pytest.raises(StoreError, match=r"plan\.json is damaged"):
        plan.read(here / "out")


def test_two_pools_of_one_name(here):
    for folder in ("a", "b"):
        (here / folder).mkdir()
        write_npz(here / folder / "p.npz")
    (here / "s.toml").write_text('datasets = ["a/p.npz", "b/p.npz"]')
    both = f"{here}/a/p.npz and {here}/b/p.npz"
    assert f"{both} would both be kept in p-npz: rename one of them" in refused("sweep", "s.toml")


def test_sizes(here, world):
    assert sizes("toy") == Sizes("toy", "made", 120, 60, 5, 3)
    assert sizes(str(world / "p.npz")) == Sizes("p", "npz", 120, 60, 5, 3)
    assert sizes(str(world / "store" / "raw" / "made"))[:5] == ("raw", "made", 120, 0, 5)
    assert sizes("digits", "pixels") == Sizes("digits", "pixels", 1437, 360, 64, 10)


def test_examples_are_studies(here):
    for name, groups, jobs in (("paper", 70, 16), ("small", 1, 6)):
        (here / "s.toml").write_text(call("sweep", "--example", name).stdout)
        made = plan.make(study.read(here / "s.toml"))
        assert len(made.groups) == groups
        assert all(len(group.runs) * len(made.strategies) == jobs for group in made.groups)


def test_rates_are_found_again():
    """Tables whose seconds follow the work exactly, of two seeds in a block, give the rates they were made with."""
    truth = {"fit": 3.0, "eval": 5.0, "random": 7.0, "margin": 11.0}
    measured = []
    for about in (Sizes("a", "b", 40, 10, 5, 2), Sizes("a", "c", 400, 20, 9, 4)):
        rows = [
            {"strategy": name, "variant": "official", "pool_size": about.n_rows, "batch_size": 4, "cycle": cycle,
             "n_labeled": 4 + 4 * cycle, "seeds_in_block": 2}
            for name in ("random", "margin") for _ in range(2) for cycle in range(4)
        ]  # fmt: skip
        for row in rows:
            kinds = {"fit": "fit", "eval": "eval", "select": row["strategy"]}
            for column, kind in kinds.items():
                labeled = np.array([row["n_labeled"] - 4 * (column == "select")])
                row[f"{column}_seconds"] = 2 * truth[kind] / 1e9 * cost._work(kind, about, labeled, 4)[0]
            if row["cycle"] == 0:
                row["select_seconds"] = 1e6  # of the initial pool
        measured.append((about, pd.DataFrame(rows)))
    assert cost.fitted(measured) == pytest.approx(truth)


def test_the_estimate_grows_with_the_work_and_longest_come_first(here, world):
    grid = 'datasets = ["toy", "missing", "digits"]\nseeds = {}\nstrategies = ["margin"]\ncycles = 4'
    made = cost.longest_first(plan.make(read(here, grid.format(1))))
    assert [group.folder for group in made.groups] == ["digits-pixels", "toy-made", "missing-minilm"]
    group, todo = made.groups[0], {"random-cycles4": ["margin"]}
    few, many = (cost.estimate(group, made._replace(seeds=list(range(n))), todo) for n in (100, 200))
    assert many.seconds - few.seconds == pytest.approx(few.seconds - cost._START - cost._COMPILE)
    assert many.bytes > few.bytes > 0.5e9
    assert cost.estimate(made.groups[2], made, {"random-cycles4": ["margin"]}) is None
    assert cost.estimate(group, made, {}).seconds == 0
    slow = {name: 2 * rate for name, rate in cost.RATES.items()}
    assert cost.estimate(group, made, todo, slow).seconds > cost.estimate(group, made, todo).seconds
