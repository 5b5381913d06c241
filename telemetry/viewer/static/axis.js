// The stretch of time that is in view: one for the voices and the spans, so that they move together.
// Seconds from the start of the conversation.

const CLOSEST = 0.25; // seconds in view, at least

export class Axis {
  low = 0;
  high = 1; // the whole
  at = 0;
  until = 1; // in view
  #listeners = [];

  onChange(listener) {
    this.#listeners.push(listener);
  }

  get length() {
    return this.until - this.at;
  }

  /** The whole is this now; who saw all of it, or its end, goes on to. */
  reach(low, high) {
    if (low === this.low && high === this.high) return;
    const all = this.at <= this.low && this.until >= this.high;
    const end = this.until >= this.high - 0.05;
    const { length } = this;
    this.low = low;
    this.high = high;
    if (all) this.show(low, high);
    else if (end) this.show(high - length, high);
    else this.show(this.at, this.until);
  }

  show(at, until) {
    const length = Math.min(Math.max(until - at, CLOSEST), this.high - this.low);
    this.at = Math.min(Math.max(at, this.low), this.high - length);
    this.until = this.at + length;
    for (const listener of this.#listeners) listener();
  }

  all() {
    this.show(this.low, this.high);
  }

  /** Closer by a factor, around a moment that stays where it is. */
  zoom(factor, around = (this.at + this.until) / 2) {
    const centre = Math.min(Math.max(around, this.at), this.until);
    const length = Math.min(Math.max(this.length / factor, CLOSEST), this.high - this.low);
    const share = (centre - this.at) / this.length;
    this.show(centre - share * length, centre + (1 - share) * length);
  }

  move(to) {
    this.show(to, to + this.length);
  }

  /** Have a moment in view. */
  follow(moment) {
    if (moment >= this.at && moment <= this.until) return;
    this.move(moment - 0.1 * this.length);
  }

  /** Have a stretch in view, with some room around it. */
  reveal(at, until) {
    if (at >= this.at && until <= this.until) return;
    const room = Math.max(0.15 * (until - at), 0.3);
    if (until - at + 2 * room > this.length) this.show(at - room, until + room);
    else this.move(at - room);
  }

  /** The place of a moment, as a share of what is in view. */
  share(moment) {
    return (moment - this.at) / this.length;
  }
}

/** Seconds as a clock has them: `1:02:07`, `0:07`, `0:07.3` */
export function clock(seconds, digits = 0) {
  const sign = seconds < 0 && Number(seconds.toFixed(digits)) !== 0 ? "−" : "";
  const units = Math.round(Math.abs(seconds) * 10 ** digits);
  const whole = Math.floor(units / 10 ** digits);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const start = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`;
  const end = digits ? `.${String(units % 10 ** digits).padStart(digits, "0")}` : "";
  return `${sign}${start}:${String(rest).padStart(2, "0")}${end}`;
}

/** A length of time: `640 ms`, `1.24 s`, `2:05` */
export function duration(seconds) {
  if (seconds < 0.0995) return `${Number((1000 * seconds).toPrecision(2))} ms`;
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  return seconds < 60 ? `${seconds.toFixed(2)} s` : clock(seconds);
}
