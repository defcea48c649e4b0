"""What tests of pipes need of a system."""

import os

import pytest

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO")
