"""The three scripts as people call them.

Figures stand on standard output; what is wrong is one sentence and a code.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ancf_jax import cli
from ancf_jax.config import Config, flatten, override, validate
from ancf_jax.errors import Stopped, UserError
from ancf_jax.machine.compile import cache_programs, cached_programs
from ancf_jax.models.registry import default_config
from ancf_jax.recommender import load_recommender

REPOSITORY = Path(__file__).resolve().parents[1]


def call(name: str, *argv: object) -> None:
    with cli.Screen() as screen:
        import_module(name).main(cli.expand([str(word) for word in argv]), screen)


SPLIT = ["--split.kind", "leave_one_out"]
TINY = [
    "--epochs",
    "2",
    "--loop.batch-size",
    "16",
    "--network.embedding-size",
    "3",
    "--objective.negatives",
    "3",
    *SPLIT,
]


@pytest.fixture(scope="module")
def run(planted_shop, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "a run"
    call("train", "--data", planted_shop, "--model", "mf", "--run", folder, *TINY)
    return folder


def test_training_ends_with_a_table(planted_shop, tmp_path, capsys):
    call(
        "train",
        "--data",
        planted_shop,
        "--model",
        "popularity",
        "--run",
        tmp_path / "run",
        *SPLIT,
    )
    found = capsys.readouterr()
    assert "popularity" in found.out
    assert "ndcg@10" in found.out
    assert "13 users, 23 items" in found.err


def test_json_is_one_object_alone_on_standard_output(run, leave):
    code, out, err = leave("evaluate", "--run", run, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert len(out.strip().splitlines()) == 1
    assert {
        "model",
        "split",
        "protocol",
        "users",
        "metrics",
        "intervals",
        "reliability",
        "audit",
    } <= set(found)
    assert (found["model"], found["split"], found["protocol"]) == ("mf", "test", "full")
    assert {"hit_rate@10", "ndcg@10", "mrr@10", "auc"} <= set(found["metrics"])
    assert set(found["intervals"]) <= set(found["metrics"])
    low, high = found["intervals"]["ndcg@10"]
    assert low <= found["metrics"]["ndcg@10"] <= high
    assert found["audit"]["events"] == sum(
        found["audit"][part] for part in ("train", "validation", "test")
    )
    assert found["users"] <= 13


def test_probabilities_are_judged_where_lists_have_them(run, leave):
    """13 users with lists of 10, in 10 bins; not where other items are eligible."""
    found = {}
    for flags in ((), ("--keep-seen",), ("--protocol", "sampled")):
        code, out, err = leave("evaluate", "--run", run, "--json", *flags)
        assert code == 0, err
        found[flags] = json.loads(out)
    judged = found.pop(())
    bins = judged["reliability"]
    predicted = np.array(bins["predicted"])
    observed = np.array(bins["observed"])
    count = np.array(bins["count"])
    assert len(count) == 10
    assert 100 < count.sum() <= 130
    assert (np.diff(predicted) >= 0).all()
    error = (count * abs(predicted - observed)).sum() / count.sum()
    assert judged["metrics"]["ece@10"] == pytest.approx(error)
    assert judged["intervals"]["ece@10"] == [None, None]
    for other in found.values():
        assert other["reliability"] is None
        assert "ece@10" not in other["metrics"]


def test_keep_seen_is_a_flag_that_may_be_undecided(run, leave):
    found = {}
    for flags in ((), ("--keep-seen",), ("--no-keep-seen",)):
        code, out, err = leave("evaluate", "--run", run, "--json", *flags)
        assert code == 0, err
        found[flags] = json.loads(out)["users"]
    assert found[()] == found["--no-keep-seen",] <= found["--keep-seen",]
    assert found["--keep-seen",] == 13


def test_the_splits_and_protocols_by_flag(run, leave):
    code, out, err = leave(
        "evaluate",
        "--run",
        run,
        "--json",
        "--split",
        "validation",
        "--protocol",
        "sampled",
    )
    assert code == 0, err
    assert (json.loads(out)["split"], json.loads(out)["protocol"]) == (
        "validation",
        "sampled",
    )


def test_evaluation_without_json_is_a_table_and_a_file_per_user(run, leave, tmp_path):
    code, out, err = leave(
        "evaluate", "--run", run, "--keep-seen", "--per-user", tmp_path / "users.csv"
    )
    assert code == 0, err
    assert "ndcg@10" in out
    rows = pd.read_csv(tmp_path / "users.csv", dtype={"user_id": str})
    assert rows["user_id"].tolist() == [f"u{n:02d}" for n in range(13)]
    assert rows["hit_rate@10"].between(0, 1).all()


def test_the_largest_seed_trains(planted_shop, tmp_path, leave):
    flags = ["--data", planted_shop, "--model", "mf", "--run", tmp_path / "run", *TINY]
    code, out, err = leave("train", *flags, "--epochs", 1, "--seed", 2**32 - 1)
    assert code == 0, err
    assert "ndcg@10" in out


def test_unknown_users_are_counted_and_all_stands_alone(run, leave):
    asked = ["recommend", "--run", run, "--top-n", 3, "--users"]
    code, _, err = leave(*asked, "u03", "u7", "", "u05")
    assert code == 0, err
    words = "2 of 4 users are unknown, such as 'u7': they get the most popular items"
    assert words in err
    code, _, err = leave(*asked, "u03")
    assert code == 0, err
    assert "unknown" not in err
    code, out, err = leave(*asked, "all", "u03")
    assert (code, out) == (2, "")
    assert "--users is all u03, expected ids, or all; leave out all" in err
    code, out, err = leave(*asked)
    assert (code, out) == (2, "")
    assert "--users names nobody; give ids, or leave it out for all users" in err


def test_lists_for_people_have_names(run, leave):
    code, out, err = leave(
        "recommend",
        "--run",
        run,
        "--users",
        "u03",
        "--top-n",
        3,
        "--at",
        "2025-07-18T19:00",
    )
    assert code == 0, err
    assert "u03, Friday 2025-07-18 19:00" in out
    assert out.count("product ") == 3


def test_who_is_asked_for_twice_gets_two_lists(run, leave):
    code, out, err = leave(
        "recommend", "--run", run, "--users", "u03", "u03", "--top-n", 3
    )
    assert code == 0, err
    assert out.count("u03, ") == 2
    assert out.count("product ") == 6


def test_an_unknown_user_gets_the_popular_items(run, leave):
    code, out, err = leave("recommend", "--run", run, "--users", "nobody", "--top-n", 3)
    assert code == 0, err
    assert out.count("popular") == 3


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_lists_for_programs(run, leave, tmp_path, ending):
    path = tmp_path / f"lists.{ending}"
    code, out, err = leave(
        "recommend",
        "--run",
        run,
        "--users",
        "all",
        "--top-n",
        3,
        "--keep-seen",
        "--out",
        path,
    )
    assert code == 0, err
    assert out == ""
    read = {
        "parquet": pd.read_parquet,
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    rows = read[ending](path)
    assert rows["user_id"].tolist() == [
        f"u{n:02d}" for n in range(13) for _ in range(3)
    ]
    assert not list(tmp_path.glob(".*"))


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import recommend
from ancf_jax import cli
write = recommend.write_in_parts

def killed(path, digest, parts, make, say):
    def make_or_die(number):
        if number == 2:
            os.kill(os.getpid(), 9)
        return make(number)

    write(path, digest, parts, make_or_die, say)

recommend.write_in_parts = killed
recommend.USERS_PER_PART = 3
with cli.Screen() as screen:
    recommend.main(sys.argv[2:], screen)
"""


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_killed_scoring_goes_on_to_the_same_bytes(
    run, leave, tmp_path, monkeypatch, ending
):
    """Five parts; kill -9 within the third.

    Then the same command, and one that asks for something else.
    """
    monkeypatch.setattr(import_module("recommend"), "USERS_PER_PART", 3)
    straight = tmp_path / f"straight.{ending}"
    path = tmp_path / f"lists.{ending}"
    asked = ["--run", run, "--users", "all", "--top-n", 3, "--out"]
    assert leave("recommend", *asked, straight)[0] == 0
    path.write_text("what was there before")
    words = [sys.executable, "-c", KILLED, REPOSITORY, *asked, path]
    assert subprocess.run([str(word) for word in words], check=False).returncode == -9
    assert path.read_text() == "what was there before"
    folder = tmp_path / f"lists.{ending}.parts"
    assert {part.name for part in folder.glob("*.parquet")} == {
        "0.parquet",
        "1.parquet",
    }
    copy = shutil.copytree(folder, tmp_path / f"other.{ending}.parts")
    made = []
    write = import_module("recommend").write_in_parts

    def counted(path, digest, parts, make, say):
        return write(
            path, digest, parts, lambda number: made.append(number) or make(number), say
        )

    monkeypatch.setattr(import_module("recommend"), "write_in_parts", counted)
    code, _, err = leave("recommend", *asked, path)
    assert made == [2, 3, 4]
    assert code == 0, err
    assert "2 of 5 parts are there already" in err
    assert path.read_bytes() == straight.read_bytes()
    code, _, err = leave(
        "recommend", *asked, tmp_path / f"other.{ending}", "--top-n", 2
    )
    assert code == 0, err
    assert "parts of another call; starting anew" in err
    assert not folder.exists()
    assert not copy.exists()
    assert not list(tmp_path.glob(".*"))


