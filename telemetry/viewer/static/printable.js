// Other people's text, as it can be shown: ../../printable.py does the same for terminals.

const MOST = 4000; // characters of one text

/** One line: white space is a space, what can't be seen is escaped, and a long text is cut. */
export function printable(text) {
  const whole = String(text);
  const left = whole.length - MOST;
  const shown = whole
    .slice(0, MOST)
    .replace(/\s+/gu, " ")
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu, escaped)
    .trim();
  return left > 0 ? `${shown}… (${left} more characters)` : shown;
}

function escaped(character) {
  return `\\u{${character.codePointAt(0).toString(16)}}`;
}
