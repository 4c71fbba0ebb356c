#!/usr/bin/env python3
"""Inputs to begin with for each decoder, of what the repository has: segments, marks, schemas, lines, answers."""
from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def frames(data: bytes) -> list[bytes]:
    """The skippable frames of a segment."""
    found, at = [], 0
    while at + 8 <= len(data):
        magic, size = struct.unpack_from("<II", data, at)
        if 0x184D2A50 <= magic <= 0x184D2A5F:
            found.append(data[at:at + 8 + size])
            at += 8 + size
            continue
        at = min((place for number in range(3) if (place := data.find(struct.pack("<I", 0x184D2A50 + number), at + 1)) > 0), default=len(data))
    return found


def data_frames(data: bytes) -> list[bytes]:
    """What lies between them: LZ4 frames of Native blocks."""
    cut = [data]
    for frame in frames(data):
        cut = [part for piece in cut for part in piece.split(frame, 1)]
    return [part for part in cut if part]


def seeds() -> dict[str, list[bytes]]:
    segments = [path.read_bytes() for path in sorted((ROOT / "Tests/Evolution").rglob("*.lz4"))[:40]]
    schemas = [path.read_bytes() for path in sorted(ROOT.glob("schemas/**/*.sql")) + sorted(ROOT.glob("Tests/**/schemas/*.sql"))]
    types = sorted(set(re.findall(rb"(?:[A-Z][A-Za-z0-9]+\([^()]*(?:\([^()]*\)[^()]*)*\)|\b(?:String|UInt64|Int8|Date|UUID|Bool)\b)", b"\n".join(schemas))))
    engines = re.findall(rb"ENGINE = ([^;]*);", b"\n".join(schemas))
    answers = (ROOT / "docs/answers.md").read_bytes().splitlines()
    error = b"Code: 252. DB::Exception: Too many parts (300). (TOO_MANY_PARTS) (version 26.5.1.1)\n"
    line = (b'{"table":"every","ts":1767323045000000000,"n":7,"i8":-1,"f64":1.5e3,"flag":true,"d38":"12.5","day":"2026-01-02","side":"sell",'
            b'"id":"00000000-0000-0000-0000-000000000001","code":"abcd","text":"\\u00fc\\n","nums":[1,-2],"names":["a","b"]}')
    return {
        "frames": [frame for segment in segments for frame in frames(segment)],
        "marks": [path.read_bytes() for path in (ROOT / "Tests/Evolution").rglob("durable")] + [segment[-80:] for segment in segments],
        "checkpoint": [b"coldpath-checkpoint 2\nwriter w1\ntable orders\nepoch 3\nnext 101\nposition 2 4096\nrows 100 0 0 0\n"],
        "blocks": [bytes([choice]) + frame for choice in (0, 1, 5) for segment in segments[:10] for frame in data_frames(segment)[:2]],
        "schemas": schemas, "types": types + engines, "settings": [(ROOT / "systemd/coldpath.toml").read_bytes(), b"200ms", b"64MiB", b"https://h:1"],
        "ring-header": [b"\x04demo" + bytes(12)], "ring-rows": [bytes([8]) + struct.pack("<q", 1_767_323_045_000_000_000) + bytes(200)],
        "lines": [line, b'{"n":1,"table":"every","ts":"2026-01-02T03:04:05.000000001Z"}'],
        "introduction": [b'{"client":"engine","resume":true,"from":17}'],
        "answers": [bytes([status, flags, 1, 2]) + text for status in (0, 10, 12) for flags in (0, 1, 7) for text in [error, b"", *answers[40:60:5]]],
        "tables": [b"version\t\t26.5.1.1\nengine\t\tMergeTree PARTITION BY toDate(ts) ORDER BY ts TTL ts + INTERVAL 90 DAY SETTINGS a = 1\ncolumn\tx\tString\n",
                   b"limit\tparts_to_delay_insert\t\t1000\t\nparts\tt\tp\t600\t700\nmerges\tt\t\t1\t2\nclock\t\t\t1767323045\t\n",
                   b"303030315f782e73716c\t1\t435245415445205441424c45\n", b"1\t2\t3\n"],
        "quarantine": [b"1 5 0000000001-00000000000000000001.lz4 0 100 damaged: why\nrequeued 1 5 2026-01-02T03:04:05Z\n"],
        "status": [b'{"process":"spool-loader","version":"0","writer":"w","at":1,"healthy":true,"ready":true,"reasons":[],"alarms":0,'
                   b'"tables":[{"table":"t","tableClass":"audit","durable":5,"loaded":3,"lagSeconds":0.5,"state":"x"}]}'],
    }


def main() -> int:
    out = Path(sys.argv[1])
    for name, inputs in seeds().items():
        (out / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (out / name / f"{number:04d}").write_bytes(data[:16384])
    return 0


if __name__ == "__main__":
    sys.exit(main())
