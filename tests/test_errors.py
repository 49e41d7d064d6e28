"""One root of errors, one exit code for each kind, one did-you-mean."""

import pytest

from jaxal import errors
from jaxal_extract import ExtractError


@pytest.mark.parametrize("kind", [errors.StoreError, errors.DataError, errors.ConfigError, ExtractError])
def test_a_user_error_is_one_line_and_exit_code_2(kind):
    assert errors.outcome(kind("two\n lines\r\nand  more")) == (2, "Error: two lines and more")


def test_other_ends_of_a_command():
    code, line = errors.outcome(KeyboardInterrupt())
    assert code == 130
    assert line.startswith("Interrupted")
    assert "\n" not in line
    assert errors.outcome(ValueError("ours")) is None
    assert errors.outcome(SystemExit(3)) is None


def test_did_you_mean():
    known = ["margin", "entropy", "badge"]
    assert errors.closest("margn", known) == "margin"
    assert errors.closest("zzz", known) is None
    assert errors.did_you_mean("margn", known) == " (did you mean margin?)"
    assert errors.did_you_mean("zzz", known) == ""
    assert errors.unknown("strategy", "margn", known) == "unknown strategy 'margn': did you mean margin?"
    assert errors.unknown("strategy", "zzz", known) == "unknown strategy 'zzz': known: margin, entropy, badge"
    assert errors.unknown("strategy", "zzz", iter([])) == "unknown strategy 'zzz': known: none"
    assert errors.closest("5", [*known, "50"]) == errors.closest(5, [*known, "50"]) == "50"
