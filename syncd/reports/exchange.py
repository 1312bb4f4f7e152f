"""A report's timeline for editing systems: EDL and OTIO (where each piece of the dub belongs), MIDI and Reaper markers.

An EDL counts whole frames, OTIO the dub's own samples, markers thousandths of a second. Times on the master's side are
its timecode; markers count from its beginning, as a session does that starts with it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Final

import mido
import msgspec
import opentimelineio as otio

from syncd.domain import SegmentKind
from syncd.errors import ErrorCode, SyncdError
from syncd.reports.master_clock import native_rate
from syncd.units import timecode_to_seconds

UNITY: Final = 1e-6
"""Speeds that differ by less are the same."""
REEL_CHARACTERS: Final = 8
"""CMX 3600 has room for no more."""
TICKS_A_SECOND: Final = 10_000
MIDI_TEMPO_US: Final = 1_000_000
"""A beat a second, so that ticks are fractions of seconds."""
_MOTION: Final = re.compile(r"^M2   .*\t\t(?P<speed>[\d.]+)\t\t\t(?P<at>\S+)$", re.MULTILINE)


class Piece(msgspec.Struct, frozen=True):
    """A segment of the report's timeline."""

    kind: SegmentKind
    master_start: float | None = None
    master_end: float | None = None
    dub_start: float | None = None
    dub_end: float | None = None
    offset_seconds: float | None = None


class Side(msgspec.Struct, frozen=True):
    """What of master and dub is needed here."""

    path: str
    sample_rate: int | None = None
    start_timecode: str | None = None
    frame_rate: str | None = None

    @property
    def name(self) -> str:
        """The file's name, in one printable line."""
        return _one_line(self.path.rpartition("/")[2])


class Exchanged(msgspec.Struct, frozen=True):
    """What of a report is needed here."""

    master: Side
    dub: Side
    timeline: tuple[Piece, ...]


def read_timeline(report: object, *, frame_rate: str | None = None) -> Exchanged:
    """A report's timeline; raises `SyncdError` NOT_FOUND where it has none.

    `frame_rate`: what the master's frames are, where its file does not say (a key of `units.FRAME_RATES`).
    """
    try:
        exchanged = msgspec.convert(report, Exchanged)
    except msgspec.ValidationError as error:
        raise SyncdError(ErrorCode.NOT_FOUND, "This job's report has no timeline.") from error
    if not any(_is_placed(piece) for piece in exchanged.timeline):
        raise SyncdError(ErrorCode.NOT_FOUND, "This job's report places no part of the dub on the master.")
    if frame_rate is not None and exchanged.master.frame_rate is None:
        master = msgspec.structs.replace(exchanged.master, frame_rate=frame_rate)
        return msgspec.structs.replace(exchanged, master=master)
    return exchanged


def write_timeline(exchanged: Exchanged, kind: str) -> bytes:
    """The timeline as a file's content; `kind`: one of `FORMATS`."""
    return FORMATS[kind](exchanged)


def markers(exchanged: Exchanged) -> Iterator[tuple[float, str]]:
    """(seconds from the master's beginning, words): where each piece begins and what it is."""
    reached_s = 0.0
    for piece in exchanged.timeline:
        yield (reached_s if piece.master_start is None else piece.master_start), _words(piece)
        reached_s = reached_s if piece.master_end is None else piece.master_end


def _words(piece: Piece) -> str:
    match piece.kind:
        case SegmentKind.MATCH if piece.offset_seconds is not None:
            late = "late" if piece.offset_seconds < 0 else "early"
            speed = _speed(piece)
            told = f", played at {1.0 / speed:.6f} of the master's speed" if abs(speed - 1.0) > UNITY else ""
            return f"dub {abs(piece.offset_seconds) * 1000.0:.1f} ms {late}{told}"
        case SegmentKind.MISSING:
            return f"missing in dub: {_length_s(piece.master_start, piece.master_end):.3f} s"
        case SegmentKind.INSERTED:
            return f"only in dub: {_length_s(piece.dub_start, piece.dub_end):.3f} s"
        case _:
            return piece.kind.value


def _length_s(start_s: float | None, end_s: float | None) -> float:
    return 0.0 if start_s is None or end_s is None else end_s - start_s


def _speed(piece: Piece) -> float:
    """Seconds of the dub a second of the master."""
    master_s = _length_s(piece.master_start, piece.master_end)
    return _length_s(piece.dub_start, piece.dub_end) / master_s if master_s > 0.0 else 1.0


def _is_placed(piece: Piece) -> bool:
    lengths_s = (_length_s(piece.master_start, piece.master_end), _length_s(piece.dub_start, piece.dub_end))
    return piece.kind is SegmentKind.MATCH and min(lengths_s) > 0.0


