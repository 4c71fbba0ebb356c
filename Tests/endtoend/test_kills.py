"""Some rounds of the tests that kill: `make hole` and `make backfill-kills` play them at length."""
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT

CHAOS = ROOT / "Tests" / "chaos"


def played(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, CHAOS / script, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def may_trace(directory: Path) -> bool:
    """Whether strace is there, and the system lets it look into another process."""
    if not shutil.which("strace"):
        return False
    with subprocess.Popen(["sleep", "20"]) as sleeper:
        tracer = subprocess.Popen(["strace", "-p", str(sleeper.pid), "-o", directory / "trace"], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        told = tracer.stderr.readline()
        sleeper.kill()
        tracer.wait(20)
    return "attached" in told


def test_a_server_killed_between_the_token_and_the_part_loses_and_doubles_nothing(tmp_path: Path) -> None:
    if not may_trace(tmp_path):
        pytest.skip("strace is missing or may not trace here")
    said = played("hole.py", "--rounds", "3", "--seed", "2")
    assert "each there once" in said


def test_a_backfill_that_is_killed_again_and_again_loads_each_row_once() -> None:
    said = played("backfill_kills.py", "--rows", "150000", "--kills", "10", "--seed", "3")
    assert "10 of the backfill" in said
