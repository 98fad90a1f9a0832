"""`python -m agents` is `holdfast`, where the project is not installed."""

from __future__ import annotations

from agents.cli import main

if __name__ == "__main__":
    main(prog_name="holdfast")
