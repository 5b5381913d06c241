// Talk to the gateway that serves this page.

import { Problem, openSound } from "./audio.js";
import { Call, health } from "./call.js";
import { ResponseClock } from "./response.js";
import { View } from "./view.js";

const view = new View(document);
let conversation = null;

/** One conversation: the sound, the call, and what the page shows of both. */
class Conversation {
  #sound = null;
  #call = null;
  #clock = new ResponseClock();
  #leaving = false;

  /** Hold it, from opening the devices until everything is closed. Throws Problem. */
  async hold({ microphone, token }) {
    this.#sound = await openSound({
      microphone,
      onFrame: (pcm, voicedAt) => {
        if (voicedAt !== null) this.#clock.voiced(voicedAt);
        this.#call?.frame(pcm);
      },
      onAudible: (at, away) => {
        const gap = this.#clock.audible(at);
        view.audible(gap);
        // the gateway believes nobody who tells of what can't have been heard yet
        if (gap !== null) setTimeout(() => this.#call?.gap(gap), 1000 * away);
      },
    });
    const level = (side) => this.#sound.level(side);
    try {
      if (this.#leaving) return;
      this.#call = new Call({ token, sampleRate: this.#sound.sampleRate, on: this.#messages() });
      view.showLevels(level);
      await this.#call.closed;
    } finally {
      await this.#sound.close();
      view.showLevels(null);
    }
  }

  end() {
    this.#leaving = true;
    this.#call?.end();
  }

  type(text) {
    this.#call?.type(text);
  }

  mute(muted) {
    this.#sound?.mute(muted);
  }

  /** What is done with each message of the gateway's. */
  #messages() {
    return {
      started: ({ id, trace_id }) => view.started(id, trace_id),
      frame: (pcm) => this.#sound.play(pcm),
      audio_started: () => {
        this.#sound.start();
        view.speechStarted();
      },
      audio_ended: ({ interrupted }) => {
        this.#sound.end();
        view.speechEnded(interrupted);
      },
      flush: () => this.#sound.flush(),
      state: ({ agent, user }) => view.state(agent, user),
      words: ({ speaker, text, final }) => {
        if (speaker === "user" && final) this.#clock.understood();
        view.words(speaker, text, final);
      },
      tool: ({ name, arguments: given, ok }) => view.tool(name, given, ok),
      ended: ({ outcome }) => view.ended(outcome),
    };
  }
}

async function talk(microphone) {
  conversation = new Conversation();
  view.opening();
  try {
    await conversation.hold({ microphone, token: view.token });
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    view.problem(error.message, error.typing);
  } finally {
    conversation = null;
    view.idle();
  }
}

view.onCall = () => (conversation ? conversation.end() : talk(true));
view.onTypeInstead = () => talk(false);
view.onType = (text) => conversation?.type(text);
view.onMute = (muted) => conversation?.mute(muted);

const found = await health();
view.ready(found?.token_required ?? false);
if (!found) view.problem("The gateway can't be reached. Is `parley serve` running?");
