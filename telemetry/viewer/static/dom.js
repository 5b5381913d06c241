// Elements, made of text only: whatever people said, or services answered, stays text.

import { printable } from "./printable.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    made.setAttribute(name, value === true ? "" : printable(value));
  }
  for (const child of children) {
    if (child === null || child === undefined) continue;
    made.append(child instanceof Node ? child : spaced(child));
  }
  return made;
}

/** Text, with a space before and behind it where there was one. */
function spaced(child) {
  const text = String(child);
  if (!text.trim()) return text && " ";
  return `${/^\s/.test(text) ? " " : ""}${printable(text)}${/\s$/.test(text) ? " " : ""}`;
}

/** A stage's name as it is read. */
export function words(name) {
  return name.replaceAll("_", " ");
}

/** The class that colours a stage; of one that nobody knows, the last. */
export function stageClass(name) {
  return STAGES.includes(name) ? `stage-${name}` : "stage-unexplained";
}

export const STAGES = [
  "endpointing",
  "transcription",
  "turn_decision",
  "llm",
  "tools",
  "first_sentence",
  "synthesis",
  "audio_out",
  "leading_silence",
  "unexplained",
];
