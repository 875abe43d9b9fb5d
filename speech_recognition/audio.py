"""Sound files as int16: FLAC or WAV, 16 kHz, one channel; any other is refused in one line."""

import contextlib
import os

import soundfile

from common.errors import UserError
from common.files import open_regular

SAMPLE_RATE = 16_000     # samples a second
MAX_SECONDS = 60         # LibriSpeech's longest has 35.2
MAGICS = (b"fLaC", b"RIFF")


@contextlib.contextmanager
def opened(path, own=False):
    """The SoundFile of a path, its header checked.  Raises UserError.

    own: no link is followed.  No other decoder of the library's is asked but FLAC's and WAV's.
    """
    try:
        with open_regular(path, own=own) as file:
            magic, size = file.read(4), int.from_bytes(file.read(4), "little")
            if magic not in MAGICS:
                raise UserError(f"{path}: neither FLAC nor WAV. Fetch or convert it again.")
            missing = 8 + size - os.fstat(file.fileno()).st_size
            if magic == b"RIFF" and missing > 0:  # which the library passes over
                raise UserError(f"{path}: damaged sound (its header says {missing:,} bytes more). "
                                "Fetch or convert it again.")
            os.lseek(file.fileno(), 0, os.SEEK_SET)  # the library reads the descriptor
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                check(path, sound)
                yield sound
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except soundfile.SoundFileError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"{path}: damaged sound ({reason}). Fetch it again.") from None


def check(path, sound):
    """Raises UserError for a header that says other than 16 kHz, mono, PCM, 1 to MAX_SECONDS."""
    if (sound.samplerate, sound.channels) != (SAMPLE_RATE, 1) or (
        not sound.subtype.startswith("PCM_")  # as NMS_ADPCM_16 does not
    ):
        raise UserError(
            f"{path}: {sound.samplerate:,} Hz, channels: {sound.channels}, {sound.subtype}. "
            f"Expected {SAMPLE_RATE:,} Hz, one channel, PCM: sox IN -r 16000 -c 1 -b 16 OUT.flac"
        )
    if not 0 < sound.frames <= MAX_SECONDS * SAMPLE_RATE:
        raise UserError(
            f"{path}: its header says {sound.frames / SAMPLE_RATE:,.1f} s. "
            f"Expected some samples, and {MAX_SECONDS} s at most."
        )


def num_samples(path, own=False):
    """How many samples a file has, by its header.  Raises UserError."""
    with opened(path, own) as sound:
        return sound.frames


def read_audio(path, own=False):
    """int16 [N]: a file's samples.  Raises UserError."""
    with opened(path, own) as sound:
        samples = sound.read(dtype="int16")
        if len(samples) != sound.frames:
            raise UserError(
                f"{path}: damaged sound (its header says {sound.frames:,} samples, it has "
                f"{len(samples):,}). Fetch it again."
            )
        return samples
