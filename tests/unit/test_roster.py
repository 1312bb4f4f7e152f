from __future__ import annotations

from syncd.devices.frames import Read
from syncd.devices.readings import GpuReading
from syncd.devices.roster import FIRST_WORD_S, MOST_XIDS, Roster


def card(index: int, uuid: str = "") -> GpuReading:
    return GpuReading(uuid or f"GPU-{index}", index, "card", 100, 60, ecc_errors=3)


def read(index: int, at_s: float = 0.0, *uuids: str) -> Read:
    return Read(index, at_s, tuple(card(index, uuid) for uuid in uuids or ("",)))


def roster(card_count: int = 2) -> Roster:
    made = Roster()
    made.set_count(card_count, 0.0)
    return made


def uuids(roster: Roster, now_s: float = 0.0) -> list[str]:
    return [heard.reading.uuid for heard in roster.answer(now_s)]


def test_cards_come_in_pci_order_with_the_age_of_their_reading() -> None:
    cards = roster()
    cards.take(read(1, at_s=3.0))
    cards.take(read(0, at_s=4.0))
    assert [(heard.reading.index, heard.age_s) for heard in cards.answer(5.0)] == [(0, 1.0), (1, 2.0)]


def test_a_card_in_trouble_keeps_its_name_and_loses_its_figures() -> None:
    cards = roster(1)
    cards.take(read(0))
    cards.take(Read(0, 1.0, (), "GPU is lost"))
    (heard,) = cards.answer(1.0)
    assert (heard.reading.uuid, heard.reading.trouble, heard.reading.free_bytes) == ("GPU-0", "GPU is lost", 0)
    assert heard.reading.ecc_errors == 3


def test_a_card_that_was_never_named_is_told_of_all_the_same() -> None:
    cards = roster(1)
    cards.take(Read(0, 0.0, (), "GPU is lost"))
    assert uuids(cards) == ["card-0"]
    cards.take(read(0, 1.0))
    assert uuids(cards, 1.0) == ["GPU-0"]


def test_a_listed_card_that_never_answered_is_told_of_after_a_while() -> None:
    cards = roster()
    cards.take(read(0))
    assert uuids(cards, FIRST_WORD_S) == ["GPU-0"]
    heard = cards.answer(FIRST_WORD_S + 1.0)[1]
    assert (heard.reading.uuid, heard.age_s) == ("card-1", FIRST_WORD_S + 1.0)
    assert heard.reading.trouble == "no answer yet"


def test_slices_take_the_place_of_their_card_and_leave_it_again() -> None:
    cards = roster()
    cards.take(read(0))
    cards.take(read(0, 0.0, "MIG-a", "MIG-b"))
    assert uuids(cards) == ["MIG-a", "MIG-b"]
    cards.take(read(0))
    assert uuids(cards) == ["GPU-0"]


def test_an_error_is_told_once_and_to_every_slice() -> None:
    cards = roster(1)
    cards.note_xid(0, 79)
    assert uuids(cards) == []
    cards.take(read(0, 0.0, "MIG-a", "MIG-b"))
    cards.note_xid(0, 48)
    assert [heard.reading.xids for heard in cards.answer(0.0)] == [(79, 48), (79, 48)]
    assert [heard.reading.xids for heard in cards.answer(0.0)] == [(), ()]


def test_an_error_of_a_card_without_a_name_is_told_once_too() -> None:
    cards = roster(1)
    cards.note_xid(0, 79)
    assert [heard.reading.xids for heard in cards.answer(FIRST_WORD_S + 1.0)] == [(79,)]
    assert [heard.reading.xids for heard in cards.answer(FIRST_WORD_S + 1.0)] == [()]


def test_however_much_a_driver_tells_only_the_latest_is_kept() -> None:
    cards = roster(1)
    for xid in range(1000):
        cards.note_xid(0, xid)
    cards.take(read(0))
    assert cards.answer(0.0)[0].reading.xids == tuple(range(1000))[-MOST_XIDS:]


def test_a_card_that_is_not_listed_any_more_is_gone_whatever_still_speaks_for_it() -> None:
    cards = roster()
    cards.take(read(0))
    cards.take(read(1))
    cards.set_count(1, 1.0)
    cards.take(Read(1, 2.0, (), "Invalid Argument"))
    assert uuids(cards, 2.0) == ["GPU-0"]
