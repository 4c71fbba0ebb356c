"""What the generated code lets through a compiler, and what it does not."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clients
from ring_reader import RingFile

ROW = ".ts = spool_time(1), .side = every_type_side_buy, .d64 = spool_decimal64_8(5)"
C_MISTAKES = {
    "a misspelt field": (".tz = spool_time(1)", "tz"),
    "a number for a time": (".ts = 5", "brace"),
    "a fraction for a time": (".ts = spool_time(1.5)", "invalid operands"),
    "a decimal of another scale": (".d64 = spool_decimal32_2(5)", "spool_decimal"),
    "a number for a decimal": (".d64 = 5", "brace"),
    "a member of another enum": (".side = every_type_kind_a_b", "every_type"),
    "a number for an enum": (".side = 1", "brace"),
    "a text for a name": (".name = spool_text(\"x\")", "spool_"),
    "a bare text": (".text = \"x\"", "brace"),
    "a Nullable without saying that it is set": (".n_ts = spool_time(1)", ""),
    "a text for a number": (".i32 = \"5\"", "int"),
    "an array of another type": (".a_f64 = {(const float[]){1}, 1}", "incompatible"),
}


@pytest.mark.parametrize("compiler", clients.C_COMPILERS)
def test_c_refuses_what_does_not_fit(compiler: str, tmp_path: Path) -> None:
    clients.generated("c", "every_type.h")

    def compile_with(field: str) -> subprocess.CompletedProcess[str]:
        source = tmp_path / "row.c"
        source.write_text('#include "every_type.h"\nint f(spool_ring *ring);\n'
                          f"int f(spool_ring *ring) {{ return every_type_publish(ring, &(every_type_row){{{field}}}); }}\n")
        return subprocess.run([compiler, "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{clients.INCLUDE}", f"-I{clients.workshop()}",
                               str(source)], capture_output=True, text=True)

    assert compile_with(ROW).returncode == 0, compile_with(ROW).stderr
    for mistake, (field, word) in C_MISTAKES.items():
        made = compile_with(field)
        assert made.returncode != 0 and "error" in made.stderr and word in made.stderr, f"{mistake}: {field}\n{made.stderr}"


@pytest.mark.parametrize("compiler", clients.CXX_COMPILERS)
def test_cxx_refuses_what_does_not_fit(compiler: str, tmp_path: Path) -> None:
    clients.generated("c", "every_type.h")

    def errors_by_line(statements: list[str]) -> dict[int, str]:
        source = tmp_path / "rows.cpp"
        lines = [f"void f{i}(every_type_row &row); void f{i}(every_type_row &row) {{ {statement}; }}" for i, statement in enumerate(statements)]
        source.write_text("\n".join(['#include "every_type.h"', "#include <string>", *lines, ""]))
        made = subprocess.run([compiler, "-std=c++17", "-fsyntax-only", *clients.C_FLAGS, f"-I{clients.workshop()}", str(source)],
                              capture_output=True, text=True)
        assert (made.returncode == 0) == (made.stderr == ""), made.stderr
        # An error within the header names the line that it comes from as "required from here" or "requested here".
        return {int(line) - 3: message for line, message in
                re.findall(r"rows\.cpp:(\d+):\d+: +(error: .*|required from here|note: .*requested here)", made.stderr)}

    right = ['std::string text = "x"; row.text = text', "row.ts = spool_time(1); row.n_ts = spool_time(1)", "row.side = every_type_side_buy",
             'row.name = "x"; row.text = "x"; row.n_text = spool_text("x")', "row.o_f64 = 2.5; row.d64 = spool_decimal64_8(5)"]
    assert errors_by_line(right) == {}
    wrong = ["row.tz = spool_time(1)", "row.ts = 5", "row.ts = spool_time(1.5)", "row.d64 = spool_decimal32_2(5)", "row.d64 = 5",
             "row.side = every_type_kind_a_b", "row.side = 1", "row.n_ts = 5", "row.i32 = \"5\"", "row.text = std::string(\"gone\")",
             "row.name = std::string(\"gone\")"]
    found = errors_by_line(wrong)
    assert set(found) == set(range(len(wrong))), found


def test_swift_refuses_what_does_not_fit(tmp_path: Path) -> None:
    rows = clients.generated("swift", "EveryType.swift")

    def errors(statement: str) -> str:
        source = tmp_path / "row.swift"
        source.write_text(f"import SpoolClient\nfunc f(_ ring: borrowing Ring, _ time: Time, _ price: Decimal64<Scale8>) {{ {statement} }}\n")
        made = subprocess.run([str(part) for part in [*clients.swift_command(source, rows), "-typecheck"]], capture_output=True, text=True)
        return made.stderr if made.returncode else ""

    right = "Ticks(ts: time, symbol: \"A\", number: 1, note: \"\").publish(to: ring)"
    assert errors(right) == ""
    assert "missing argument for parameter 'number'" in errors('Ticks(ts: time, symbol: "A", note: "").publish(to: ring)')
    assert "incorrect argument label" in errors('Ticks(tz: time, symbol: "A", number: 1, note: "").publish(to: ring)')
    assert "cannot convert" in errors('Ticks(ts: time, symbol: "A", number: "1", note: "").publish(to: ring)')
    assert "cannot convert value of type 'Int'" in errors('Ticks(ts: 5, symbol: "A", number: 1, note: "").publish(to: ring)')
    assert "cannot" in errors("var row: EveryType? = nil; row?.d128 = price")
    assert "has no member 'bid'" in errors("var row: EveryType? = nil; row?.side = .bid")


def test_the_examples_compile_and_publish(tmp_path: Path) -> None:
    """clients/c, as their head comments say, with the tables of this repository."""
    header = clients.generated("c", "events.h", clients.ROOT / "schemas")
    sources = clients.ROOT / "clients" / "c"
    commands = [[name, "-std=c11", sources / "example.c"] for name in clients.C_COMPILERS]
    commands += [[name, "-std=c++17", sources / "example.cpp"] for name in clients.CXX_COMPILERS]
    for number, command in enumerate(commands):
        program, rings = tmp_path / f"example{number}", tmp_path / f"rings{number}"
        rings.mkdir()
        clients.compiled([*command, *clients.C_FLAGS, f"-I{header.parent}", "-o", program])
        with subprocess.Popen([program, rings], stdout=subprocess.PIPE, text=True) as process:
            paths: list[Path] = []
            while process.poll() is None and not paths:
                paths = list(rings.glob("*.ring"))
            ring = RingFile(paths[0])
            # Plays the writer, until the producer is content.
            while process.poll() is None:
                ring.durable_position = ring.write_position
            output, _ = process.communicate(timeout=10)
        assert process.returncode == 0 and output.startswith("durable"), f"{command}: {output}"
        ring.durable_position = 0
        rows = ring.rows()
        assert [row.table for row in rows] == (["orders", "fills"] if command[1] == "-std=c11" else ["orders"])
        assert rows[0].values["qty"] * 8 == 1 and rows[0].values["ts_ack"] is None and str(rows[0].values["limit_px"]).startswith("61800.5")
        ring.close()


def blocks(heading: str) -> str:
    """The commands under a heading of docs/clients.md, with a directory of the test's own in place of /tmp/funding."""
    text = (clients.ROOT / "docs" / "clients.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return "\n".join(block for block in found if "spool-writer run" not in block and "spool-loader cat" not in block)


def test_the_commands_of_the_document_record_a_row(tmp_path: Path) -> None:
    def run(commands: str, **environment: str) -> str:
        script = f"set -eu\nexport PATH={clients.RELEASE}:$PATH\n" + commands.replace("/tmp/funding", str(tmp_path))
        made = subprocess.run(["sh", "-c", script], cwd=clients.ROOT, capture_output=True, text=True, env=os.environ | environment)
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout

    assert run(blocks("Your own table, in any language")) == "table funding_rates: 6 columns, by month of ts\n"
    # Nobody makes anything durable here, and so the waits are for nothing.
    if clients.C_COMPILERS:
        c = blocks("C and C++").replace("2000)", "1)").replace("\ncc ", f"\n{clients.C_COMPILERS[0]} ")
        assert run(c) == "published, not durable yet, 0 refused\n"
    python = re.sub(r"(?m)^(python3 -m venv|.*pip install).*\n", "", blocks("Python")).replace("timeout=2", "timeout=0")
    assert run(python.replace("/tmp/funding/venv/bin/python", sys.executable), PYTHONPATH=str(clients.python_packages())).startswith("published, not")
    # As SwiftPM would build it, without the time that this takes.
    run(blocks("Swift").replace("\nswift run ", "\n: swift run "))
    sources = tmp_path / "swift" / "Sources" / "producer"
    command = [part for part in clients.swift_command(sources / "main.swift", sources / "Funding.swift") if part != "-parse-as-library"]
    program = tmp_path / "swift-producer"
    clients.compiled([*command, *sorted((clients.RELEASE / "SpoolClient.build").glob("*.o")), "-o", program])
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "accepted not durable yet 0 refused\n"

    rings = {ring.producer: ring for ring in map(RingFile, (tmp_path / "rings").glob("*.ring"))}
    assert sorted(rings) == [*(["funding-c"] if clients.C_COMPILERS else []), "funding-python", "funding-swift"]
    for ring in rings.values():
        [row] = ring.rows()
        assert str(row.values.pop("rate")) == "0.00010000" and row.values.pop("ts") > 1_700_000_000_000_000_000
        assert row.values == {"symbol": "BTCUSDT", "next_rate": None, "side": "long_pays", "note": ""}
        ring.close()


def test_the_same_code_comes_out_each_time() -> None:
    command = [clients.RELEASE / "spool-writer", "codegen", "--schemas", clients.ROOT / "schemas"]
    for language in ("c", "swift", "python"):
        first, second = (subprocess.run([*command, "--lang", language], check=True, capture_output=True).stdout for _ in range(2))
        assert first == second and b"0002_orders.sql" in first
    failed = subprocess.run([*command, "--lang", "c", "--table", "order"], capture_output=True, text=True)
    assert failed.returncode != 0 and "has no table order (--table); it has market_data, orders" in failed.stderr
