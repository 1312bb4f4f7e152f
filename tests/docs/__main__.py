"""`python -m tests.docs`: which generated pages differ from the code; with --write they are written."""

from __future__ import annotations

import sys

from tests.docs.pages import ROOT, generated


def main() -> int:
    """0: all are as the code has them (or were written)."""
    writes = "--write" in sys.argv[1:]
    pages = generated()
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    left_over = [path for path in (ROOT / "man").glob("man?/*") if path not in pages]
    for path in (*stale, *left_over):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if not writes:
        return 1 if stale or left_over else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path], encoding="utf-8")
    for path in left_over:
        path.unlink()
    return 0


sys.exit(main())