def test_recommending_leaves_a_foreign_folder_of_parts_alone(run, leave, tmp_path):
    folder = tmp_path / "u.csv.parts"
    folder.mkdir()
    (folder / "diary").write_text("dear diary")
    code, _, err = leave("recommend", "--run", run, "--out", tmp_path / "u.csv")
    assert code == 2
    assert err.count("error:") == 1
    assert "u.csv.parts" in err
    assert "move it away, or choose another --out" in err
    assert no_traceback(err)
    assert os.listdir(tmp_path) == ["u.csv.parts"]
    assert os.listdir(folder) == ["diary"]


def test_a_share_without_users_is_refused(run, leave):
    code, _, err = leave("recommend", "--run", run, "--shard", "1/14")
    assert code == 2
    assert "no user for --shard 1/14" in err


def test_shards_make_up_the_whole(run, leave, tmp_path):
    asked = ["recommend", "--run", run, "--top-n", 3, "--out", tmp_path / "lists.csv"]
    for shard in ([], ["--shard", "1/3"], ["--shard", "2/3"], ["--shard", "3/3"]):
        code, _, err = leave(*asked, *shard)
        assert code == 0, err
    whole = pd.read_csv(tmp_path / "lists.csv")
    shares = [pd.read_csv(tmp_path / f"lists-{n}-of-3.csv") for n in (1, 2, 3)]
    assert [share["user_id"].nunique() for share in shares] == [4, 4, 5]
    pd.testing.assert_frame_equal(
        pd.concat(shares, ignore_index=True), whole, rtol=1e-5
    )


