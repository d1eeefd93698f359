"""How a script runs as a process: exit codes, signals, and where compiled programs are kept."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ancf_jax.cli.flags import expand
from ancf_jax.cli.screen import Screen
from ancf_jax.errors import Stopped, UserError
from ancf_jax.machine.compile import cached_programs
from ancf_jax.machine.memory import is_out_of_memory

STOPPING = (signal.SIGTERM, signal.SIGINT)
_STOPPING = b"stopping after the steps at hand; a second signal leaves at once\n"


def run(main: Callable[[list[str], Screen], None]) -> None:
    """Runs a script: a UserError becomes one sentence and its exit code, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the encoding of the output has no letter for is shown by its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    _raise_when_interrupted()
    try:
        with Screen() as screen, cached_programs(program_folder()):
            main(expand(sys.argv[1:]), screen)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone (e.g. `| head`); nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        _leave(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _leave(f"error: {_out_of_memory(error)}", 2)


def _raise_when_interrupted() -> None:
    """Lets SIGINT raise KeyboardInterrupt from here on, which a script may have left at once."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _out_of_memory(error: Exception) -> str:
    """What was asked for in vain, and what to do."""
    lines = str(error).removeprefix("RESOURCE_EXHAUSTED: ").splitlines()
    asked = f" ({lines[0][:160]})" if lines else ""
    return (
        f"out of memory{asked}; lower --loop.batch-size, --objective.negatives, "
        "--network.history-length or --network.embedding-size and train into another --run, "
        "or use a larger machine"
    )


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


def program_folder() -> Path:
    """Where compiled programs of the user are kept; the folder may be deleted at any time."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(caches) / "ancf_jax" / "compiled"


@contextmanager
def stopped_by_signals(message: str) -> Iterator[Callable[[], None]]:
    """Lets SIGTERM and SIGINT end the work of a `with` block between two of its steps.

    A second signal ends the process at once. Handlers are restored after the block. Python
    delivers signals to the main thread, so elsewhere nothing is installed.

    Args:
        message: what `Stopped` says.

    Yields:
        A function to be called between steps, which raises `Stopped` once a signal came.

    Raises:
        Stopped: a signal came and the work ended without asking.
    """
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):
            os.write(
                2, _STOPPING
            )  # print is not safe where it may have been interrupted

    def check() -> None:
        if received:
            raise Stopped(message, 128 + received[0])

    with _handlers(note):
        yield check
        check()


@contextmanager
def _handlers(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handles the stopping signals within a `with` block of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
