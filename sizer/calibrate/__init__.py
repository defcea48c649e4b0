"""Measured rows, the fit of the constants, and the comparison of predictions with measurements."""
