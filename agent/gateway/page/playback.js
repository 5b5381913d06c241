// AudioWorklet: plays the agent's frames. A jitter buffer: a speech begins, and goes on after a gap,
// once enough of it is here to bridge the next late frame.

const AUDIBLE = 0.01; // share of full scale; the same as agent/audio.py
const AHEAD = 3; // frames of 20 ms waited for
const MOST = 250; // frames held: five seconds; the oldest go first

class Playback extends AudioWorkletProcessor {
  #frames = [];
  #position = 0; // in the first frame
  #playing = false;
  #complete = true; // all of this speech has arrived
  #heard = true; // its first audible sample was reported
  #draining = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take(data) {
    if (data instanceof ArrayBuffer) {
      if (this.#frames.length === MOST) this.#frames.shift();
      this.#frames.push(new Int16Array(data));
      return;
    }
    switch (data) {
      case "start":
        this.#complete = this.#heard = false;
        break;
      case "end":
        this.#complete = true;
        break;
      case "flush":
        this.#frames = [];
        this.#position = 0;
        this.#playing = false;
        break;
      case "drain":
        this.#complete = this.#draining = true;
    }
  }

  process(_, [[output]]) {
    const enough = this.#complete ? 1 : AHEAD;
    this.#playing ||= this.#frames.length >= enough;
    for (let i = 0; this.#playing && i < output.length; i++) output[i] = this.#next(i);
    if (this.#draining && !this.#frames.length) {
      this.#draining = false;
      this.port.postMessage({ drained: true });
    }
    return true;
  }

  #next(i) {
    const frame = this.#frames[0];
    if (!frame) {
      this.#playing = false; // late, or over
      return 0;
    }
    const sample = frame[this.#position++] / 32768;
    if (this.#position === frame.length) {
      this.#frames.shift();
      this.#position = 0;
    }
    if (!this.#heard && Math.abs(sample) >= AUDIBLE) {
      this.#heard = true;
      this.port.postMessage({ audibleAt: (currentFrame + i) / sampleRate });
    }
    return sample;
  }
}

registerProcessor("playback", Playback);
