"""Sound files: what is read, exactly, and what is refused in one line."""

import os
import wave

import numpy as np
import pytest
import soundfile

from common.errors import UserError
from speech_recognition import audio
from tests.speech_recognition.sounds import noise


def fails(match, path, call=audio.read_audio, **more):
    with pytest.raises(UserError, match=match) as caught:
        call(str(path), **more)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.fixture
def flac(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(0.5), audio.SAMPLE_RATE)
    return path


def test_flac_and_wav_are_exact(flac, tmp_path):
    assert np.array_equal(audio.read_audio(str(flac)), noise(0.5))
    with wave.open(str(tmp_path / "a.wav"), "wb") as opened:
        opened.setparams((1, 2, audio.SAMPLE_RATE, 0, "NONE", ""))
        opened.writeframes(noise(0.5).tobytes())
    assert np.array_equal(audio.read_audio(str(tmp_path / "a.wav")), noise(0.5))
    for path in (flac, tmp_path / "a.wav"):
        assert audio.num_samples(str(path)) == 8000


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "match"),
    [
        (44100, 1, "PCM_16", r"44,100 Hz, channels: 1, PCM_16\. Expected 16,000 Hz, one channel"),
        (16000, 2, "PCM_16", "16,000 Hz, channels: 2"),
        (16000, 1, "FLOAT", "16,000 Hz, channels: 1, FLOAT"),
        (16000, 1, "ULAW", "ULAW"),
        (16000, 1, "NMS_ADPCM_16", "NMS_ADPCM_16"),
    ],
)
def test_other_sounds_are_refused(tmp_path, rate, channels, subtype, match):
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", rate, channels, subtype) as opened:
        opened.write(np.zeros((rate, channels)))
    fails(match, path)
    fails(match, path, audio.num_samples)


def test_24_bits_are_cut_to_16(tmp_path):
    samples = noise(0.1)
    soundfile.write(tmp_path / "a.flac", samples.astype(np.int32) << 16, 16000, "PCM_24")
    assert np.array_equal(audio.read_audio(str(tmp_path / "a.flac")), samples)


def test_lengths_out_of_bounds(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0, np.int16), 16000)
    fails(r"its header says 0\.0 s\. Expected some samples, and 60 s at most", path)
    soundfile.write(path, np.zeros(60 * 16000 + 1, np.int16), 16000)
    fails(r"its header says 60\.0 s", path)
    soundfile.write(path, np.zeros(60 * 16000, np.int16), 16000)
    assert len(audio.read_audio(str(path))) == 60 * 16000


def claiming(path, count):
    """Changes a FLAC's header: how many samples it says it has, 36 bits from the 22nd byte's low
    half on."""
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | count >> 32
    content[22:26] = (count & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)


def test_a_header_that_claims_too_much_takes_no_memory(flac):
    claiming(flac, (1 << 36) - 1)
    for call in (audio.read_audio, audio.num_samples):
        fails("its header says 4,294,967.3 s", flac, call)


@pytest.mark.parametrize("count", [8001, 16000, 0])
def test_a_header_that_is_wrong(flac, count):
    claiming(flac, count)
    fails(r"damaged sound|its header says", flac)


@pytest.mark.parametrize("name", ["a.flac", "a.wav"])
@pytest.mark.parametrize("keep", [0, 3, 10, 60, 0.5, 0.9])
def test_a_file_that_is_cut_off(tmp_path, name, keep):
    path = tmp_path / name
    soundfile.write(path, noise(0.5), audio.SAMPLE_RATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else keep])
    fails(r"damaged sound|neither FLAC nor WAV", path)


@pytest.mark.parametrize("kind", ["OGG", "AIFF", "AU", "W64"])
def test_no_other_decoder_is_asked(tmp_path, kind):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(1600), 16000, format=kind)
    fails(r"neither FLAC nor WAV", path)


def test_what_is_no_file(flac, tmp_path):
    fails("no such file", tmp_path / "b.flac")
    fails("cannot be read", tmp_path)
    os.mkfifo(tmp_path / "pipe.flac")
    fails("cannot be read", tmp_path / "pipe.flac")
    link = tmp_path / "link.flac"
    link.symlink_to(flac)
    assert len(audio.read_audio(str(link))) == 8000
    fails("cannot be read", link, own=True)
