"""The cache of features in the hands of the real daemon and the real commands."""

from __future__ import annotations

import os
import shutil

from tests.acceptance.service import Service, valid_report
from tests.material import PairTruth


def drop_two_dubs(service: Service, pair: PairTruth) -> None:
    shutil.copy2(pair.master_path, service.drop / "show_master.wav")
    for number, language in enumerate(("fr", "de"), start=1):
        dub = shutil.copy2(pair.dub_path, service.drop / f"show_dub_{language}.wav")
        os.utime(dub, (number, number))


def test_of_two_dubs_one_is_measured_without_decoding_the_master(service: Service, short_pair: PairTruth) -> None:
    service.extra = "[workers]\ncpu_slots = 1\n"
    service.write_config()
    left_by_the_dead = service.home / "cache" / "features" / ".draft-0123456789abcdef"
    left_by_the_dead.parent.mkdir(parents=True)
    left_by_the_dead.write_bytes(b"half")
    drop_two_dubs(service, short_pair)
    assert service.run_once() == 0
    reports = [valid_report(service.drop / f"show_dub_{language}.wav.sync.json") for language in ("fr", "de")]
    assert sorted(report["processing"]["from_cache"] for report in reports) == [[], ["master"]]
    assert [report["processing"]["cache_warnings"] for report in reports] == [[], []]
    assert not left_by_the_dead.exists()


def test_a_single_analysis_keeps_nothing_unless_a_cache_is_named(service: Service, short_pair: PairTruth) -> None:
    paths = str(short_pair.master_path), str(short_pair.dub_path)
    named = [service.syncctl_json("analyze", *paths)["processing"]["from_cache"] for _ in range(2)]
    shutil.rmtree(service.home / "cache", ignore_errors=True)
    service.config.write_text(f'[ledger]\npath = "{service.ledger}"\n', encoding="utf-8")
    unnamed = service.syncctl_json("analyze", *paths)["processing"]
    assert "from_cache" not in unnamed
    assert not (service.home / "cache").exists()
    assert named == [[], ["master"]]
