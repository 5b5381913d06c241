// How long an answer took, as the caller has it: from their last sample that could be heard to the
// agent's first one. Greetings and re-prompts answer nobody, typed turns have no last sample.

export class ResponseClock {
  #voicedAt = null;
  #asked = false;

  /** The microphone was heard at this time (seconds, as all of them). */
  voiced(at) {
    this.#voicedAt = at;
  }

  /** The gateway has understood a spoken turn, or part of one. */
  understood() {
    this.#asked = true;
  }

  /** The agent is heard: how long the caller waited for that; null if nothing was asked aloud. */
  audible(at) {
    const answers = this.#asked && this.#voicedAt !== null && at >= this.#voicedAt;
    this.#asked = false;
    return answers ? at - this.#voicedAt : null;
  }
}

/** The one in the middle; of an even number, the lower of the two. */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
