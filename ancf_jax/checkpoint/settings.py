"""The settings of a run on disk: config.json, which carries its own digest.

The digest stands in the file itself, so that both are replaced at once: a kill leaves no pair that
disagrees. Checkpoints do not repeat it, for settings such as `epochs` may change between two of
them, and later versions add settings.
"""

import json
from pathlib import Path

from ancf_jax.checkpoint.damage import reason
from ancf_jax.checkpoint.record import DIGEST, JSON, with_digest, without_digest
from ancf_jax.config import Config, to_json, validate
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError
from ancf_jax.models.registry import from_settings, registered

FILE = "config.json"


def write_settings(folder: Path, config: Config) -> None:
    """Writes config.json, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    settings = with_digest(json.loads(to_json(config)))
    with replacing(folder / FILE) as stream:
        stream.write(json.dumps(settings, indent=2).encode())


def read_settings(folder: Path) -> Config:
    """The settings in config.json, checked as those of a command line are.

    Settings that the version which wrote it did not have are at their defaults. A file without a
    digest, as older versions wrote it, is checked alike and passes without a word: nobody could
    do anything about it, and training that goes on adds the digest.

    Raises:
        UserError: the file is not what was written, or a setting is none, or out of range.
    """
    file = folder / FILE
    settings = _contents(file)
    registered(settings["model"])
    try:
        config = from_settings(settings)
    except (ValueError, TypeError, UserError) as error:
        raise UserError(
            f'"{file}" was written by another version ({_problem(error)}); '
            "use that version, or train again into another --run"
        ) from None
    try:
        validate(config)
    except UserError as error:
        raise UserError(
            f'"{file}" holds a setting that cannot be ({_problem(error)}); '
            "restore the file, or train again into another --run"
        ) from None
    return config


def _contents(file: Path) -> JSON:
    """The settings by dotted name, as they were written."""
    try:
        contents = json.loads(file.read_text(encoding="utf-8"))
        settings, is_whole = without_digest(contents)
        if not isinstance(settings["model"], str):
            raise TypeError(f"the model is {settings['model']}, expected a name")
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(
            f'"{file}" cannot be read ({reason(error)}); restore it'
        ) from None
    if not is_whole:
        raise UserError(
            f'"{file}" is not what was written (its digest says so); restore it, or delete its '
            f'line "{DIGEST}" where it was changed on purpose'
        )
    return settings


def _problem(error: Exception) -> str:
    """What an error says, without what it says to do."""
    return str(error).split(";")[0]
