"""Tables made in parts: what is damaged is made anew, and nothing that is not ours is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ancf_jax.errors import UserError
from ancf_jax.output import write_in_parts

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = 3
WHOLE = "n\n0\n1\n10\n11\n20\n21\n"


class Work:
    """Makes parts of two rows; `stop` is the part in which it is interrupted."""

    def __init__(self, path: Path, stop: int = PARTS):
        self.path = path
        self.stop = stop
        self.made: list[int] = []
        self.said: list[str] = []

    def make(self, number: int) -> list[pd.DataFrame]:
        if number == self.stop:
            raise KeyboardInterrupt
        self.made.append(number)
        return [pd.DataFrame({"n": [10 * number, 10 * number + 1]})]

    def write(self, digest: str = "asked") -> int:
        return write_in_parts(self.path, digest, PARTS, self.make, self.said.append)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "u.csv"


@pytest.fixture
def begun(out) -> Path:
    """The folder of a call that was interrupted in its last part."""
    with pytest.raises(KeyboardInterrupt):
        Work(out, stop=2).write()
    return out.with_name("u.csv.parts")


def test_the_parts_make_the_table_and_go(out):
    assert Work(out).write() == 6
    assert out.read_text() == WHOLE
    assert os.listdir(out.parent) == ["u.csv"]


@pytest.mark.parametrize("name", ["diary", "1.parquet", "digest"])
def test_a_folder_that_is_not_ours_is_refused_and_stays(out, name):
    folder = out.with_name("u.csv.parts")
    folder.mkdir()
    (folder / name).write_text("dear diary")
    work = Work(out)
    with pytest.raises(
        UserError, match=r'u\.csv\.parts" is a folder that ancf_jax did'
    ):
        work.write()
    assert work.made == []
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        name: "dear diary"
    }


@pytest.mark.parametrize("kind", ["file", "link", "link to nowhere"])
def test_a_link_or_a_file_of_that_name_is_refused(out, tmp_path, kind):
    place = out.with_name("u.csv.parts")
    home = tmp_path / "home"
    home.mkdir()
    (home / "diary").write_text("dear diary")
    if kind == "file":
        place.write_text("dear diary")
    else:
        place.symlink_to(home if kind == "link" else tmp_path / "nowhere")
    expected = "is a file" if kind == "file" else "is a link"
    with pytest.raises(UserError, match=f'"{place}" {expected} and stays'):
        Work(out).write()
    assert [file.name for file in home.iterdir()] == ["diary"]
    assert not out.exists()
    assert place.is_symlink() == kind.startswith("link")


def test_a_file_that_a_person_put_among_our_parts_stays(begun, out):
    (begun / "diary").write_text("dear diary")
    work = Work(out)
    assert work.write("asked otherwise") == 6
    assert "parts of another call" in work.said[0]
    assert (begun / "diary").read_text() == "dear diary"
    assert not list(begun.glob("*.parquet"))


@pytest.mark.parametrize("file", ["1.parquet", "1.digest"])
@pytest.mark.parametrize("fault", ["flipped", "truncated", "emptied"])
def test_a_damaged_part_is_told_and_made_anew(begun, out, file, fault):
    path = begun / file
    content = bytearray(path.read_bytes())
    if fault == "flipped":
        content[len(content) // 2] ^= 4
    path.write_bytes(content[: {"flipped": None, "truncated": -3, "emptied": 0}[fault]])
    work = Work(out)
    assert work.write() == 6
    assert work.made == [1, 2]
    assert work.said == [
        f'"{begun / "1.parquet"}" is damaged; its users are scored anew',
        "1 of 3 parts are there already",
    ]
    assert out.read_text() == WHOLE


@pytest.mark.parametrize("file", ["1.parquet", "1.digest"])
def test_a_missing_part_is_made_anew(begun, out, file):
    (begun / file).unlink()
    work = Work(out)
    assert work.write() == 6
    assert work.made == [1, 2]
    assert out.read_text() == WHOLE


def test_a_part_that_is_damaged_at_the_last_moment_does_not_get_into_the_table(
    begun, out
):
    work = Work(out)
    make = work.make

    def damaging(number: int) -> list[pd.DataFrame]:
        (begun / "0.parquet").write_bytes(b"rubbish")
        return make(number)

    with pytest.raises(UserError, match=r"0\.parquet.*run the same command again"):
        write_in_parts(out, "asked", PARTS, damaging, work.said.append)
    assert not out.exists()
    assert Work(out).write() == 6
    assert out.read_text() == WHOLE


HOLDER = """
import sys
from pathlib import Path
import pandas as pd
from ancf_jax.output import write_in_parts

def make(number):
    print("ready", flush=True)
    sys.stdin.read()
    return [pd.DataFrame({"n": [number]})]

write_in_parts(Path(sys.argv[1]), "asked", 1, make, print)
"""


def test_of_two_calls_at_once_the_second_is_told_who_writes(out):
    words = [sys.executable, "-c", HOLDER, str(out)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, env=environment, stdin=pipe, stdout=pipe, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        with pytest.raises(UserError, match=f'process {first.pid} is writing "{out}"'):
            Work(out).write()
        first.communicate()
    assert first.returncode == 0
    assert out.read_text() == "n\n0\n"
    assert Work(out).write() == 6
