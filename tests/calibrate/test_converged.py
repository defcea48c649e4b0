"""The fit goes on until nothing is left to gain: constants hang on the rows, not on where the steps began."""

from __future__ import annotations

import pytest

from sizer.calibrate import fit_constants
from sizer.calibrate.measurements import read_measurements
from sizer.calibrate.observations import observe
from sizer.calibrate.terms import TERMS
from sizer.tables import data_path

pytest.importorskip("scipy")


@pytest.mark.parametrize("start", [4, 5])
def test_further_steps_move_no_row(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    """Of every eleventh row: steps that go on a thousand times as long move no predicted time by 2 %."""
    import numpy as np

    rows = read_measurements(data_path("measurements.csv"))[start::11]
    decode = [one for one in observe(rows) if one.quantity == "decode"]
    assert len(decode) > 100
    fitter = fit_constants.Fitter(decode, TERMS["decode"])
    told = np.log(fitter.seconds(fitter.solve()))
    monkeypatch.setattr(fit_constants, "ENOUGH_GAIN", fit_constants.ENOUGH_GAIN / 1000)
    monkeypatch.setattr(fit_constants, "STEPS", 20 * fit_constants.STEPS)
    assert np.abs(told - np.log(fitter.seconds(fitter.solve()))).max() < 0.02