def no_traceback(err: str) -> bool:
    return "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "argv", "words"),
    [
        ("train", ["--optim.learning-rat", "0.1"], "learning-rate"),
        ("train", ["--epochs", "many"], "epochs"),
        ("train", ["--model", "neumff"], 'no model "neumff" (did you mean "neumf"?)'),
        ("train", ["--epochs", "-1"], "--epochs is -1, expected 0 or more"),
        ("train", ["--data", "nowhere/at/all"], "nowhere/at/all"),
        ("train", ["--data", ""], "--data is empty, expected a file or folder"),
        (
            "train",
            ["--split.min-user-events", "-5"],
            "--split.min-user-events is -5, expected 1 or more",
        ),
        ("train", ["--loop.metric", "ndgc@10"], "ndcg@10"),
        ("train", ["--model", "ease", "--loop.metric", "ndgc@10"], "Unrecognized"),
        (
            "train",
            ["--objective.loss", "bpr", "--objective.negatives", "0"],
            "--objective.negatives is 0, expected 1 or more, for --objective.loss bpr",
        ),
        (
            "train",
            ["--model", "linear"],
            "--objective.loss mse learns the values of ratings, but the data has none",
        ),
        (
            "train",
            ["--seed", "9223372036854775808"],
            "--seed is 9223372036854775808, expected from 0 to 4294967295",
        ),
        ("train", ["@no such preset"], "no such preset"),
        ("evaluate", ["--run", "nowhere"], 'no run in "nowhere"'),
        ("evaluate", ["--run", "nowhere", "--split", "tset"], "test"),
        ("evaluate", [], "--run"),
        ("recommend", ["--run", "nowhere", "--users", "a"], 'no run in "nowhere"'),
        ("recommend", ["--run", "nowhere", "--out", "lists.xlsx"], ".parquet"),
        ("recommend", ["--run", "nowhere", "--at", "noon"], '--at "noon"'),
        ("recommend", ["--run", "nowhere", "--shard", "4/3"], '--shard is "4/3"'),
        ("recommend", ["--run", "nowhere", "--shard", "half"], '--shard is "half"'),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(
    leave, tmp_path, monkeypatch, name, argv, words
):
    monkeypatch.chdir(tmp_path)
    code, out, err = leave(name, *argv)
    assert code == 2
    assert words in err
    assert no_traceback(err)
    assert out == ""
    assert not list(tmp_path.iterdir())  # nothing is begun


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--protocol", "given"], "no given negatives"),
        (["--per-user", "users.txt"], ".csv"),
    ],
)
def test_what_a_run_cannot_do_is_said(run, leave, flags, words):
    code, _, err = leave("evaluate", "--run", run, *flags)
    assert code == 2
    assert words in err
    assert err.count("error:") == 1


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_run_is_read_without_a_trace(run, leave, tmp_path, monkeypatch, no_cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = times(run)
    assert leave("evaluate", "--run", run)[0] == 0
    assert leave("recommend", "--run", run, "--users", "u03")[0] == 0
    load_recommender(run).recommend(["u03"])
    assert times(run) == before
    assert any((tmp_path / "ancf_jax" / "compiled").iterdir())


def test_a_damaged_run_is_said(run, leave, tmp_path):
    (tmp_path / "config.json").write_text("{")
    code, _, err = leave("evaluate", "--run", tmp_path)
    assert code == 2
    assert "config.json" in err
    assert no_traceback(err)


@pytest.mark.parametrize(
    ("model", "shown", "hidden"),
    [
        ("neumf", ["--network.hidden", "--optim.clip"], ["--network.heads"]),
        ("ancf", ["--network.heads", "--loop.stream"], ["--network.l2"]),
        ("ease", ["--network.l2", "--seed"], ["--optim.", "--loop.", "--objective."]),
        ("popularity", ["--split.kind"], ["--network.", "--optim."]),
    ],
)
def test_the_help_shows_what_the_model_uses(leave, model, shown, hidden):
    code, out, _ = leave("train", "--model", model, "--help")
    assert code == 0
    assert all(flag in out for flag in shown)
    assert not any(flag in out for flag in hidden)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--model", "mf", "--network.no-popularity"],
            "--network.popularity is a setting of ancf; mf does not have it",
        ),
        (
            ["--model=ials", "--optim.clip=2"],
            "--optim.clip is a setting of ancf, linear,",
        ),
    ],
)
def test_a_flag_of_other_models_is_refused_and_says_whose_it_is(leave, argv, words):
    code, _, err = leave("train", *argv)
    assert code == 2
    assert "Unrecognized" in err
    assert words in err


