"""Pages that programs print, and links between pages."""
from __future__ import annotations

import re

from pipeline import ROOT, binary, run


def anchors(text: str) -> set[str]:
    return {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")}


def test_the_configuration_reference_is_what_the_program_prints() -> None:
    printed = run([binary("spool-writer"), "check-config", "--markdown"]).stdout
    assert (ROOT / "docs/configuration.md").read_text() == printed, "spool-writer check-config --markdown > docs/configuration.md"


def test_every_link_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    wrong = []
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            to = page.parent / path if path else page
            if not to.exists():
                wrong.append(f"{page.name}: {target}")
            elif anchor and to.suffix == ".md" and anchor not in anchors(to.read_text()):
                wrong.append(f"{page.name}: {target}: no such chapter")
    assert not wrong, wrong


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [page.name for page in ROOT.glob("docs/*.md") if f"docs/{page.name}" not in text]
