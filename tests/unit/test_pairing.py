"""Whose partner is whose: names, titles, languages, and the book that is kept of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import WatchSection
from syncd.domain import FileStamp, Identity, MediaFile, OrphanReason, Role, Stem
from syncd.watch.naming import NameRules, ParsedName
from syncd.watch.pairing import LISTED_AFTER_S, Changes, Due, Match, OrphanWatch, PairBook, match_in

RULES = NameRules(root_title="drop")


def parse(path: str, *patterns: str) -> ParsedName:
    parsed = NameRules(patterns=patterns, root_title="drop").parse(path)
    assert parsed is not None, path
    return parsed


def matched(*paths: str, patterns: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """The pairs left standing when these files lie there."""
    book = PairBook(NameRules(patterns=patterns, root_title="drop"))
    for path in paths:
        book.expect(path)
    return {(match.master, match.dub) for path in paths for match in book.add(path).matches}


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "title", "role", "language"),
    [
        ("Film_master.wav", "Film", Role.MASTER, None),
        ("Film_master_en.wav", "Film", Role.MASTER, "en"),
        ("Film_dub.wav", "Film", Role.DUB, None),
        ("Film_dub_fr.wav", "Film", Role.DUB, "fr"),
        ("Film_DUB_FR.WAV", "Film", Role.DUB, "FR"),
        ("Film.dub.fr.wav", "Film", Role.DUB, "fr"),
        ("Film dub fr.wav", "Film", Role.DUB, "fr"),
        ("Film-dub-fr.wav", "Film", Role.DUB, "fr"),
        ("Film - dub - fr.wav", "Film", Role.DUB, "fr"),
        ("Film_dub_pt-BR.wav", "Film", Role.DUB, "pt-BR"),
        ("Film_dub_zh-Hant-TW.wav", "Film", Role.DUB, "zh-Hant-TW"),
        ("Film_dub_es-419.wav", "Film", Role.DUB, "es-419"),
        ("Film_dub_de-CH-1996.wav", "Film", Role.DUB, "de-CH-1996"),
        ("Film_dub_ca-valencia.wav", "Film", Role.DUB, "ca-valencia"),
        ("Film_dub_fr_v2.wav", "Film", Role.DUB, "fr"),
        ("Film_dub_fr-v2.wav", "Film", Role.DUB, "fr"),
        ("Film_dub_v2.wav", "Film", Role.DUB, None),
        ("Film_dub_french.wav", "Film", Role.DUB, None),
        ("Film_dub_fré.wav", "Film", Role.DUB, None),
        ("Film_S01E02_dub_nl_final mix.mkv", "Film_S01E02", Role.DUB, "nl"),
        ("Dub Master_dub_fr.wav", "Dub Master", Role.DUB, "fr"),
        ("Master of dub_master.wav", "Master of dub", Role.MASTER, None),
        ("Film/master.wav", "Film", Role.MASTER, None),
        ("Film/dub_fr.wav", "Film", Role.DUB, "fr"),
        ("a/b/Film/dub_fr_v3.wav", "Film", Role.DUB, "fr"),
        ("master/Film.wav", "Film", Role.MASTER, None),
        ("dub/fr/Film.wav", "Film", Role.DUB, "fr"),
        ("dub/pt-BR/Film.wav", "Film", Role.DUB, "pt-BR"),
        ("dub/Film.wav", "Film", Role.DUB, None),
        ("shows/DUB/fr/Film.wav", "Film", Role.DUB, "fr"),
        ("master.wav", "drop", Role.MASTER, None),
        ("dub_fr.wav", "drop", Role.DUB, "fr"),
    ],
)
def test_a_name_says_title_role_and_language(path: str, title: str, role: Role, language: str | None) -> None:
    parsed = parse(path)
    assert (parsed.title, parsed.role, parsed.language) == (title, role, language)


@pytest.mark.parametrize(
    "path", ["Film.wav", "Masterpiece.wav", "Film_mastered.wav", "dubstep.wav", "masters/Film.wav"]
)
def test_a_name_without_a_role_token_has_no_role(path: str) -> None:
    assert RULES.parse(path) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Film_master.wav", "FILM_dub_fr.wav"),
        ("My Film_master.wav", "My_Film_dub_fr.wav"),
        ("Cafe\u0301_master.wav", "Café_dub_fr.wav"),
        ("STRASSE_master.wav", "straße_dub_fr.wav"),
        ("Film/master.mov", "Film/dub_fr.wav"),
        ("master/Film.mov", "dub/fr/Film.wav"),
        ("master/Film_master.wav", "dub/fr/Film_dub_fr.wav"),
        ("x\udcffy_master.wav", "x\udcffy_dub.wav"),
        ("a\nb_master.wav", "a\nb_dub_fr.wav"),
        ("master.wav", "dub_fr.wav"),
    ],
)
def test_titles_that_people_hold_for_equal_pair(one: str, other: str) -> None:
    assert matched(one, other) == {(one, other)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/Film_master.wav", "b/Film_dub_fr.wav"),
        ("Film_master.wav", "Film 2_dub_fr.wav"),
        ("x\udcff_master.wav", "x\udcfe_dub.wav"),
        ("x/master/Film.wav", "y/dub/fr/Film.wav"),
        ("Film/master.wav", "Movie/dub_fr.wav"),
    ],
)
def test_files_of_different_titles_or_folders_do_not_pair(one: str, other: str) -> None:
    assert matched(one, other) == set()


def test_a_title_that_is_not_utf8_stays_printable_while_the_path_keeps_its_bytes() -> None:
    assert parse("x\udcffy_master.wav").title == "x\ufffdy"


def test_a_pattern_of_the_users_own_comes_first() -> None:
    pattern = r"^(?P<role>OV|VF)_(?P<title>.+?)(?:\((?P<lang>[A-Za-z-]+)\))?\.\w+$"
    assert parse("OV_Film.wav", pattern).role is Role.MASTER
    assert parse("VF_Film(fr-CA).wav", pattern).language == "fr-CA"
    assert matched("OV_Film.wav", "VF_Film(fr).wav", patterns=(pattern,)) == {("OV_Film.wav", "VF_Film(fr).wav")}


def test_a_pattern_may_reach_over_folders() -> None:
    pattern = r"(?P<role>original|dubbed)/(?P<title>[^/]+)\.\w+$"
    assert matched("s/original/E1.wav", "s/dubbed/E1.wav", patterns=(pattern,)) == {
        ("s/original/E1.wav", "s/dubbed/E1.wav")
    }
    assert matched("s/original/E1.wav", "t/dubbed/E1.wav", patterns=(pattern,)) == set()


def test_where_a_pattern_does_not_fit_the_conventions_hold() -> None:
    assert parse("Film_dub_fr.wav", r"^(?P<role>x)-(?P<title>y)$").language == "fr"


TITLES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(TITLES, st.sampled_from(["fr", "pt-BR", "gsw"]))
def test_any_title_pairs_with_itself(title: str, language: str) -> None:
    master, dub = f"{title}_master.wav", f"{title}_dub_{language}.wav"
    book = PairBook(RULES)
    book.add(master)
    (match,) = book.add(dub).matches
    assert (match.master, match.dub, match.language) == (master, dub, language)


@given(st.text(max_size=60))
def test_no_path_whatever_makes_parsing_fail(path: str) -> None:
    RULES.parse(path)


# --- the book --------------------------------------------------------------------------------------------------------


def test_one_master_takes_any_number_of_dubs() -> None:
    names = [f"Film_dub_{tag}.wav" for tag in ("fr", "de", "pt-BR", "pt-PT")]
    assert matched("Film_master.wav", *names) == {("Film_master.wav", name) for name in names}


def test_two_versions_of_a_dub_are_two_dubs() -> None:
    assert len(matched("Film_master.wav", "Film_dub_fr.wav", "Film_dub_fr.flac", "Film_dub_fr_v2.wav")) == 3


def test_two_masters_for_one_title_are_never_guessed_between() -> None:
    assert matched("Film_master.wav", "Film_dub_fr.wav", "Film_master.mov") == set()


def test_all_files_of_an_ambiguous_title_are_told_of() -> None:
    book = PairBook(RULES)
    book.add("Film_master.wav")
    book.add("Film_dub_fr.wav")
    changes = book.add("Film_master.mov")
    assert changes.lonely == dict.fromkeys(
        ["Film_master.wav", "Film_master.mov", "Film_dub_fr.wav"], OrphanReason.AMBIGUOUS_PAIR
    )


def test_when_the_second_master_goes_the_pair_is_made() -> None:
    book = PairBook(RULES)
    for path in ("Film_master.wav", "Film_dub_fr.wav", "Film_master.mov"):
        book.add(path)
    changes = book.remove("Film_master.wav")
    assert [(match.master, match.dub) for match in changes.matches] == [("Film_master.mov", "Film_dub_fr.wav")]
    assert set(changes.resolved) == {"Film_master.wav", "Film_master.mov", "Film_dub_fr.wav"}


def test_a_second_master_that_is_still_arriving_holds_the_pair_back() -> None:
    book = PairBook(RULES)
    book.expect("Film_master.mov")
    book.add("Film_master.wav")
    waits = {"Film_dub_fr.wav": OrphanReason.NO_MASTER}
    assert book.add("Film_dub_fr.wav") == Changes(lonely=waits, resolved=("Film_master.wav",))
    assert [match.dub for match in book.remove("Film_master.mov").matches] == ["Film_dub_fr.wav"]


def test_a_dub_without_master_and_a_master_without_dub_say_so() -> None:
    book = PairBook(RULES)
    assert book.add("Film_dub_fr.wav").lonely == {"Film_dub_fr.wav": OrphanReason.NO_MASTER}
    assert book.add("Other_master.wav").lonely == {"Other_master.wav": OrphanReason.NO_DUB}
    assert book.add("Other.wav").lonely == {"Other.wav": OrphanReason.NO_ROLE}


def test_a_master_whose_last_dub_goes_is_lonely_again() -> None:
    book = PairBook(RULES)
    book.add("Film_master.wav")
    assert set(book.add("Film_dub_fr.wav").resolved) == {"Film_master.wav", "Film_dub_fr.wav"}
    assert book.remove("Film_dub_fr.wav").lonely == {"Film_master.wav": OrphanReason.NO_DUB}


def test_a_new_version_of_a_dub_makes_its_pair_anew_and_no_other() -> None:
    book = PairBook(RULES)
    for path in ("Film_master.wav", "Film_dub_fr.wav", "Film_dub_de.wav"):
        book.add(path)
    assert [match.dub for match in book.add("Film_dub_fr.wav").matches] == ["Film_dub_fr.wav"]


def test_a_new_version_of_a_master_makes_all_its_pairs_anew() -> None:
    book = PairBook(RULES)
    for path in ("Film_master.wav", "Film_dub_fr.wav", "Film_dub_de.wav"):
        book.add(path)
    book.remove("Film_master.wav")
    book.expect("Film_master.wav")
    assert [match.dub for match in book.add("Film_master.wav").matches] == ["Film_dub_fr.wav", "Film_dub_de.wav"]


PATHS = [
    f"{title}_{rest}" for title in ("A", "B") for rest in ("master.wav", "master.mov", "dub_fr.wav", "dub_de.wav")
] + ["C.wav"]


def expected_reasons(present: Iterable[str]) -> dict[str, OrphanReason]:
    reasons = {}
    for path in present:
        others = [other for other in present if other[0] == path[0]]
        masters = sum("master" in other for other in others)
        if path == "C.wav":
            reasons[path] = OrphanReason.NO_ROLE
        elif masters > 1:
            reasons[path] = OrphanReason.AMBIGUOUS_PAIR
        elif "dub" in path and not masters:
            reasons[path] = OrphanReason.NO_MASTER
        elif "master" in path and len(others) == 1:
            reasons[path] = OrphanReason.NO_DUB
    return reasons


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(PATHS)), max_size=40))
def test_the_book_agrees_with_a_fresh_look_at_what_is_there(steps: list[tuple[bool, str]]) -> None:
    book = PairBook(RULES)
    present: dict[str, None] = {}
    reasons: dict[str, OrphanReason] = {}
    for comes, path in steps:
        changes = book.add(path) if comes else book.remove(path)
        if comes:
            present[path] = None
        else:
            present.pop(path, None)
        for resolved in changes.resolved:
            reasons.pop(resolved, None)
        reasons |= changes.lonely
        assert reasons == expected_reasons(present)
        for match in changes.matches:
            assert {match.master, match.dub} <= set(present)
            assert [other for other in present if other.startswith(f"{match.title}_master")] == [match.master]


@given(st.permutations(PATHS), st.sets(st.sampled_from(PATHS)))
def test_the_order_of_arrival_does_not_matter(order: list[str], there: set[str]) -> None:
    paths = [path for path in order if path in there]
    unambiguous = {
        (master, dub)
        for title in "AB"
        for masters in [[path for path in paths if path.startswith(f"{title}_master")]]
        for master in (masters if len(masters) == 1 else [])
        for dub in paths
        if dub.startswith(f"{title}_dub")
    }
    assert matched(*paths) == unambiguous


# --- orphans ---------------------------------------------------------------------------------------------------------


def test_an_orphan_is_listed_soon_and_told_of_once_after_its_time() -> None:
    orphans = OrphanWatch(after_s=3600.0)
    orphans.lonely("a", OrphanReason.NO_DUB, 0.0)
    assert orphans.next_due_s() == LISTED_AFTER_S
    assert orphans.pop_due(LISTED_AFTER_S - 1.0) == []
    orphans.lonely("a", OrphanReason.NO_DUB, LISTED_AFTER_S - 0.5)
    assert orphans.next_due_s() == LISTED_AFTER_S
    assert orphans.pop_due(LISTED_AFTER_S) == [Due("a", OrphanReason.NO_DUB, is_overdue=False)]
    assert orphans.pop_due(3599.0) == []
    assert orphans.pop_due(3600.0) == [Due("a", OrphanReason.NO_DUB, is_overdue=True)]
    assert orphans.pop_due(1e6) == []


def test_who_shall_be_told_sooner_than_files_are_listed_is_told_once() -> None:
    orphans = OrphanWatch(after_s=5.0)
    orphans.lonely("a", OrphanReason.NO_MASTER, 0.0)
    assert orphans.pop_due(5.0) == [Due("a", OrphanReason.NO_MASTER, is_overdue=True)]
    assert orphans.pop_due(1e6) == []


def test_a_file_that_found_its_partner_in_time_is_never_told_of() -> None:
    orphans = OrphanWatch(after_s=60.0)
    orphans.lonely("a", OrphanReason.NO_DUB, 0.0)
    assert not orphans.resolve("a")
    assert orphans.pop_due(1e6) == []


def test_what_a_listed_file_waits_for_is_said_anew_when_that_changes_and_told_of_only_once() -> None:
    orphans = OrphanWatch(after_s=60.0)
    orphans.lonely("a", OrphanReason.NO_MASTER, 0.0)
    assert [due.is_overdue for due in orphans.pop_due(31.0)] == [False]
    orphans.lonely("a", OrphanReason.NO_MASTER, 40.0)
    assert [due.is_overdue for due in orphans.pop_due(40.0)] == [False]
    assert [due.is_overdue for due in orphans.pop_due(60.0)] == [True]
    orphans.lonely("a", OrphanReason.NO_MASTER, 70.0)
    assert [due.is_overdue for due in orphans.pop_due(1e6)] == [False]


def test_a_dub_whose_pair_waits_for_a_second_master_to_arrive_is_lonely_until_that_is_gone() -> None:
    book = PairBook(RULES)
    book.add("Film_master.wav")
    assert book.add("Film_dub_fr.wav").matches
    assert book.expect("Film_master.mov").lonely == {"Film_dub_fr.wav": OrphanReason.NO_MASTER}
    assert book.coming_master(parse("Film_master.mov").group) == "Film_master.mov"
    gone = book.remove("Film_master.mov")
    assert gone.matches == (Match("Film_master.wav", "Film_dub_fr.wav", "Film", "fr"),)
    assert "Film_dub_fr.wav" in gone.resolved


def test_an_orphan_that_was_listed_is_taken_back() -> None:
    orphans = OrphanWatch(after_s=0.0)
    orphans.lonely("a", OrphanReason.NO_DUB, 0.0)
    orphans.pop_due(0.0)
    assert orphans.resolve("a")
    assert not orphans.resolve("a")


@pytest.mark.parametrize("reason", [OrphanReason.AMBIGUOUS_PAIR, OrphanReason.NO_ROLE])
def test_what_no_waiting_mends_is_told_of_at_once_and_taken_back_even_after_another_reason(
    reason: OrphanReason,
) -> None:
    orphans = OrphanWatch(after_s=60.0)
    orphans.lonely("a", reason, 5.0)
    assert orphans.pop_due(5.0) == [Due("a", reason, is_overdue=True)]
    orphans.lonely("a", OrphanReason.NO_DUB, 6.0)
    assert orphans.pop_due(34.0) == []
    assert orphans.pop_due(64.0) == [Due("a", OrphanReason.NO_DUB, is_overdue=False)]
    assert orphans.pop_due(65.0) == [Due("a", OrphanReason.NO_DUB, is_overdue=True)]
    assert orphans.resolve("a")


# --- pairs that people name themselves -------------------------------------------------------------------------------


def named(folder: str, master: str, dub: str, *, stems: bool = False, **settings: object) -> Match | None:
    """What the watched folder ``/drop`` (or one in it) says of two files below `folder`."""
    sections = [WatchSection(path=Path("/drop")), WatchSection.model_validate({"path": "/drop/inner", **settings})]
    identity, stamp = Identity(1, 1, "00"), FileStamp(1, 1, 1, 1, 1)
    sides = [
        MediaFile(path, identity, stamp, (Stem("L", path, identity, stamp),) if stems else ())
        for path in (Path(folder, master), Path(folder, dub))
    ]
    found = match_in(sections, *sides)
    return None if found is None else found[1]


def test_what_a_folder_would_pair_has_the_title_and_language_of_the_names() -> None:
    found = named("/drop/a", "Film_master.wav", "Film_dub_pt-BR_v2.wav")
    assert found == Match("a/Film_master.wav", "a/Film_dub_pt-BR_v2.wav", "Film", "pt-BR")


def test_sides_of_stems_are_named_without_the_channel() -> None:
    found = named("/drop", "master/Film.L.wav", "dub/fr/Film.L.wav", stems=True)
    assert found is not None
    assert (found.title, found.language) == ("Film", "fr")


def test_of_folders_one_in_the_other_the_inner_ones_rules_count() -> None:
    patterns = (r"(?P<title>\w+)-(?P<role>vo|vf)",)
    assert named("/drop/inner", "Film-vo.wav", "Film-vf.wav", patterns=patterns) is not None
    assert named("/drop", "Film-vo.wav", "Film-vf.wav", patterns=patterns) is None
    assert named("/drop/inner", "a/Film_master.wav", "a/Film_dub.wav", recursive=False) is None


@pytest.mark.parametrize(
    ("folder", "master", "dub"),
    [
        ("/elsewhere", "Film_master.wav", "Film_dub.wav"),
        ("/drop", "Film_master.wav", "Other_dub.wav"),
        ("/drop", "Film_dub.wav", "Film_master.wav"),
        ("/drop", "reel1.mov", "reel1_french.wav"),
        ("/drop", "a/Film_master.wav", "b/Film_dub.wav"),
        ("/drop", "dub/inner_master.wav", "inner/dub.wav"),
    ],
)
def test_of_what_no_folder_would_pair_the_names_say_nothing(folder: str, master: str, dub: str) -> None:
    assert named(folder, master, dub) is None
