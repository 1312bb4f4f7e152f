from __future__ import annotations

import pytest

from syncd.errors import ErrorCode, ErrorKind, SyncdError, error_advice, error_exit_code, error_kind


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_says_who_can_mend_it_and_how(code: ErrorCode) -> None:
    assert error_kind(code) in ErrorKind
    assert error_advice(code).endswith(".")
    assert error_exit_code(code) in {1, 2, 3, 4, 10, 11, 12}


def test_an_error_reads_as_what_happened_and_what_to_do() -> None:
    error = SyncdError(ErrorCode.NO_AUDIO, "a.mov has no audio track.")
    assert str(error) == "a.mov has no audio track. Export the file with its audio track and drop it again."
