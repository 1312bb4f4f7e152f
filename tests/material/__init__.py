"""Synthetic programmes, and files of them with a known truth."""

from tests.material.odd_files import write_empty_file, write_silence, write_text_as, write_tone, write_truncated_copy
from tests.material.pairs import PairTruth, UnrelatedPair, make_pair, make_unrelated_pair
from tests.material.programme import Programme
from tests.material.writers import ENCODINGS, write_audio, write_wav

__all__ = [
    "ENCODINGS",
    "PairTruth",
    "Programme",
    "UnrelatedPair",
    "make_pair",
    "make_unrelated_pair",
    "write_audio",
    "write_empty_file",
    "write_silence",
    "write_text_as",
    "write_tone",
    "write_truncated_copy",
    "write_wav",
]