def _start_s(side: Side) -> float:
    """Of its own timecode; 0 where it has none."""
    if side.start_timecode is None:
        return 0.0
    return timecode_to_seconds(side.start_timecode, native_rate(side.frame_rate)[1]) or 0.0


def _timeline(
    exchanged: Exchanged, rate: float, *, first_s: float = 0.0, is_inverse: bool = False
) -> otio.schema.Timeline:
    """One audio track on which the pieces of the dub lie where they belong, `first_s` after its beginning."""
    track = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    reached, dub_starts_s = 0, _start_s(exchanged.dub)
    for piece in filter(_is_placed, exchanged.timeline):
        start, end = (round((first_s + at_s) * rate) for at_s in (piece.master_start or 0.0, piece.master_end or 0.0))
        skipped = max(0, reached - start)  # Where two pieces overlap by a frame, the earlier one keeps it.
        start += skipped
        if end <= start:
            continue
        if start > reached:
            track.append(otio.schema.Gap(source_range=_span(0, start - reached, rate)))
        from_dub = round((dub_starts_s + (piece.dub_start or 0.0)) * rate) + skipped
        clip = otio.schema.Clip(
            name=exchanged.dub.name,
            media_reference=otio.schema.ExternalReference(target_url=exchanged.dub.name),
            source_range=_span(from_dub, end - start, rate),
            metadata={"cmx_3600": {"reel": _reel(exchanged.dub)}},
        )
        speed = _speed(piece)
        if abs(speed - 1.0) > UNITY:
            # A whole number of frames is to come out of the adapter's division, which is cut off and not rounded.
            played = round(_length_s(piece.dub_start, piece.dub_end) * rate) + 1e-3
            scalar = (end - start) / played if is_inverse else speed
            clip.effects.append(otio.schema.LinearTimeWarp(name="speed", time_scalar=scalar))
        track.append(clip)
        reached = end
    timeline = otio.schema.Timeline(f"{exchanged.dub.name} on {exchanged.master.name}")
    timeline.tracks.append(track)
    return timeline


def _span(start: int, length: int, rate: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(length, rate))


def _otio(exchanged: Exchanged) -> bytes:
    rate = float(exchanged.dub.sample_rate or 48_000)
    timeline = _timeline(exchanged, rate)
    timeline.global_start_time = otio.opentime.RationalTime(round(_start_s(exchanged.master) * rate), rate)
    return str(timeline.to_json_string()).encode()


def _edl(exchanged: Exchanged) -> bytes:
    """In the master's frames and timecode.

    The adapter divides by a speed where it should multiply, and asks for a track of pictures: it is given the inverse
    and an empty one, and its motion lines are set right.
    """
    rate = float(native_rate(exchanged.master.frame_rate)[1])
    timeline = _timeline(exchanged, rate, first_s=_start_s(exchanged.master), is_inverse=True)
    timeline.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    written = str(otio.adapters.write_to_string(timeline, "cmx_3600", rate=rate))
    reel = _reel(exchanged.dub)
    right = _MOTION.sub(lambda m: f"M2   {reel:8} {rate * rate / float(m['speed']):06.2f} {m['at']:>26}", written)
    title, _, events = right.partition("\n")
    mode = "DROP FRAME" if ";" in events else "NON-DROP FRAME"
    return f"{title}\nFCM: {mode}\n{events}".encode()


def _midi(exchanged: Exchanged) -> bytes:
    """Markers that Pro Tools and Reaper import: a beat is a second."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=MIDI_TEMPO_US)])
    reached = 0
    for at_s, words in markers(exchanged):
        tick = max(reached, round(at_s * TICKS_A_SECOND))
        track.append(mido.MetaMessage("marker", text=words, time=tick - reached))
        reached = tick
    written = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=TICKS_A_SECOND, tracks=[track]).save(file=written)
    return written.getvalue()


def _reaper(exchanged: Exchanged) -> bytes:
    """As Reaper's region and marker manager imports it; times in seconds."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["#", "Name", "Start"])
    rows.writerows([f"M{number}", words, f"{at_s:.6f}"] for number, (at_s, words) in enumerate(markers(exchanged), 1))
    return written.getvalue().encode()


def _reel(dub: Side) -> str:
    return re.sub(r"[^A-Z0-9]", "", dub.name.upper())[:REEL_CHARACTERS] or "DUB"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "_" for c in text)


FORMATS: Final[dict[str, Callable[[Exchanged], bytes]]] = {
    "edl": _edl,
    "otio": _otio,
    "midi": _midi,
    "reaper": _reaper,
}
"""By the name that the command gives them."""
