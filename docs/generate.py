"""Owns the generated sections of the documentation: finds each by its marks and writes it anew.

Must not touch a word outside the marks. Run it with `make docs`; a test compares.
"""

import re
import sys
from pathlib import Path
from typing import Final

from docs.tables import SECTIONS

DOCS: Final = Path(__file__).parent
_SECTION: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end of generated -->)",
    re.DOTALL,
)


def rewritten(text: str) -> str:
    """The text with each generated section made anew.

    Raises: KeyError for a section that nothing generates.
    """

    def made(match: re.Match[str]) -> str:
        return f"{match['begin']}\n{SECTIONS[match['name']]()}\n\n{match['end']}"

    return _SECTION.sub(made, text)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def main() -> None:
    """Write every page that has changed."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"wrote docs/{page.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
