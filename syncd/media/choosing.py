"""Which audio track of a container counts. Pure: what the container says in, an index out, a doubt if it is a guess.

In this order: the one that was asked for; among those that carry the programme (not commentary, not audio description)
the one in the language; where the caller lets it decide, the one that the container plays by default; the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncd.domain import AudioTrack, MediaInfo
from syncd.errors import ErrorCode, SyncdError
from syncd.media.names import language_fit, shown_name


@dataclass(frozen=True, slots=True)
class Choice:
    """The track that is measured."""

    index: int
    """From 0, among the audio tracks."""
    doubt: str | None = None
    """A sentence where nothing said that it is this one: somebody should look."""


def choose_track(
    info: MediaInfo,
    path: Path,
    *,
    wanted: int | None,
    language: str | None,
    default_decides: bool = False,
    besides: int | None = None,
) -> Choice:
    """Choose a track. `language`: a BCP 47 tag. `default_decides`: whether the container's default is an answer (of a
    master; which track of several is the dub, no default can know). `besides`: the track of this file that is the
    pair's other side (only a file with a single track may be compared with itself).

    Raises TRACK_NOT_FOUND: there is no such track, or it is the other side's.
    """
    if wanted is not None:
        if wanted == besides and len(info.tracks) > 1:
            message = f"Master and dub are both audio track {wanted} of {shown_name(path)}: that is one track, not two."
            raise SyncdError(ErrorCode.TRACK_NOT_FOUND, message, {"tracks": listed(info)})
        if 0 <= wanted < len(info.tracks):
            return Choice(wanted)
        message = f"{shown_name(path)} has no audio track {wanted}; it has {len(info.tracks)}, counted from 0."
        raise SyncdError(ErrorCode.TRACK_NOT_FOUND, message, {"tracks": listed(info)})
    free = [track for track in info.tracks if track.index != besides] or list(info.tracks)
    candidates = _programme(free)
    fitting = _in_language(candidates, language)
    chosen = _only(fitting or candidates)
    if chosen is None and (fitting or default_decides):
        chosen = _only([track for track in fitting or candidates if track.is_default])
    # A single track often has a wrong language; of several, one in another language is no answer.
    is_alone = len(free) == 1 or (chosen is not None and chosen.language is None)
    is_told = chosen is not None and (bool(fitting) or language is None or is_alone)
    chosen = chosen or next((track for track in fitting or candidates if track.is_default), (fitting or candidates)[0])
    return Choice(chosen.index, None if is_told else _doubt(info, path, chosen, language))


def listed(info: MediaInfo) -> list[str]:
    """The tracks in words, for people who have to choose."""
    return [_in_words(track) for track in info.tracks]


def _programme(tracks: Sequence[AudioTrack]) -> list[AudioTrack]:
    """Without tracks that hold nothing and tracks for another purpose; all where nothing is left."""
    heard = [track for track in tracks if track.channels > 0 and track.sample_rate_hz > 0] or list(tracks)
    return [track for track in heard if track.purpose is None] or heard


def _in_language(tracks: Sequence[AudioTrack], language: str | None) -> list[AudioTrack]:
    """Those that fit best: pt-BR is pt-BR, else pt, else some other pt."""
    fits = [(language_fit(track.language, language), track) for track in tracks]
    best = max((fit for fit, _ in fits), default=0)
    return [track for fit, track in fits if best and fit == best]


def _only(tracks: Sequence[AudioTrack]) -> AudioTrack | None:
    return tracks[0] if len(tracks) == 1 else None


def _doubt(info: MediaInfo, path: Path, chosen: AudioTrack, language: str | None) -> str:
    why = "nothing said which one counts" if language is None else f"none or several of them are in {language}"
    return (
        f"{shown_name(path)} has {len(info.tracks)} audio tracks and {why}: track {chosen.index} was measured "
        f"({'; '.join(listed(info))})."
    )


def _in_words(track: AudioTrack) -> str:
    told = [track.codec, track.layout, track.language or "no language"]
    if track.title:
        told.append("".join(c for c in track.title[:60] if c.isprintable()))
    if track.purpose:
        told.append(track.purpose)
    if track.is_default:
        told.append("default")
    return f"{track.index}: {', '.join(told)}"
