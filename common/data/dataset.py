"""What preparing a dataset has in common: the folder found, the counts checked."""

import dataclasses
from collections.abc import Callable

from common.errors import UserError


def with_folder(config, application: str, holds: str, ensure: Callable[[], str]):
    """The config with its data_dir: --data_dir, or the quick profile's embedded data.

    holds: what the dataset's folder must have in it.  ensure(): gives the embedded data's folder.
    Raises UserError when another profile has no --data_dir.
    """
    if config.data_dir:
        return config
    if config.profile != "quick":
        raise UserError(
            f"the {config.profile} profile needs --data_dir=FOLDER with {holds} in it. "
            f"{application}/download_dataset.sh FOLDER fetches it."
        )
    return dataclasses.replace(config, data_dir=ensure())


def with_counts(config, path: str, counts: dict[str, int]):
    """The config with these counts, {field: found in path}.

    Raises UserError when a field, unless it is None, says another number.
    """
    for field, found in counts.items():
        expected = getattr(config, field)
        if expected is not None and found != expected:
            what = field.removeprefix("num_").replace("_", " ")
            raise UserError(
                f"{path}: expected {expected:,} for {what}, found {found:,}. Let verify_dataset.sh "
                f"check the folder, or say --set {field}=None for a dataset of your own."
            )
    return dataclasses.replace(config, **counts)
