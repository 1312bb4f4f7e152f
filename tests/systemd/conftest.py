from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.material import PairTruth, make_pair
from tests.material.swell import make_swelling_pair
from tests.systemd.machine import Machine, why_none
from tests.systemd.unit import Unit

REPOSITORY = Path(__file__).parents[2]

PREPARE = """
# An interpreter with a library of its own looks for it where the host has it, which may be a home: users find it here.
echo "$(dirname "$(dirname $PYTHON)")/lib" >/etc/ld.so.conf.d/000-python.conf && ldconfig
$PYTHON -m venv --without-pip /opt/syncd
export PYTHONPATH=/opt/lent PIP_ROOT_USER_ACTION=ignore
$PYTHON -m pip --python /opt/syncd/bin/python install --quiet --no-deps /files/*.whl
unset PYTHONPATH
echo /opt/lent >"$(echo /opt/syncd/lib/python3*/site-packages)/lent.pth"
/opt/syncd/bin/syncctl install-service --cpu
rm -f /etc/systemd/system/syncd.service.d/50-models.conf    # as without torch: memory is never both written and run
systemd-sysusers syncd.conf
systemd-tmpfiles --create syncd.conf
useradd ann && usermod -aG syncd ann
useradd bob
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is installed in machines; where none can be booted, these tests are skipped."""
    if (reason := why_none()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, REPOSITORY], check=True)
    (path,) = folder.glob("*.whl")
    return path


def boot(wheel: Path, files: Path, prepare: str = "") -> Machine:
    """A machine with syncd installed in /opt/syncd, its dependencies lent by the environment of the tests."""
    shutil.copy(wheel, files)
    binds = {Path(sysconfig.get_path("purelib")): "/opt/lent"}
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    if not python.is_relative_to("/usr"):
        # An interpreter in somebody's home is none that a service can reach.
        binds[Path(sys.base_prefix)] = "/opt/python"
        python = Path("/opt/python/bin") / python.name
    return Machine(PREPARE.replace("$PYTHON", str(python)) + prepare, binds, files=files)


@pytest.fixture(scope="session")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for all tests."""
    machine = boot(wheel, tmp_path_factory.mktemp("files"))
    yield machine
    machine.shut_down()


@pytest.fixture
def unit(machine: Machine) -> Iterator[Unit]:
    """The service, stopped and without a past."""
    unit = Unit(machine)
    unit.reset()
    yield unit
    unit.stop()


@pytest.fixture(scope="session")
def short_pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Twelve seconds, the dub 0.75 s late."""
    return make_pair(tmp_path_factory.mktemp("short"), seed=1, duration_s=12.0, offset_s=-0.75)


@pytest.fixture(scope="session")
def long_pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Twenty minutes: long enough to be interrupted."""
    return make_swelling_pair(tmp_path_factory.mktemp("long"), 1200.0, offset_s=1.25)
