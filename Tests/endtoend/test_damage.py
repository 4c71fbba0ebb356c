"""A damaged spool never puts a wrong row into ClickHouse, and `verify` says that it is damaged.

Runs on a sample of the bits; `FLIPS=all` takes every one (about 25 a second).
"""
from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT
from pipeline import Pipeline, run

SEED = 20260801
FLIPS = os.environ.get("FLIPS", "120")
CUTS = 25

SETTINGS = """
[writer]
chunk_rows = 2
[loader]
linger = "1ms"
poll = "20ms"
backoff = "1ms"
backoff_max = "2ms"
"""

EVENTS = "".join(
    f'{{"table":"guardrail_transitions","ts":{1_795_000_000_000_000_000 + n},"prev_mode":"normal","next_mode":"storm",'
    f'"trigger_metric":"drawdown","value":{n}.5,"reason":"row {n}"}}\n' for n in range(6))
TABLE = "guardrail_transitions"


@dataclass
class Sound:
    """A small spool without damage, and the rows that it holds."""

    pipeline: Pipeline
    spool: Path
    segment: Path
    rows: list[str]

    def loaded_rows(self) -> list[str]:
        return self.pipeline.clickhouse.query(f"SELECT * FROM {TABLE} ORDER BY spool_seq").splitlines()

    def forget(self) -> None:
        """As if nothing had been loaded: the table empty, its tokens and the checkpoints gone."""
        self.pipeline.clickhouse.query(f"TRUNCATE TABLE {TABLE}")
        shutil.rmtree(self.pipeline.checkpoints, ignore_errors=True)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> "Sound":
    assert ROOT
    directory = tmp_path_factory.mktemp("damage")
    events = directory / "events.jsonl"
    events.write_text(EVENTS)
    pipeline = Pipeline(directory, settings=SETTINGS)
    try:
        pipeline.start_clickhouse()
        pipeline.import_files(events)
        pipeline.load_once()
        segment, = pipeline.spool.glob(f"{TABLE}/*.lz4")
        made = Sound(pipeline, pipeline.spool, segment, [])
        made.rows = made.loaded_rows()
        assert len(made.rows) == 6
        yield made
    finally:
        pipeline.kill()


def judge(sound: Sound, what: str, *, may_be_sound: bool = False) -> str:
    """Load and verify the spool as it is now; returns what is wrong, or nothing."""
    sound.forget()
    load = run(sound.pipeline.loader_command("run", "--once"), expect=(0, 1, 64, 74), timeout=30)
    loaded = sound.loaded_rows()
    if Counter(loaded) - Counter(sound.rows):
        return f"{what}: wrong rows: {loaded}\n{load.stderr}"
    verify = sound.pipeline.run_loader("verify", expect=(0, 1, 64, 74))
    if verify.returncode != 1 and not may_be_sound:
        return f"{what}: verify ended with {verify.returncode}\n{verify.stdout}{verify.stderr}"
    if load.returncode == 0 and loaded != sound.rows:
        return f"{what}: loaded {len(loaded)} of {len(sound.rows)} rows and ended with 0\n{load.stdout}{load.stderr}"
    return ""


def sample_of_bits(size: int) -> list[int]:
    bits = range(size * 8)
    if FLIPS == "all":
        return list(bits)
    return sorted(random.Random(SEED).sample(bits, min(int(FLIPS), size * 8)))


@pytest.mark.parametrize("part", ["segment", "mark"])
def test_a_flipped_bit_is_noticed_and_puts_no_wrong_row_into_clickhouse(part: str, sound: Sound) -> None:
    file = sound.segment if part == "segment" else sound.segment.with_name("durable")
    content = file.read_bytes()
    wrong = []
    try:
        for bit in sample_of_bits(len(content)) if part == "segment" else random.Random(SEED).sample(range(len(content) * 8), 30):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            if problem := judge(sound, f"bit {bit % 8} of byte {bit // 8} of {len(content)}"):
                wrong.append(problem)
    finally:
        file.write_bytes(content)
    assert not wrong, f"{len(wrong)} flips:\n" + "\n".join(wrong[:10])


def test_a_segment_cut_short_is_noticed_and_puts_no_wrong_row_into_clickhouse(sound: Sound) -> None:
    content = sound.segment.read_bytes()
    wrong = []
    try:
        for size in sorted({0, 1, len(content) - 1, *random.Random(SEED).sample(range(len(content)), CUTS)}):
            sound.segment.write_bytes(content[:size])
            if problem := judge(sound, f"cut to {size} of {len(content)} bytes"):
                wrong.append(problem)
    finally:
        sound.segment.write_bytes(content)
    assert not wrong, f"{len(wrong)} cuts:\n" + "\n".join(wrong[:10])


def test_bytes_after_the_index_are_noticed(sound: Sound) -> None:
    content = sound.segment.read_bytes()
    try:
        for more in (b"\0" * 8, b"\0" * 4096, b"garbage", content):
            sound.segment.write_bytes(content + more)
            assert not judge(sound, f"{len(more)} bytes more")
    finally:
        sound.segment.write_bytes(content)


def test_the_sound_spool_is_sound(sound: Sound) -> None:
    assert not judge(sound, "nothing", may_be_sound=True)
    sound.pipeline.run_loader("verify")
    assert sound.loaded_rows() == sound.rows
