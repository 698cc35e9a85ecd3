"""``python -m rwlocks``, and where the installed command ``rwlocks`` begins."""

from __future__ import annotations

from rwlocks.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
