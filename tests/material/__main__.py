"""``python -m tests.material``: write a pair to listen to, or to drop by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.material import ENCODINGS, make_pair, make_unrelated_pair


def main(arguments: list[str] | None = None) -> int:
    """Write what the arguments ask for and say what is true of it."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    master_name, dub_name = f"{options.title}_master", f"{options.title}_dub_{options.language}"
    if options.unrelated:
        unrelated = make_unrelated_pair(
            options.folder,
            seed=options.seed,
            duration_s=options.duration,
            container=options.container,
            master_name=master_name,
            dub_name=dub_name,
        )
        sys.stdout.write(f"{unrelated.master_path}\n{unrelated.dub_path}\ntwo different programmes\n")
        return 0
    truth = make_pair(
        options.folder,
        seed=options.seed,
        duration_s=options.duration,
        offset_s=options.offset,
        container=options.container,
        dub_container=options.dub_container,
        sample_rate_hz=options.rate,
        bed_level_db=options.bed_level,
        duck_db=options.duck,
        outside=options.outside,
        master_name=master_name,
        dub_name=dub_name,
    )
    side = "late" if truth.offset_s < 0 else "early"
    sys.stdout.write(f"{truth.master_path}\n{truth.dub_path}\nthe dub is {abs(truth.offset_s):.6f} s {side}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.material", description="Write a synthetic master and dub.")
    parser.add_argument("folder", type=Path, help="where the two files go")
    parser.add_argument("--seed", type=int, default=1, help="the programme; another seed is another programme")
    parser.add_argument("--duration", type=float, default=90.0, metavar="SECONDS")
    parser.add_argument(
        "--offset", type=float, default=-2.456, metavar="SECONDS", help="negative: the dub is late (default -2.456)"
    )
    parser.add_argument("--title", default="show", help="first part of both file names")
    parser.add_argument("--language", default="fr", help="last part of the dub's file name")
    parser.add_argument("--container", choices=sorted(ENCODINGS), default="wav")
    parser.add_argument("--dub-container", choices=sorted(ENCODINGS), default=None)
    parser.add_argument("--rate", type=int, default=48_000, metavar="HZ")
    parser.add_argument("--bed-level", type=float, default=-9.0, metavar="DB", help="bed against dialogue")
    parser.add_argument("--duck", type=float, default=0.0, metavar="DB", help="how far the bed steps back under lines")
    parser.add_argument(
        "--outside", choices=("silence", "programme"), default="silence", help="what fills the dub's head or tail"
    )
    parser.add_argument("--unrelated", action="store_true", help="two programmes that have nothing in common")
    return parser


if __name__ == "__main__":
    sys.exit(main())
