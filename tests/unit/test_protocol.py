from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Estimate,
    Failure,
    Inconclusive,
    MethodResult,
    MethodStatus,
)
from syncd.errors import ErrorCode
from syncd.protocol import (
    MAX_FRAME_BYTES,
    Failed,
    FileVersion,
    FrameBuffer,
    MeasureRequest,
    MethodDone,
    Progressed,
    ProtocolError,
    decode_to_supervisor,
    decode_to_worker,
    encode_frame,
)

VERSION = FileVersion(12, 2**62)
SETTINGS = AnalysisSettings(("correlation",), TOLERANCES["ebu-r37"])


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.integers(1, 50))
def test_frames_survive_however_the_pipe_cuts_them(figures: list[int], piece_bytes: int) -> None:
    sent = [Progressed(1, "decode", figure, 10**6, "Reading") for figure in figures]
    stream = b"".join(encode_frame(message) for message in sent)
    buffer = FrameBuffer()
    pieces = [stream[i : i + piece_bytes] for i in range(0, len(stream), piece_bytes)]
    heard = [decode_to_supervisor(body) for piece in pieces for body in buffer.feed(piece)]
    assert heard == sent


@given(st.binary(min_size=1, max_size=255))
def test_every_byte_of_a_file_name_survives(name: bytes) -> None:
    request = MeasureRequest(7, b"/in/" + name, name, None, 2, "pt-BR", SETTINGS, b"/s", 9.0, VERSION, VERSION)
    (body,) = FrameBuffer().feed(encode_frame(request))
    assert decode_to_worker(body) == request


@pytest.mark.parametrize("outcome", [Estimate(-2.456, 0.99, 0.2), Inconclusive(("nothing to hear",))])
def test_an_answer_and_no_answer_stay_apart(outcome: Estimate | Inconclusive) -> None:
    message = MethodDone(1, MethodResult("spectral", MethodStatus.OK, outcome, 20.0, 0.1, {"bands": 24}))
    (body,) = FrameBuffer().feed(encode_frame(message))
    assert decode_to_supervisor(body) == message


def test_a_failure_keeps_its_code_and_details() -> None:
    message = Failed(3, Failure(ErrorCode.NO_AUDIO, "No audio.", {"tracks": ["a"], "bytes": 3}), traceback="line 1")
    (body,) = FrameBuffer().feed(encode_frame(message))
    assert decode_to_supervisor(body) == message


def test_an_impossible_length_ends_the_conversation() -> None:
    with pytest.raises(ProtocolError, match="a frame of"):
        list(FrameBuffer().feed(struct.pack(">I", MAX_FRAME_BYTES + 1)))


@given(st.binary(max_size=64))
def test_noise_is_refused_and_never_understood_as_something_else(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_to_worker(noise)


def test_a_message_of_the_other_direction_is_refused() -> None:
    (body,) = FrameBuffer().feed(encode_frame(Progressed(1, os.sep, 0, 1, "")))
    with pytest.raises(ProtocolError):
        decode_to_worker(body)
