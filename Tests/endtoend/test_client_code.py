"""What the generated code lets through a compiler, and what it does not."""
from __future__ import annotations

import subprocess
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

    def compile_with(statement: str) -> subprocess.CompletedProcess[str]:
        source = tmp_path / "row.cpp"
        source.write_text('#include "every_type.h"\n#include <string>\nint f(spool_ring *ring);\n'
                          f"int f(spool_ring *ring) {{ every_type_row row; {statement}; return every_type_publish(ring, &row); }}\n")
        return subprocess.run([compiler, "-std=c++17", "-fsyntax-only", *clients.C_FLAGS, f"-I{clients.workshop()}", str(source)],
                              capture_output=True, text=True)

    right = ('std::string text = "x"; row.ts = spool_time(1); row.n_ts = spool_time(1); row.side = every_type_side_buy; row.text = text; '
             'row.name = "x"; row.o_f64 = 2.5; row.d64 = spool_decimal64_8(5); row.n_text = spool_text("x")')
    assert compile_with(right).returncode == 0, compile_with(right).stderr
    for wrong in ("row.tz = spool_time(1)", "row.ts = 5", "row.ts = spool_time(1.5)", "row.d64 = spool_decimal32_2(5)", "row.d64 = 5",
                  "row.side = every_type_kind_a_b", "row.side = 1", "row.n_ts = 5", "row.i32 = \"5\"", "row.text = std::string(\"gone\")",
                  "row.name = std::string(\"gone\")"):
        made = compile_with(wrong)
        assert made.returncode != 0 and "error" in made.stderr, wrong


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


def test_the_same_code_comes_out_each_time() -> None:
    command = [clients.RELEASE / "spool-writer", "codegen", "--schemas", clients.ROOT / "schemas"]
    for language in ("c", "swift", "python"):
        first, second = (subprocess.run([*command, "--lang", language], check=True, capture_output=True).stdout for _ in range(2))
        assert first == second and b"0002_orders.sql" in first
    failed = subprocess.run([*command, "--lang", "c", "--table", "order"], capture_output=True, text=True)
    assert failed.returncode != 0 and "has no table order (--table); it has market_data, orders" in failed.stderr
