"""scripts/mutants: its table fits the code and the tests of today, and it tells a mutant that is killed from others."""

import ast
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    """scripts/mutants as a module; nothing is written beside it."""
    loader = SourceFileLoader("mutants", str(ROOT / "scripts" / "mutants"))
    module = module_from_spec(spec_from_loader("mutants", loader))
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = write
    return module


def test_every_mutant_has_its_place_and_its_test(script):
    names = [mutant.name for mutant in script.MUTANTS]
    assert len(set(names)) == len(names) >= 28
    for mutant in script.MUTANTS:
        source = (ROOT / "jaxal" / mutant.file).read_text()
        assert source.count(mutant.old) == 1, mutant.name
        ast.parse(source.replace(mutant.old, mutant.new))
        file, _, test = mutant.test.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not test or test.partition("[")[0] in functions, mutant.test


def test_what_becomes_of_a_mutant(script, capsys):
    """Of the size that padded fits have: tested, not tested, written wrong, and no longer there."""
    test = "test_logreg.py::test_buckets_are_few_and_waste_little"
    size, end = "power = 1 << max(6, (n - 1).bit_length())", "return -(-n // step) * step"
    mutants = [
        script.Mutant("killed", "numerics/arrays.py", end, "return -(-n // step) * step - 1", test),
        script.Mutant("alike", "numerics/arrays.py", end, "return (n + step - 1) // step * step", test),
        script.Mutant("no Python", "numerics/arrays.py", size, "power = 1 <<", test),
        script.Mutant("gone", "numerics/arrays.py", "power = 2 <<", "", test),
    ]
    before = (ROOT / "jaxal" / "numerics" / "arrays.py").read_bytes()
    assert script.try_out(mutants, keep_going=True) == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if "numerics/arrays.py  " in line]
    for line, ending in zip(lines, (f"killed by {test}[", "SURVIVED", "BROKE its test", "MISPLACED"), strict=True):
        assert ending in line
    assert script.try_out([mutants[3], mutants[0]], keep_going=False) == 1
    assert "killed by" not in capsys.readouterr().out
    assert (ROOT / "jaxal" / "numerics" / "arrays.py").read_bytes() == before


def test_tests_that_fail_without_a_mutant_end_it(script):
    missing = script.Mutant("any", "numerics/arrays.py", "a", "b", "test_logreg.py::test_that_is_not_there")
    with pytest.raises(SystemExit, match="the tests do not pass without a mutant"):
        script.try_out([missing], keep_going=False)
