// The playhead, and the recordings that are played under it. Without a recording it can still be set.

export class Player {
  onMove = () => {}; // the playhead is somewhere else
  onState = () => {}; // it plays, or has stopped
  onSet = () => {}; // it was set, and has not just gone on

  #place;
  #tracks = [];
  #now = 0;
  #playing = null; // the track

  /** `place`: the element that the recordings are put into. */
  constructor(place) {
    this.#place = place;
  }

  /** The recordings: `[{at, seconds, source, version}]`; what is played goes on. */
  load(tracks) {
    const before = this.#tracks;
    this.#tracks = tracks.map((track, number) => {
      const old = before[number];
      if (old && (old.version === track.version || old === this.#playing)) {
        old.seconds = track.seconds ?? old.seconds;
        return old;
      }
      old?.audio.remove();
      return this.#track(track);
    });
  }

  get available() {
    return this.#tracks.length > 0;
  }

  get playing() {
    return this.#playing !== null;
  }

  get now() {
    return this.#now;
  }

  play() {
    const track = this.#at(this.#now);
    if (!track) return;
    this.#playing = track;
    this.#position(track);
    track.audio.play().catch(() => this.pause()); // it can't be read, or may not be played
    this.onState();
    requestAnimationFrame(() => this.#follow());
  }

  pause() {
    this.#playing?.audio.pause();
    this.#playing = null;
    this.onState();
    this.onSet();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Set the playhead; what plays goes on from there, if there is something. */
  set(moment, { play = this.playing } = {}) {
    const track = this.#at(moment);
    if (this.#playing && this.#playing !== track) this.#playing.audio.pause();
    this.#now = moment;
    if (track) this.#position(track);
    this.#playing = this.#playing && track ? track : null;
    if (play && track) this.play();
    else this.onState();
    this.onMove();
    this.onSet();
  }

  #track({ at, seconds, source, version }) {
    const audio = new Audio();
    audio.preload = "metadata";
    audio.src = source;
    this.#place.append(audio);
    const track = { at, seconds, version, audio };
    audio.addEventListener("ended", () => this.#playing === track && this.pause());
    return track;
  }

  #at(moment) {
    const covers = ({ at, seconds, audio }) => {
      const length = seconds ?? (Number.isFinite(audio.duration) ? audio.duration : Infinity);
      return moment >= at - 1 && moment < at + length;
    };
    return this.#tracks.find(covers) ?? null;
  }

  #position(track) {
    const wanted = Math.max(0, this.#now - track.at);
    if (Math.abs(track.audio.currentTime - wanted) > 0.005) track.audio.currentTime = wanted;
  }

  #follow() {
    if (!this.#playing) return;
    const { audio, at } = this.#playing;
    if (!audio.seeking) {
      this.#now = at + audio.currentTime;
      this.onMove();
    }
    requestAnimationFrame(() => this.#follow());
  }
}
