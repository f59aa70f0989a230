"""tests/fleet for a minute: hosts as network namespaces, and what happens to them."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fleet"))
import network  # noqa: E402
import run  # noqa: E402


@pytest.mark.skipif(network.why_not() is not None, reason=str(network.why_not()))
def test_a_fleet_loses_nothing_that_it_acknowledged(new_directory, built_images):
    seconds = float(os.environ.get("LARDER_FLEET_SECONDS", "40"))
    every = float(os.environ.get("LARDER_FLEET_EVERY", "1"))
    figures = run.run(new_directory, built_images, seconds, every, os.environ.get("LARDER_FLEET_SEED"))
    print(json.dumps(figures, indent=4))
    assert figures["acknowledged"] > 100 and figures["reads"] > 100
