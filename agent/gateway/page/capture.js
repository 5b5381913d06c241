// AudioWorklet: the microphone as 20 ms frames of mono PCM16, each with the time of its last sample
// that can be heard. Without a microphone the frames are silence.

const AUDIBLE = 0.01; // share of full scale; the same as agent/audio.py, so that figures agree

class Capture extends AudioWorkletProcessor {
  #frame = new Int16Array(sampleRate / 50);
  #filled = 0;
  #voicedAt = null; // seconds, on the context's clock

  process([input], [output]) {
    const samples = input[0];
    for (let i = 0; i < output[0].length; i++) {
      const sample = samples ? Math.max(-1, Math.min(1, samples[i])) : 0;
      if (Math.abs(sample) >= AUDIBLE) this.#voicedAt = (currentFrame + i) / sampleRate;
      this.#frame[this.#filled++] = sample * 32767;
      if (this.#filled === this.#frame.length) this.#send();
    }
    return true;
  }

  #send() {
    const pcm = this.#frame.buffer;
    this.port.postMessage({ pcm, voicedAt: this.#voicedAt }, [pcm]);
    this.#frame = new Int16Array(sampleRate / 50);
    this.#filled = 0;
    this.#voicedAt = null;
  }
}

registerProcessor("capture", Capture);