@pytest.mark.parametrize("model", ["ease", "mf"])
def test_flags_change_what_they_name_and_nothing_else(model):
    config = import_module("train").parse(["--model", model, "--seed", "5"]).config
    assert type(config) is Config
    assert flatten(config) == flatten(default_config(model)) | {"seed": 5}


@pytest.mark.parametrize(
    "preset", sorted((REPOSITORY / "presets").iterdir()), ids=lambda path: path.stem
)
def test_every_preset_is_understood(preset):
    validate(import_module("train").parse(cli.expand([f"@{preset}"])).config)


def test_settings_of_code_are_held_to_their_choices_too():
    typo = override(default_config("ease"), {"loop.metric": "ndgc@10"})
    words = r'--loop.metric is "ndgc@10" \(did you mean "ndcg@10"\?\), expected one of auto, last'
    with pytest.raises(UserError, match=words):
        validate(typo)


def test_a_run_is_not_overwritten_and_says_how_to_go_on(run, planted_shop, leave):
    code, _, err = leave(
        "train", "--data", planted_shop, "--model", "mf", "--run", run, *TINY
    )
    assert code == 2
    assert "--resume" in err


def test_presets_are_flags_in_a_file(tmp_path):
    preset = tmp_path / "my preset.txt"
    preset.write_text('--epochs 3  # as in the paper\n--data "a folder"\n')
    assert cli.expand(["--seed", "1", f"@{preset}"]) == [
        "--seed",
        "1",
        "--epochs",
        "3",
        "--data",
        "a folder",
    ]
    with pytest.raises(UserError, match="cannot be read"):
        cli.expand(["@" + str(tmp_path)])


def test_the_last_value_of_a_flag_counts():
    assert cli.flag_value(["--model", "mf", "--model=ease"], "--model") == "ease"
    assert cli.flag_value(["--models", "mf"], "--model") is None
    assert cli.flag_value(["--model"], "--model") is None
    assert cli.flag_value([], "--model") is None


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_work_where_it_asks(number, code):
    before = signal.getsignal(number)
    reached = []
    stopped = pytest.raises(Stopped, match="go on later")
    with stopped as caught, cli.stopped_by_signals("go on later") as check:
        check()
        os.kill(os.getpid(), number)
        reached.append("after the signal")
        check()
        reached.append("after the check")
    assert reached == ["after the signal"]
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_signal_is_told_by_work_that_never_asks():
    with pytest.raises(Stopped), cli.stopped_by_signals("go on later"):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("name", ["train", "recommend", "evaluate"])
