"""Which names count, and which file systems need polling."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.watch.mounts import needs_polling
from syncd.watch.names import is_ignored, is_media
from syncd.watch.rescan import Tree


@pytest.mark.parametrize(
    "name", ["a.wav", "A.WAV", "a.b.Mp4", "a b\n.mkv", "\udcff.flac", "x" * 250 + ".wav", "a.m2ts"]
)
def test_media_counts(name: str) -> None:
    assert is_media(name)


@pytest.mark.parametrize(
    "name",
    [
        "wav", ".wav", ".a.wav", "._a.wav", ".a.wav.Xy12Qz", "a.wav~", "a.wav.part", "a.wav.partial", "a.wav.filepart",
        "a.wav.tmp", "a.wav.crdownload", "a.wav.PART", "a.txt", "a", "", "Thumbs.db", ".DS_Store",
        "Film_dub_fr.wav.sync.json", "Film_dub_fr.wav.sync.html",
    ],
)  # fmt: skip
def test_scratch_files_and_our_own_reports_do_not_count(name: str) -> None:
    assert not is_media(name)


def test_what_file_servers_put_into_folders_is_left_alone() -> None:
    assert is_ignored("@eaDir")
    assert is_ignored("#recycle")
    assert not is_ignored("Film (1999)")


def test_a_path_counts_only_if_all_of_it_does() -> None:
    tree = Tree("/drop", recursive=True, excluded=frozenset({"done", "a/failed"}))
    assert tree.counts("a/b/c.wav")
    assert not tree.counts("a/.hidden/c.wav")
    assert not tree.counts("done/c.wav")
    assert not tree.counts("a/failed/b/c.wav")
    assert tree.counts("failed/c.wav")
    assert not Tree("/drop", recursive=False).counts("a/b.wav")


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - xfs /dev/sdb1 rw
31 30 0:41 / /srv/nas rw - nfs4 server:/x rw
32 30 0:42 / /srv/my\\040share rw - fuse.sshfs host: rw
33 30 0:43 / /srv/over rw - cifs //host/x rw
34 30 8:2 / /srv/over rw - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("path", "polls"),
    [
        ("/home/drop", False),
        ("/srv/drop", False),
        ("/srv/nas", True),
        ("/srv/nas/drop", True),
        ("/srv/nasty", False),
        ("/srv/my share/drop", True),
        ("/srv/over/drop", False),
        ("/srv", True),
    ],
)
def test_network_and_fuse_file_systems_are_polled(path: str, *, polls: bool) -> None:
    assert needs_polling(path, MOUNTS) is polls


def test_the_mounts_of_this_machine_can_be_read() -> None:
    assert needs_polling("/proc", Path("/proc/self/mountinfo").read_text()) is False
