"""Presets of translations."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from models.translator_config import PRESETS, SKELETONS, small


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_carries_its_name(name):
    assert PRESETS[name]().preset == name


def test_the_presets_for_real_tables_hold_ensembles_of_ten_of_either_skeleton():
    assert [PRESETS[name]().ensemble for name in ("small", "published")] == [10, 10]
    assert {PRESETS[name]().skeleton for name in ("small", "published")} == set(SKELETONS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("width", 0, "at least 1"),
        ("epochs", 0, "at least 1"),
        ("ensemble", 1, "at least 2"),
        ("smallest_sample", 5, "at least 20"),
        ("learning_rate", 0.0, "a positive number"),
        ("huber", float("inf"), "a positive number"),
        ("balance", -0.1, "a number from 0"),
        ("balance_cap", 0.5, "at least 1"),
        ("hide_input", 1.0, r"a number in \[0, 1\)"),
        ("test_fraction", 0.0, r"a number in \(0, 0.4\]"),
        ("select_fraction", 0.5, r"a number in \(0, 0.4\]"),
        ("skeleton", "transformer", "one of"),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(name, value, said):
    with pytest.raises(ValueError, match=f"'small'.*{name} is {value!r}.*expected {said}.*change the preset"):
        replace(small(), **{name: value})


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        small().width = 3


def test_a_plan_can_read_presets_without_torch():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, models.translator_config; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False"
