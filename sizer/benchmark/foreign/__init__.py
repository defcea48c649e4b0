"""Reads the files of other benchmark tools as measured rows."""
