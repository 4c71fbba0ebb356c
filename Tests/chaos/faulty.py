#!/usr/bin/env python3
"""The other end of faulty.c: rules for a disk that fails, and the power loss of a disk that was not synced.

A program runs under the layer with the variables of `Disk.environment()`; `Disk.set` and `Disk.clear` change what its calls meet while it
runs. `power_loss` plays what a machine's sudden end makes of the files: of each change since the last sync it keeps all, a part torn at a
sector, or nothing, in order or not, as the random numbers say. What was synced is never touched. The program must be dead by then.

By hand: see the top of faulty.c, and --help.
"""
from __future__ import annotations

import argparse
import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent

# As in faulty.c.
RULES, RULE_BYTES, MATCH_BYTES = 16, 128, 80
RULE = struct.Struct(f"<IiIIqqqQ{MATCH_BYTES}s")
COUNT_OFFSET, VALUE_OFFSET, HITS_OFFSET = 24, 32, 40
OPERATIONS = {name: 1 << bit for bit, name in enumerate((
    "open", "create", "pwrite", "pread", "fdatasync", "syncdir", "ftruncate", "rename", "unlink", "mkdir", "fallocate", "statvfs",
    "opendir", "flock"))}
MODES = {name: number for number, name in enumerate((
    "fail", "short", "budget", "lose", "doom", "ratio", "kill_before", "kill_during", "kill_after", "lie"))}
RECORD = struct.Struct("<IIQQQQQ")
WROTE, TRUNCATED, SYNCED, DOOMED, CREATED, RENAMED, UNLINKED, MADE_DIRECTORY = range(1, 9)
SECTORS = (512, 4096)


class Control:
    """The rules, in a file that the programs have mapped."""

    def __init__(self, path: Path) -> None:
        if not path.exists() or path.stat().st_size != RULES * RULE_BYTES:
            path.write_bytes(bytes(RULES * RULE_BYTES))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), RULES * RULE_BYTES)

    def set(self, op: str, error: str = "", mode: str = "fail", match: str = "", count: int = -1, skip: int = 0, delay_ms: int = 0,
            value: int = 0) -> int:
        """A new rule, from now on. `op`: one or several with + between them; `error`: a name such as EIO; `count`: calls, -1 for all."""
        used = [self._map[i * RULE_BYTES:i * RULE_BYTES + 4] != bytes(4) for i in range(RULES)]
        place = used.index(False)
        ops = sum(OPERATIONS[name] for name in op.split("+"))
        code = getattr(errno, error) if error else 0
        at = place * RULE_BYTES
        RULE.pack_into(self._map, at, ops, code, MODES[mode], delay_ms, skip, 0, value, 0, match.encode())
        struct.pack_into("<q", self._map, at + COUNT_OFFSET, count)
        return place

    def clear(self) -> None:
        """No rule any more; who waits goes on."""
        for place in range(RULES):
            struct.pack_into("<q", self._map, place * RULE_BYTES + COUNT_OFFSET, 0)
        self._map[:] = bytes(RULES * RULE_BYTES)

    def hits(self, place: int) -> int:
        return int(struct.unpack_from("<Q", self._map, place * RULE_BYTES + HITS_OFFSET)[0])


class Disk:
    """The layer for the files below some directories: its library, its rules and its journal."""

    def __init__(self, work: Path, roots: list[Path], name: str = "disk", kept: Path | None = None) -> None:
        """`kept`, where second names of unlinked files lie, must be on the roots' file system and not below them; so must `work` without it."""
        work.mkdir(parents=True, exist_ok=True)
        self.roots = [root.absolute() for root in roots]
        self.library = work / "faulty.so"
        if not self.library.exists():
            build(self.library)
        self.control_path = work / f"{name}.control"
        self.journal = work / f"{name}.journal"
        self.kept = kept or work / f"{name}.journal.d"
        self.control = Control(self.control_path)
        self.set, self.clear, self.hits = self.control.set, self.control.clear, self.control.hits

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "FAULTY_ROOT": ":".join(map(str, self.roots)), "FAULTY_CONTROL": str(self.control_path),
                "FAULTY_JOURNAL": str(self.journal), "FAULTY_KEPT": str(self.kept)}

    def power_loss(self, rng: random.Random) -> Counter[str]:
        return power_loss(self.journal, self.kept, self.roots, rng)


