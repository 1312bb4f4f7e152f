import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from syncd.reports.names import MAX_NAME_BYTES, corrected_path, fitted_name, page_path, sidecar_names

names = st.binary(min_size=1, max_size=255).filter(lambda name: not set(name) & {0, 0x2F} and name not in (b".", b".."))


def names_of(
    dub: Path, master: str = "Film_master.wav", profile: str = "default", **changes: object
) -> tuple[str, ...]:
    differs = bool(changes.get("folder_differs"))
    return sidecar_names(dub, dub.with_name(master), profile, claim=b"claim", folder_differs=differs)


def test_the_plain_name_comes_first_then_master_and_profile() -> None:
    plain, longer, hashed = names_of(Path("/drop/Film_dub_fr.wav"), profile="strict")
    assert plain == "Film_dub_fr.wav.sync.json"
    assert longer == "Film_dub_fr.wav.Film_master.strict.sync.json"
    assert hashed.startswith("Film_dub_fr.wav.Film_master.strict.")


def test_a_profile_cannot_lead_into_another_folder() -> None:
    assert all("/" not in name for name in names_of(Path("/drop/Film_dub.wav"), profile="../../etc/x"))


def test_a_name_too_long_is_cut_at_a_character_and_gets_digits() -> None:
    # 126 characters of two bytes: the cut would fall inside one.
    dub = Path("/drop") / ("é" * 125 + ".wav")
    plain = names_of(dub)[0]
    encoded = os.fsencode(plain)
    assert len(encoded) in (MAX_NAME_BYTES, MAX_NAME_BYTES - 1)
    assert encoded.decode("utf-8").startswith("ééé")
    assert plain.endswith(".sync.json")


def test_two_long_names_that_begin_alike_stay_apart() -> None:
    first, second = (names_of(Path("/drop") / ("x" * 248 + end))[0] for end in ("a.wav", "b.wav"))
    assert first != second


def test_in_another_folder_equal_names_stay_apart() -> None:
    first, second = (names_of(Path(folder, "Film_dub.wav"), folder_differs=True)[0] for folder in ("/a", "/b"))
    assert first != second
    assert first.startswith("Film_dub.wav.")
    assert first.endswith(".sync.json")


@given(names, names, st.text(max_size=60), st.booleans())
def test_whatever_the_bytes_every_name_fits_and_differs(dub: bytes, master: bytes, profile: str, beside: bool) -> None:
    folder = Path("/drop")
    dub_path, master_path = folder / os.fsdecode(dub), folder / os.fsdecode(master)
    profile = profile.encode("utf-8", "ignore").decode()
    made = sidecar_names(dub_path, master_path, profile, claim=b"claim", folder_differs=not beside)
    assert len(set(made)) == len(made)
    for name in made:
        encoded = os.fsencode(name)
        assert len(encoded) <= MAX_NAME_BYTES
        assert not set(encoded) & {0, 0x2F}
        assert len(os.fsencode(page_path(folder / name).name)) == len(encoded)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=250))
def test_utf8_names_stay_utf8_when_cut(stem: str) -> None:
    fitted = os.fsencode(fitted_name(stem.encode(), ".sync.json"))
    assert fitted.decode("utf-8").endswith(".sync.json")


def test_page_and_corrected_dub_lie_beside_the_dub() -> None:
    assert page_path(Path("/drop/a.wav.sync.json")) == Path("/drop/a.wav.sync.html")
    assert corrected_path(Path("/drop/Film_dub.fr.mkv"), "flac") == Path("/drop/Film_dub.fr.synced.flac")
