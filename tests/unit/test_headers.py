"""What headers promise, against what is there."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.headers import missing_bytes


def missing(data: bytes, size_bytes: int | None = None) -> int:
    return missing_bytes(lambda offset, count: data[offset : offset + count], size_bytes or len(data))


def wav(frames: int = 1000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(b"\1\2\3\4" * frames)
    return buffer.getvalue()


def rf64(sound_bytes: int = 4000) -> bytes:
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, sound_bytes + 72, sound_bytes, 0, 0)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48000, 192000, 4, 16)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + form + b"data\xff\xff\xff\xff" + b"\1" * sound_bytes


def box(kind: bytes, body: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def mp4(*, wide: bool = False, index_first: bool = False) -> bytes:
    sound, index = box(b"mdat", b"\7" * 5000, wide=wide), box(b"moov", b"\5" * 300)
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + (index + sound if index_first else sound + index)


def aiff() -> bytes:
    return b"FORM" + struct.pack(">I", 4 + 100) + b"AIFF" + b"\1" * 100


WHOLE: list[tuple[str, Callable[[], bytes]]] = [
    ("wav", wav),
    ("rf64", rf64),
    ("mp4", mp4),
    ("mp4 with a 64-bit box", lambda: mp4(wide=True)),
    ("mp4 with its index first", lambda: mp4(index_first=True)),
    ("aiff", aiff),
]


@pytest.mark.parametrize("make", [make for _, make in WHOLE], ids=[name for name, _ in WHOLE])
def test_a_whole_file_lacks_nothing(make: Callable[[], bytes]) -> None:
    assert missing(make()) == 0


@pytest.mark.parametrize("make", [make for _, make in WHOLE], ids=[name for name, _ in WHOLE])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_half_copied_file_lacks_something(make: Callable[[], bytes], part: float) -> None:
    data = make()
    assert missing(data[: int(len(data) * part)]) > 0


@pytest.mark.parametrize("make", [make for _, make in WHOLE], ids=[name for name, _ in WHOLE])
def test_reserved_space_that_nobody_wrote_to_lacks_everything(make: Callable[[], bytes]) -> None:
    size_bytes = len(make())
    assert missing(bytes(size_bytes)) == size_bytes


def test_an_mp4_of_full_size_whose_end_is_still_empty_lacks_its_index() -> None:
    data = mp4()
    assert missing(data[:5000] + bytes(len(data) - 5000)) > 0


def test_an_mp4_that_was_never_closed_lacks_its_index() -> None:
    open_ended = box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + b"\7" * 5000
    assert missing(open_ended) > 0


def test_a_last_box_that_reaches_to_the_end_of_the_file_is_whole() -> None:
    assert missing(box(b"ftyp", b"isom") + box(b"moov", b"\5" * 99) + struct.pack(">I4s", 0, b"mdat") + b"\7" * 50) == 0


def test_padding_after_a_whole_mp4_does_no_harm() -> None:
    assert missing(mp4() + bytes(64)) == 0


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF024, 0x80000024])
def test_a_streamed_wav_of_unknown_length_lacks_nothing(size: int) -> None:
    data = wav()
    assert missing(data[:4] + struct.pack("<I", size) + data[8:]) == 0


def test_writers_that_miscount_by_a_header_are_forgiven() -> None:
    data = wav()
    assert missing(data[:4] + struct.pack("<I", len(data)) + data[8:]) == 0


def test_a_wav_with_something_appended_lacks_nothing() -> None:
    assert missing(wav() + b"id3 and more") == 0


@pytest.mark.parametrize("data", [b"fLaC" + b"\1" * 100, b"ID3\4" + b"\1" * 100, b"OggS", b"\x1aE\xdf\xa3" + b"\1" * 9])
def test_formats_that_do_not_say_lack_nothing(data: bytes) -> None:
    assert missing(data) == 0


@given(st.binary(max_size=300), st.sampled_from([b"RIFF", b"RF64", b"FORM", b"\0\0\0\x18ftyp", b"\0\0\0\1mdat", b""]))
def test_no_content_whatever_makes_it_fail(noise: bytes, start: bytes) -> None:
    data = start + noise
    assert missing(data) >= 0


def test_a_hostile_chain_of_boxes_is_followed_a_thousand_times_at_most() -> None:
    reads = 0

    def read_at(_offset: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        return (struct.pack(">I4s", 8, b"free") * (count // 8 + 1))[:count]

    assert missing_bytes(read_at, 2**60) == 0
    assert reads <= 1001


def matroska(content_bytes: int, *, size: bytes | None = None) -> bytes:
    told = size if size is not None else (content_bytes | 1 << 56).to_bytes(8, "big")
    return b"\x1a\x45\xdf\xa3\x84abcd" + b"\x18\x53\x80\x67" + told + b"\1" * content_bytes


def test_a_matroska_segment_says_how_long_it_is() -> None:
    whole = matroska(1000)
    assert missing(whole) == 0
    assert missing(whole[:-300]) == 300


@pytest.mark.parametrize("size", [b"\x01" + b"\xff" * 7, b"\xff"])
def test_a_live_matroska_recording_promises_nothing(size: bytes) -> None:
    assert missing(matroska(50, size=size)[:40]) == 0


@given(st.binary(max_size=64))
def test_a_matroska_head_of_any_content_is_read_without_harm(rest: bytes) -> None:
    assert missing(b"\x1a\x45\xdf\xa3" + rest) >= 0
