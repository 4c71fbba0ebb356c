"""The layer that stands in for a bad disk (Tests/chaos/faulty.c) keeps what was synced, may lose what was not, and fails as it is told."""
from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT

sys.path.insert(0, str(ROOT / "Tests" / "chaos"))

from faulty import Disk  # noqa: E402

OLD, NEW = b"a" * 10_000, b"b" * 10_000
ROUNDS = 120

# What is synced and what is not, by one process that has no time to end properly.
PROGRAM = """
import os, sys
root = sys.argv[1]
def synced(path):
    d = os.open(path, os.O_RDONLY); os.fsync(d); os.close(d)
os.mkdir(root + "/table"); synced(root)
a = os.open(root + "/table/a.tmp", os.O_RDWR | os.O_CREAT)
os.pwrite(a, b"a" * 10000, 0); os.fdatasync(a)
os.rename(root + "/table/a.tmp", root + "/table/a"); synced(root + "/table")
os.pwrite(a, b"b" * 10000, 10000)
os.pwrite(a, b"b" * 100, 0)
b = os.open(root + "/table/b.tmp", os.O_RDWR | os.O_CREAT)
os.pwrite(b, b"a" * 10000, 0); os.fdatasync(b)
os.rename(root + "/table/b.tmp", root + "/table/b")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "root").mkdir()
    return Disk(tmp_path / "layer", [tmp_path / "root"])


def run_under(disk: Disk, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, str(disk.roots[0])], env=disk.environment(), capture_output=True, text=True, timeout=60)


def test_synced_data_survive_a_power_loss_and_unsynced_data_may_not(tmp_path: Path) -> None:
    contents, names = set(), set()
    for seed in range(ROUNDS):
        root = tmp_path / f"root-{seed}"
        root.mkdir()
        disk = Disk(tmp_path / "layer", [root], name=f"disk-{seed}")
        assert run_under(disk, PROGRAM).returncode == -9
        disk.power_loss(random.Random(seed))
        table = root / "table"
        found = (table / "a").read_bytes()
        # Of the bytes that were synced each is as it was, or as it was overwritten; whole sectors change.
        assert found[100:10_000] == OLD[100:], seed
        assert found[:100] in (OLD[:100], NEW[:100]), seed
        assert set(found[10_000:]) <= {ord("b"), 0}, seed
        assert len(found) <= 20_000
        contents.add((len(found), found[:1], found[10_000:].count(b"b")))
        present = sorted(path.name for path in table.iterdir())
        assert present in (["a"], ["a", "b"], ["a", "b.tmp"]), seed
        for name in present[1:]:
            assert (table / name).read_bytes() == OLD
        names.add(tuple(present))
    assert len(names) == 3
    assert {length for length, _, _ in contents} >= {10_000, 20_000}
    assert any(10_000 < length < 20_000 for length, _, _ in contents), "torn"
    assert {first for _, first, _ in contents} == {b"a", b"b"}
    assert any(length == 20_000 and count < 10_000 for length, _, count in contents), "a hole, or zeros at the end"


def test_the_same_seed_loses_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        disk = Disk(tmp_path / "layer", [tmp_path / name], name=name)
        run_under(disk, PROGRAM)
        disk.power_loss(random.Random(5))
        found.append({path.name: path.read_bytes() for path in (tmp_path / name / "table").iterdir()})
    assert found[0] == found[1]


WRITES = """
import os, sys, errno
f = os.open(sys.argv[1] + "/f", os.O_RDWR | os.O_CREAT)
def tried(call, *arguments):
    try:
        return str(call(*arguments))
    except OSError as error:
        return errno.errorcode[error.errno]
said = []
for _ in range(3):
    said += [tried(os.pwrite, f, b"x" * 1000, 0), tried(os.fdatasync, f)]
said += [str(os.fstat(f).st_size), tried(os.statvfs, sys.argv[1])[:0] or str(round(1 - os.statvfs(sys.argv[1]).f_bavail / os.statvfs(sys.argv[1]).f_blocks, 3))]
print(*said)
"""


@pytest.mark.parametrize("rule, said", [
    ({"op": "pwrite", "error": "ENOSPC"}, "ENOSPC None ENOSPC None ENOSPC None 0"),
    ({"op": "pwrite", "error": "EDQUOT", "skip": 1, "count": 1}, "1000 None EDQUOT None 1000 None 1000"),
    ({"op": "pwrite", "error": "ENOSPC", "mode": "budget", "value": 1500}, "1000 None 500 None ENOSPC None 1000"),
    ({"op": "pwrite", "mode": "short", "count": 1}, "500 None 1000 None 1000 None 1000"),
    ({"op": "fdatasync", "error": "EIO", "count": 1}, "1000 EIO 1000 None 1000 None 1000"),
    ({"op": "fdatasync", "error": "EIO", "mode": "lose"}, "1000 EIO 1000 EIO 1000 EIO 0"),
    ({"op": "pwrite", "error": "EIO", "match": "elsewhere"}, "1000 None 1000 None 1000 None 1000"),
])
def test_calls_fail_as_they_are_told(rule: dict[str, object], said: str, disk: Disk) -> None:
    disk.set(**rule)  # type: ignore[arg-type]
    disk.set("statvfs", mode="ratio", value=950)
    result = run_under(disk, WRITES)
    assert result.stdout.split() == [*said.split(), "0.95"], result.stderr
    disk.clear()
    result = run_under(disk, WRITES)
    assert result.stdout.split()[:7] == "1000 None 1000 None 1000 None 1000".split(), result.stderr


@pytest.mark.parametrize("mode, size", [("kill_before", 0), ("kill_during", 500), ("kill_after", 1000)])
def test_a_process_is_killed_at_the_call_that_is_named(mode: str, size: int, disk: Disk) -> None:
    disk.set("pwrite", mode=mode, count=1)
    assert run_under(disk, WRITES).returncode == -9
    assert (disk.roots[0] / "f").stat().st_size == size


def test_what_a_failed_sync_doomed_is_gone_after_a_power_loss_although_a_later_sync_succeeded(disk: Disk) -> None:
    disk.set("fdatasync", error="EIO", mode="doom", count=1)
    program = """
import os, sys
f = os.open(sys.argv[1] + "/f", os.O_RDWR | os.O_CREAT)
d = os.open(sys.argv[1], os.O_RDONLY); os.fsync(d)
os.pwrite(f, b"x" * 1000, 0)
try: os.fdatasync(f)
except OSError: pass
os.pwrite(f, b"y" * 1000, 1000); os.fdatasync(f)
print(os.pread(f, 1, 0).decode())
"""
    assert run_under(disk, program).stdout == "x\n"
    disk.power_loss(random.Random(1))
    assert (disk.roots[0] / "f").read_bytes() == bytes(1000) + b"y" * 1000
