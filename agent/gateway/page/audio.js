// Microphone and loudspeaker, through one AudioContext: both sides' times are on the same clock.

const RATES = [8000, 16000, 24000, 48000]; // what parley.v1 takes
const PREFERRED = 16000; // what speech recognition wants

/** Something the person in front of the page can mend; the message says how. */
export class Problem extends Error {
  /** `typing`: the call can be held without what is missing, by typing. */
  constructor(message, { typing = false } = {}) {
    super(message);
    this.typing = typing;
  }
}

/**
 * Open both. `onFrame(pcm, voicedAt)` gets the microphone in 20 ms frames, with the time (seconds)
 * of the last sample in it that can be heard, or null; `onAudible(at, away)` the time at which the
 * first one of each of the agent's speeches leaves the loudspeaker, which is so many seconds away.
 * Without a microphone the frames are silence. Throws Problem.
 */
export async function openSound({ microphone, onFrame, onAudible }) {
  if (!window.isSecureContext) {
    throw new Problem(
      "Browsers give sound only to pages on this machine or over https. " +
        "Open this page as http://127.0.0.1, or put a TLS proxy in front of the gateway.",
    );
  }
  const stream = microphone ? await openMicrophone() : null;
  try {
    return await connect(stream, onFrame, onAudible);
  } catch (error) {
    stopTracks(stream);
    throw error;
  }
}

async function openMicrophone() {
  const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    switch (error.name) {
      case "NotAllowedError":
        throw new Problem(
          "The microphone is blocked. Allow it for this page in your browser, then try again.",
          { typing: true },
        );
      case "NotFoundError":
        throw new Problem("No microphone was found. Connect one, then try again.", { typing: true });
      case "NotReadableError":
        throw new Problem("The microphone is in use by another program.", { typing: true });
      default:
        throw new Problem(`The microphone could not be opened: ${error.message}`, { typing: true });
    }
  }
}

async function connect(stream, onFrame, onAudible) {
  const { context, source } = openContext(stream);
  try {
    await Promise.all([
      context.audioWorklet.addModule(new URL("capture.js", import.meta.url)),
      context.audioWorklet.addModule(new URL("playback.js", import.meta.url)),
      context.resume(),
    ]);
    return new Sound(context, stream, source, onFrame, onAudible);
  } catch (error) {
    context.close();
    throw error;
  }
}

/** A context at the rate we like best; where a microphone can't be resampled, at the device's. */
function openContext(stream) {
  for (const options of [{ sampleRate: PREFERRED }, {}]) {
    const context = new AudioContext({ latencyHint: "interactive", ...options });
    try {
      const source = stream && context.createMediaStreamSource(stream);
      if (RATES.includes(context.sampleRate)) return { context, source };
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
    }
    context.close();
  }
  throw new Problem("Your audio device's rate can't be used: set it to 48,000 Hz, then try again.");
}

class Sound {
  #context;
  #stream;
  #playback;
  #analysers;
  #samples;
  #drained = null;

  constructor(context, stream, source, onFrame, onAudible) {
    this.#context = context;
    this.#stream = stream;
    const capture = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    this.#playback = new AudioWorkletNode(context, "playback", { numberOfInputs: 0 });
    this.#analysers = { caller: new AnalyserNode(context), agent: new AnalyserNode(context) };
    this.#samples = new Float32Array(this.#analysers.agent.fftSize);
    source?.connect(capture);
    source?.connect(this.#analysers.caller);
    capture.connect(context.destination); // silent; what leads nowhere isn't run
    this.#playback.connect(this.#analysers.agent).connect(context.destination);
    capture.port.onmessage = ({ data }) => onFrame(data.pcm, data.voicedAt);
    this.#playback.port.onmessage = ({ data }) => {
      if (data.drained) this.#drained?.();
      else onAudible(data.audibleAt + this.#toLoudspeaker(), this.#toLoudspeaker());
    };
  }

  /** Seconds from a sample's being made to its being heard, as the browser knows them. */
  #toLoudspeaker() {
    return this.#context.outputLatency || this.#context.baseLatency || 0;
  }

  get sampleRate() {
    return this.#context.sampleRate;
  }

  /** A speech begins with the next frame. */
  start() {
    this.#playback.port.postMessage("start");
  }

  play(pcm) {
    this.#playback.port.postMessage(pcm, [pcm]);
  }

  /** All of the speech is here. */
  end() {
    this.#playback.port.postMessage("end");
  }

  /** Drop what hasn't been heard. */
  flush() {
    this.#playback.port.postMessage("flush");
  }

  mute(muted) {
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = !muted;
  }

  /** How loud "caller" or "agent" is: 0 for -60 dBFS and less, 1 for full scale. */
  level(side) {
    this.#analysers[side].getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    return Math.max(0, Math.min(1, 1 + (10 * Math.log10(power + 1e-12)) / 60));
  }

  /** Let go of the devices, once what is buffered was heard. */
  async close() {
    stopTracks(this.#stream);
    const drained = new Promise((resolve) => (this.#drained = resolve));
    this.#playback.port.postMessage("drain");
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, 500))]);
    await this.#context.close();
  }
}

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
