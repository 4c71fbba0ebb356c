#!/usr/bin/env python3
"""A picture of a terminal program: it runs on a terminal of the given size, and what it shows after some seconds is drawn.

    .venv/bin/pip install pyte matplotlib
    docs/pictures/terminal.py --out docs/pictures/top.png --seconds 15 --size 100x16 -- spool-loader top ...
    docs/pictures/terminal.py --out docs/pictures/demo.png --seconds 60 --size 132x60 --wide-font wqy-zenhei.ttc -- demo/run

The second needs Debian's fonts-wqy-zenhei, for the Chinese name among the demo's strategies.
"""
from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from pathlib import Path

import matplotlib
import pyte
from PIL import Image, ImageDraw, ImageFont

COLORS = {"default": "#d8dee9", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "yellow": "#e5c07b", "blue": "#61afef", "magenta": "#c678dd",
          "cyan": "#56b6c2", "white": "#ffffff", "black": "#555555"}


def run(command: list[str], columns: int, lines: int, seconds: float) -> pyte.Screen:
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"})
    os.close(slave)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                stream.feed(os.read(master, 65536))
            except OSError:
                break
    process.terminate()
    return screen


def draw(screen: pyte.Screen, out: Path, wide_font: str | None) -> None:
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    plain, bold = (ImageFont.truetype(str(fonts / name), 15) for name in ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"))
    wide_plain = ImageFont.truetype(wide_font, 16) if wide_font else plain
    wide, tall, margin = 9, 19, 12
    picture = Image.new("RGB", (screen.columns * wide + 2 * margin, screen.lines * tall + 2 * margin), "#1e2127")
    pen = ImageDraw.Draw(picture)
    for y in range(screen.lines):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            if cell.data.strip():
                font = wide_plain if unicodedata.east_asian_width(cell.data[0]) in "WF" else bold if cell.bold else plain
                pen.text((margin + x * wide, margin + y * tall), cell.data, fill=COLORS.get(cell.fg, "#d8dee9"), font=font)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="100x24")
    parser.add_argument("--wide-font", metavar="FILE", help="font for characters of two cells")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    columns, lines = map(int, options.size.split("x"))
    draw(run(options.command, columns, lines, options.seconds), options.out, options.wide_font)
    return 0


if __name__ == "__main__":
    sys.exit(main())
