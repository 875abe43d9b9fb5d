"""Every number of the speech recognition benchmark: DeepSpeech2 on LibriSpeech."""

from dataclasses import dataclass, replace

from common.errors import UserError
from common.options import Count, Options, Positive, Size


@dataclass(frozen=True)
class Config(Options):
    """The reference benchmark; QUICK below changes what a laptop needs changed."""

    # Data.  Counts: the three train-* and the two dev-* of LibriSpeech.
    num_train_utterances: Count | None = 281_241      # None: as many as the folder holds
    num_eval_utterances: Count | None = 5_567
    index: str = ""                                   # folder in data_dir; found by data.prepare
    batch_size: Size = 8                              # global, also of the evaluation
    order: str = "ascending"                          # ascending or sortagrad
    frame_step: Size = 200                            # a batch's frames: a multiple of as many
    augment: bool = True                              # tempo and gain, in training
    tempo_low: Positive = 0.85
    tempo_high: Positive = 1.15
    gain_low: float = -6.0                            # dB
    gain_high: float = 8.0


REFERENCE = Config(profile="reference", num_epochs=10)

QUICK = replace(
    REFERENCE,
    profile="quick",
    num_train_utterances=None,
    num_eval_utterances=None,
    batch_size=16,
    order="sortagrad",
    frame_step=40,
)

PROFILES = {"quick": QUICK, "reference": REFERENCE}


def check(config):
    """The config, if its numbers fit together.  Raises UserError."""
    if config.order not in ("ascending", "sortagrad"):
        raise UserError(f"order={config.order}: expected ascending or sortagrad.")
    for name in ("tempo", "gain"):
        low, high = (getattr(config, f"{name}_{end}") for end in ("low", "high"))
        if low > high:
            raise UserError(f"{name}_low={low}: expected at most {name}_high={high}.")
    if not 0.5 <= config.tempo_low <= config.tempo_high <= 2.0:
        raise UserError(f"tempo_low={config.tempo_low}, tempo_high={config.tempo_high}: expected "
                        "0.5 to 2.")
    return config
