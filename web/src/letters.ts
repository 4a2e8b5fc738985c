// Text letter by letter, for whoever has to agree to exactly it.

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

/** The text with every character that is not seen, or turns the direction of others, as its code point. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (each) => (each === "\n" || each === "\t" ? each : `⟨U+${codeOf(each)}⟩`));
}

function codeOf(character: string): string {
  return (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}
