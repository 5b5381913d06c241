// A call over parley.v1: see agent/gateway/protocol.py, which defines it.

import { Problem } from "./audio.js";

const UNSENT = 64 * 1024; // bytes a slow network may leave unsent; then frames are dropped
const CLOSING = 6000; // milliseconds for the gateway to end a call after "end"

const CLOSED = {
  1001: "The gateway is shutting down.",
  1011: "The gateway failed; its log says why.",
  1013: "All lines are busy. Try again in a moment.",
  4402: "The connection is too slow to carry the sound.",
  4403: "Too much was sent at once.",
};

/** What the gateway answers to GET /health, or null when it can't be reached. */
export async function health() {
  try {
    const response = await fetch(new URL("health", import.meta.url), { cache: "no-store" });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** One call. `on` has a function for each message it wants, by type, and `frame` for audio. */
export class Call {
  /** Resolves when the connection has closed; rejects with a Problem if that was no proper end. */
  closed;
  #socket;
  #on;
  #open = false;
  #left = false; // closed by us

  constructor({ token, sampleRate, on }) {
    const url = new URL(".", import.meta.url);
    url.protocol = url.protocol.replace("http", "ws");
    const protocols = token ? ["parley.v1", tokenProtocol(token)] : ["parley.v1"];
    this.#on = on;
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      this.#send({ type: "start", sample_rate: sampleRate, tags: { client: "page" } });
    };
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.closed = this.#closing(Boolean(token));
  }

  /** Send 20 ms of the microphone, once the call has started. */
  frame(pcm) {
    if (this.#open && this.#socket.bufferedAmount < UNSENT) this.#socket.send(pcm);
  }

  type(text) {
    if (this.#open) this.#send({ type: "text", text });
  }

  /** Tell how long the caller waited for an answer that they hear now, in seconds. */
  gap(seconds) {
    if (this.#open) this.#send({ type: "gap", seconds });
  }

  /** Hang up; asked again, without waiting for the gateway. */
  end() {
    if (this.#open) {
      this.#open = false;
      this.#send({ type: "end" });
      setTimeout(() => this.#leave(), CLOSING);
    } else {
      this.#leave();
    }
  }

  #leave() {
    this.#left = true;
    this.#socket.close();
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #take(data) {
    if (data instanceof ArrayBuffer) {
      this.#on.frame(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "started") this.#open = true;
    if (message.type === "ended") this.#open = false;
    this.#on[message.type]?.(message);
  }

  async #closing(hasToken) {
    let opened = false;
    let over = false;
    this.#socket.addEventListener("open", () => (opened = true));
    this.#socket.addEventListener("message", ({ data }) => {
      over ||= typeof data === "string" && JSON.parse(data).type === "ended";
    });
    const { code, reason } = await new Promise((resolve) =>
      this.#socket.addEventListener("close", resolve),
    );
    this.#open = false;
    if (over || this.#left) return;
    if (opened) {
      throw new Problem(CLOSED[code] ?? (reason ? `The call was ended: ${reason}.` : "The connection was lost."));
    }
    throw new Problem(await whyNotOpened(hasToken));
  }
}

/** A browser isn't told why a WebSocket was refused; the gateway's health tells the rest. */
async function whyNotOpened(hasToken) {
  const found = await health();
  if (!found) return "The gateway can't be reached. Is `parley serve` running?";
  if (found.token_required) {
    return hasToken ? "The gateway didn't accept this token." : "This gateway asks for a token.";
  }
  return "The gateway refused the connection; its log says why.";
}

/** As protocol.token_subprotocol: browsers can't send an Authorization header with a WebSocket. */
function tokenProtocol(token) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const encoded = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `parley.token.${encoded}`;
}
