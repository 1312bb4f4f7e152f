"""`python -m tests.docs.pictures`: the docs' pictures, of reports that the real daemon wrote, by a real Chromium."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tests.acceptance.service import Service
from tests.browser import Browser, find_chromium
from tests.docs.pages import ROOT
from tests.material.programme import Programme
from tests.material.seeds import RATE_HZ, Samples
from tests.material.writers import write_wav

FOLDER: Final = ROOT / "docs" / "pictures"
DURATION_S: Final = 120.0
COLOURS: Final = 96
METHODS: Final = '["correlation", "mfcc", "onset", "spectral", "chunked", "chroma"]'
HEIGHTS: Final = {"report": 2_000, "report-dark": 1_100, "no-match": 1_100, "index": 420}


def dubs() -> Iterator[tuple[str, Samples]]:
    """The master, and what was made of it."""
    programme = Programme(71, DURATION_S)
    master, late, cut = (sound(programme, language) for language in (1, 2, 3))
    yield "Night Train_master", master
    yield "Night Train_dub_fr", np.concatenate((np.zeros((2, 2 * RATE_HZ)), late), axis=1)[:, : master.shape[1]]
    yield "Night Train_dub_de", np.concatenate((cut[:, : 70 * RATE_HZ], cut[:, 78 * RATE_HZ :]), axis=1)
    yield "Night Train_dub_es", sound(Programme(72, DURATION_S), 2)
    yield "Night Train_dub_it", sound(programme, 4)


def sound(programme: Programme, language: int) -> Samples:
    return programme.mix(language)(0, programme.n_samples)


def main() -> int:
    """Draw them all."""
    program = find_chromium()
    if program is None:
        sys.stderr.write("Chromium is not installed.\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="syncd-pictures-") as home:
        service = Service(Path(home))
        usual = service.config.read_text(encoding="utf-8")
        service.config.write_text(usual.replace('["correlation", "spectral"]', METHODS), encoding="utf-8")
        for name, samples in dubs():
            write_wav(service.drop / f"{name}.wav", samples, RATE_HZ)
        if service.run_once(deadline_s=600.0) != 0:
            sys.stderr.write(service.log())
            return 1
        with Browser(program, Path(home) / "profile") as browser:
            take(browser, service.drop / "Night Train_dub_de.wav.sync.html", "report")
            take(browser, service.drop / "Night Train_dub_es.wav.sync.html", "no-match")
            take(browser, service.drop / "index.sync.html", "index")
            browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            take(browser, service.drop / "Night Train_dub_fr.wav.sync.html", "report-dark")
    return 0


def take(browser: Browser, page: Path, name: str) -> None:
    """The top of a page, in few colours."""
    browser.open(page)
    image = Image.open(io.BytesIO(browser.shot())).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, HEIGHTS[name])))
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


sys.exit(main())
