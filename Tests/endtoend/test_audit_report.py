"""A signed report of an audit, checked as an auditor does: with the openssl command."""
from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from pipeline import ROOT, Pipeline

KEYS = {
    "Ed25519": ["-algorithm", "ed25519"],
    "ECDSA-SHA256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "RSA-SHA256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True)


def made_key(algorithm: str, directory: Path) -> tuple[Path, Path]:
    private, public = directory / "key.pem", directory / "key.pub"
    assert openssl("genpkey", *KEYS[algorithm], "-out", private).returncode == 0
    assert openssl("pkey", "-in", private, "-pubout", "-out", public).returncode == 0
    return private, public


def is_valid(algorithm: str, public: Path, report: Path) -> bool:
    """As docs/audit.md says."""
    signature = report.with_name(report.name + ".sig")
    if algorithm == "Ed25519":
        return openssl("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", report, "-sigfile", signature).returncode == 0
    return openssl("dgst", "-sha256", "-verify", public, "-signature", signature, report).returncode == 0


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_signed_report_is_checked_with_openssl_alone(algorithm: str, pipeline: Pipeline, orders_file: Path) -> None:
    private, public = made_key(algorithm, pipeline.directory)
    report = pipeline.directory / "report.json"
    pipeline.import_files(orders_file)
    pipeline.load_once()
    pipeline.run_loader("audit", "--json", "--output", report, "--sign", private)
    assert is_valid(algorithm, public, report)
    content = report.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        report.write_bytes(changed)
        assert not is_valid(algorithm, public, report), f"byte {place}"
    report.write_bytes(content + b"\n")
    assert not is_valid(algorithm, public, report)

    rows = len(orders_file.read_bytes().splitlines())
    said = json.loads(content)
    writer = (pipeline.spool / "spool.id").read_text().split()[-1]
    assert said["clean"] is True and said["spool"] == {"path": str(pipeline.spool), "writer": writer}
    assert said["clickhouse"]["url"] == pipeline.clickhouse.url and said["clickhouse"]["database"] == "default"
    assert said["clickhouse"]["version"] == pipeline.clickhouse.query("SELECT version()").strip()
    assert said["tool"].startswith("spool-loader ") and said["begun"] <= said["ended"]
    assert said["signature"]["algorithm"] == algorithm
    digest = openssl("pkey", "-pubin", "-in", public, "-outform", "DER").stdout
    assert subprocess.run(["sha256sum"], input=digest, capture_output=True).stdout.split()[0].decode() == said["signature"]["key"]
    table, = said["tables"]
    assert (table["table"], table["rows"], table["present"], table["durableEnd"]) == ("orders", rows, rows, rows + 1)
    plain, = json.loads(pipeline.run_loader("audit", "--json").stdout)
    assert plain == table


def test_a_report_of_missing_rows_is_written_and_signed_too(pipeline: Pipeline, orders_file: Path) -> None:
    private, public = made_key("Ed25519", pipeline.directory)
    report = pipeline.directory / "report.json"
    pipeline.import_files(orders_file)
    pipeline.load_once()
    pipeline.clickhouse.query("ALTER TABLE orders DELETE WHERE spool_seq IN (5, 6, 900) SETTINGS mutations_sync = 2")
    pipeline.clickhouse.query("INSERT INTO orders SELECT * FROM orders WHERE spool_seq = 700 SETTINGS insert_deduplicate = 0")
    pipeline.run_loader("audit", "--json", "--output", report, "--sign", private, expect=(1,))
    assert is_valid("Ed25519", public, report)
    said = json.loads(report.read_bytes())
    assert said["clean"] is False
    assert said["tables"][0]["missing"]["ranges"] == [[5, 7], [900, 901]]
    assert said["tables"][0]["duplicate"]["ranges"] == [[700, 701]]
    # docs/audit.md, "What to do".
    document = (ROOT / "docs" / "audit.md").read_text()
    pipeline.clickhouse.query(re.findall(r"```sql\n(OPTIMIZE TABLE orders FINAL DEDUPLICATE BY [^`]*)```", document)[0])
    pipeline.run_loader("backfill", "--table", "orders")
    pipeline.run_loader("audit")


def test_a_key_that_is_none_is_refused_before_anything_is_asked(pipeline: Pipeline, orders_file: Path) -> None:
    private, _ = made_key("Ed25519", pipeline.directory)
    encrypted, report = pipeline.directory / "encrypted.pem", pipeline.directory / "report.json"
    assert openssl("pkey", "-in", private, "-aes256", "-passout", "pass:secret", "-out", encrypted).returncode == 0
    pipeline.import_files(orders_file)
    pipeline.clickhouse.stop()
    for key, reason in ((encrypted, "is encrypted"), (pipeline.directory / "none.pem", "there is no file"),
                        (orders_file, "holds no private key in PEM")):
        refused = pipeline.run_loader("audit", "--json", "--output", report, "--sign", key, expect=(64,))
        assert reason in refused.stderr, refused.stderr
    assert not report.exists()