def test_an_interrupt_during_the_imports_leaves_without_a_word(name, tmp_path):
    """A module that all scripts import interrupts them."""
    interrupting = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "tyro.py").write_text(interrupting)
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    script = str(REPOSITORY / f"{name}.py")
    # Whoever started the tests may have interrupts ignored, which a process hands on.
    code = f"""
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = [{script!r}, "--help"]
runpy.run_path({script!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_interrupt_after_the_imports_is_told():
    code = """
import os, signal, sys
from ancf_jax import cli
signal.signal(signal.SIGINT, lambda *_: os._exit(99))  # as a script leaves during its imports
sys.argv = ["script"]
cli.run(lambda argv, screen: os.kill(os.getpid(), signal.SIGINT))
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"stopped\n")


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def work() -> None:
        with cli.stopped_by_signals("go on later") as check:
            check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            [],
            "error: stopped by a signal; "
            "resume with the same command and --run {run} --resume\n",
        ),
        (["--search"], "error: stopped by a signal; the same command goes on"),
    ],
)
def test_stopped_training_says_how_to_go_on(leave, tmp_path, monkeypatch, flags, words):
    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        arguments[3]()

    monkeypatch.setattr(import_module("train"), "fit", stopped)
    monkeypatch.setattr(import_module("train"), "search", stopped)
    run = tmp_path / "run"
    code, _, err = leave("train", "--run", run, *flags)
    assert code == 128 + signal.SIGTERM
    assert words.format(run=run) in err


FOLDER = "jax_compilation_cache_dir"


@pytest.fixture
def no_cache():
    """JAX without the folder for compiled programs that the tests share."""
    before = jax.config.values[FOLDER]
    jax.config.update(FOLDER, None)
    compilation_cache.reset_cache()
    yield
    jax.config.update(FOLDER, before)
    compilation_cache.reset_cache()


def compile_anew(number: float) -> None:
    jax.jit(lambda x: x * number)(1.0)


def test_programs_are_kept_within_the_block_alone(no_cache, tmp_path):
    folder = tmp_path / "a" / "folder"
    before = dict(jax.config.values)
    with cached_programs(folder):
        compile_anew(3.25)
    kept = sorted(folder.iterdir())
    compile_anew(4.25)
    assert kept
    assert sorted(folder.iterdir()) == kept
    assert dict(jax.config.values) == before


def test_a_folder_that_cannot_be_made_is_passed_over(no_cache, tmp_path):
    (tmp_path / "file").touch()
    cache_programs(tmp_path / "file" / "folder")
    compile_anew(5.25)
    assert jax.config.values[FOLDER] is None


def test_a_folder_that_is_set_already_stays(tmp_path):
    before = jax.config.values[FOLDER]
    with cached_programs(tmp_path / "folder"):
        assert jax.config.values[FOLDER] == before
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        (["--epochs", "10"], {"epochs"}),
        (["--optim.learning-rate=0.1"], {"optim.learning_rate"}),
        (["--network.no-mlp-path"], {"network.mlp_path"}),
        (
            ["--model", "mf", "--network.embedding_size", "7"],
            {"network.embedding_size", "model"},
        ),
    ],
)
def test_what_a_flag_gives_is_not_left_to_the_data(argv, given):
    model = "mf" if "mf" in argv else "ancf"
    every = set(flatten(default_config(model)))
    assert set(cli.not_given(argv)) == every - given


def test_a_model_that_cannot_fit_in_memory_is_refused(planted_shop, leave, tmp_path):
    run = tmp_path / "run"
    size = ["--network.embedding-size", "100000000"]
    code, out, err = leave("train", "--data", planted_shop, "--run", run, *SPLIT, *size)
    assert code == 2
    assert "GB that a device can hold; lower --network.embedding-size" in err
    assert no_traceback(err)
    assert out == ""
    assert not run.exists()


def test_other_errors_of_the_device_are_not_taken_for_it(monkeypatch):
    def main(_argv: list[str], _screen: cli.Screen) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault of ours")

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(jax.errors.JaxRuntimeError, match="a fault of ours"):
        cli.run(main)