def build(library: Path) -> None:
    # Swift brings its own compiler where the system has none.
    subprocess.run([shutil.which("cc") or "clang", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", str(HERE / "faulty.c"), "-o",
                    str(library), "-ldl"], check=True)


# Power loss


@dataclass
class Change:
    """One change of a file's bytes, and how it stands with it."""

    kind: int
    offset: int
    length: int
    old_size: int
    old: bytes
    state: str = "pending"
    """pending, synced, or doomed: a sync failed, and no later one saves it."""
    new: bytes = b""


@dataclass
class Renaming:
    """One change of a directory."""

    order: int
    kind: int
    inode: int
    kept: int
    paths: list[str]


@dataclass
class Unsynced:
    files: dict[int, list[Change]] = field(default_factory=lambda: defaultdict(list))
    directories: dict[int, list[Renaming]] = field(default_factory=lambda: defaultdict(list))


def power_loss(journal: Path, kept: Path, roots: list[Path], rng: random.Random) -> Counter[str]:
    """Make of the files what a power loss might leave, and begin the journal anew.

    Returns:
        What became of how many files and names.
    """
    unsynced = read_journal(journal)
    done: Counter[str] = Counter()
    where = {path.stat().st_ino: path for root in [*roots, kept] if root.exists() for path in root.rglob("*") if path.is_file()}
    for inode in sorted(unsynced.files):
        if inode in where and any(change.state != "synced" for change in unsynced.files[inode]):
            done[f"file {lose_bytes(where[inode], unsynced.files[inode], rng)}"] += 1
    undone: list[Renaming] = []
    for directory in sorted(unsynced.directories):
        renamings = unsynced.directories[directory]
        # A directory's changes are journalled by the file system: the first ones are kept, in their order.
        keep = rng.choice((0, len(renamings), rng.randint(0, len(renamings))))
        undone += renamings[keep:]
        done["names kept"] += keep
    for renaming in sorted(undone, key=lambda renaming: -renaming.order):
        undo_name(renaming, kept)
        done["names undone"] += 1
    if journal.exists():
        os.truncate(journal, 0)
    for path in kept.iterdir() if kept.exists() else ():
        path.unlink()
    return done


