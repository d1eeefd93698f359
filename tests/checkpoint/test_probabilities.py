"""The file of a run's scale: read as written, and never believed where it is damaged."""

from __future__ import annotations

import pytest

from ancf_jax.checkpoint.probabilities import (
    FILE,
    read_calibration,
    save_calibration,
)
from ancf_jax.errors import UserError
from ancf_jax.objective.calibration import Calibration

SCALE = Calibration(0.9841481452061298, -0.0810762679830015)


def test_what_is_read_is_what_was_written(tmp_path):
    save_calibration(tmp_path, 7, SCALE)
    assert read_calibration(tmp_path, 7) == SCALE
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_scale_of_another_checkpoint_is_none(tmp_path):
    assert read_calibration(tmp_path, 7) is None
    save_calibration(tmp_path, 7, SCALE)
    assert read_calibration(tmp_path, 6) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"epoch": 7, "slope": 1.0',
        '{"epoch": 7, "slope": 1.0}',
        '{"epoch": 7, "slope": "steep", "offset": 0.0}',
        '{"epoch": 7, "slope": NaN, "offset": 0.0}',
        '{"epoch": 7, "slope": 1.0, "offset": Infinity}',
        '{"epoch": 7, "slope": -1.0, "offset": 0.0}',
        '{"epoch": 7, "slope": true, "offset": 0.0}',
        '{"slope": 1.0, "offset": 0.0}',
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"calibration\.json.* is damaged.*--resume"):
        read_calibration(tmp_path, 7)


def test_a_changed_digit_is_told(tmp_path):
    save_calibration(tmp_path, 7, SCALE)
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("0.98414", "0.98415"))
    with pytest.raises(UserError, match="not what its digest says"):
        read_calibration(tmp_path, 7)


def test_a_file_of_an_older_version_has_no_digest(tmp_path):
    (tmp_path / FILE).write_text('{"epoch": 7, "slope": 1.5, "offset": 0.25}')
    assert read_calibration(tmp_path, 7) == Calibration(1.5, 0.25)