def records(data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    at = 0
    while at + RECORD.size <= len(data):
        head = RECORD.unpack_from(data, at)
        at += RECORD.size + head[1]
        if at <= len(data):
            yield head, data[at - head[1]:at]


def read_journal(journal: Path) -> Unsynced:
    """What may still be lost."""
    found = Unsynced()
    for order, (head, body) in enumerate(records(journal.read_bytes() if journal.exists() else b"")):
        kind, _, inode, directory, offset, length, old_size = head
        if kind in (WROTE, TRUNCATED):
            found.files[inode].append(Change(kind, offset, length, old_size, body))
        elif kind == SYNCED:
            changes = found.files[inode]
            for change in changes:
                if change.state == "pending":
                    change.state = "synced"
            while changes and changes[0].state == "synced":
                changes.pop(0)
            found.directories.pop(inode, None)
        elif kind == DOOMED:
            for change in found.files[inode]:
                if change.state == "pending":
                    change.state = "doomed"
        else:
            if kind == CREATED:
                # The number may be one of a file that is gone.
                found.files.pop(inode, None)
            paths = [part.decode() for part in body.split(b"\0") if part]
            found.directories[directory].append(Renaming(order, kind, inode, offset, paths))
    return found


def lose_bytes(path: Path, changes: list[Change], rng: random.Random) -> str:
    """Rebuild a file from what was durable and some of what was not; returns which."""
    content = bytearray(path.read_bytes())
    for change in reversed(changes):
        change.new = bytes(content[change.offset:change.offset + change.length]) if change.kind == WROTE else b""
        # A write that failed, or took less than it was given, has changed less than was noted before it.
        if change.kind == WROTE:
            change.length = len(change.new)
        resize(content, change.old_size)
        content[change.offset:change.offset + len(change.old)] = change.old
    how = rng.choices(("kept", "lost", "cut", "torn", "scattered", "zeros"), (2, 3, 2, 3, 2, 1))[0]
    pending = [change for change in changes if change.state == "pending"]
    last = rng.randrange(len(pending) + 1) if how in ("cut", "torn", "zeros") else 0
    sector = rng.choice(SECTORS)
    is_cut = False
    for change in changes:
        if change.state == "synced" or how == "kept" and change.state == "pending":
            apply(content, change)
            continue
        if change.state == "doomed":
            # Its pages are gone; a truncation is the file system's journal's, not theirs.
            if change.kind == TRUNCATED:
                apply(content, change)
            continue
        place = next(index for index, one in enumerate(pending) if one is change)
        if how == "lost" or is_cut:
            continue
        if how == "scattered":
            if change.kind == TRUNCATED and rng.random() < 0.5:
                # What came after a truncation that is lost lies in blocks that nobody knows.
                is_cut = True
            elif change.kind == TRUNCATED or rng.random() < 0.5:
                apply(content, change)
            else:
                tear(content, change, sector, rng, scattered=True)
        elif place < last:
            apply(content, change)
        elif place == last and how == "torn":
            tear(content, change, sector, rng, scattered=False)
        elif place == last and how == "zeros" and change.kind == WROTE:
            # The file has its new size already, and not the bytes.
            resize(content, max(len(content), change.offset + change.length))
    path.write_bytes(content)
    return how


def resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def apply(content: bytearray, change: Change, start: int = 0, end: int | None = None) -> None:
    if change.kind == TRUNCATED:
        resize(content, change.offset)
        return
    end = change.length if end is None else end
    resize(content, max(len(content), change.offset + end))
    content[change.offset + start:change.offset + end] = change.new[start:end]


def tear(content: bytearray, change: Change, sector: int, rng: random.Random, scattered: bool) -> None:
    """A first part of a write, or any of its sectors; a sector is whole or not written."""
    if change.kind == TRUNCATED or change.length == 0:
        return
    edges = [0, *(edge for edge in range(sector - change.offset % sector, change.length, sector)), change.length]
    pieces = list(zip(edges, edges[1:]))
    if scattered:
        chosen = [piece for piece in pieces if rng.random() < 0.5]
    else:
        chosen = pieces[:rng.randrange(len(pieces) + 1)]
    for start, end in chosen:
        apply(content, change, start, end)


def undo_name(renaming: Renaming, kept: Path) -> None:
    first, last = Path(renaming.paths[0]), Path(renaming.paths[-1])
    if renaming.kind == CREATED and first.exists():
        first.unlink()
    elif renaming.kind == MADE_DIRECTORY:
        shutil.rmtree(first, ignore_errors=True)
    elif renaming.kind == RENAMED and last.exists():
        last.rename(first)
    if renaming.kind in (RENAMED, UNLINKED) and renaming.kept and not last.exists() and last.parent.exists():
        os.link(kept / str(renaming.kept), last)


# Command


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build_it = commands.add_parser("build", help="compile the layer")
    build_it.add_argument("library", type=Path)
    setting = commands.add_parser("set", help="add a rule: op=NAME[+NAME] error or errno=NAME mode=NAME match=TEXT count=N skip=N delay_ms=N value=N")
    setting.add_argument("control", type=Path)
    setting.add_argument("rule", nargs="+", metavar="KEY=VALUE")
    clearing = commands.add_parser("clear", help="no rule any more (makes the file)")
    clearing.add_argument("control", type=Path)
    losing = commands.add_parser("power-loss", help="keep, tear or lose what was not synced")
    losing.add_argument("journal", type=Path)
    losing.add_argument("--root", type=Path, action="append", required=True)
    losing.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.command == "build":
        build(options.library)
    elif options.command == "clear":
        Control(options.control).clear()
    elif options.command == "set":
        words = dict(word.split("=", 1) for word in options.rule)
        words["error"] = words.pop("errno", words.get("error", ""))
        numbers = {key: int(words.pop(key)) for key in ("count", "skip", "delay_ms", "value") if key in words}
        Control(options.control).set(**words, **numbers)  # type: ignore[arg-type]
    else:
        for what, count in sorted(power_loss(options.journal, Path(f"{options.journal}.d"), options.root, random.Random(options.seed)).items()):
            print(f"{count:6} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
