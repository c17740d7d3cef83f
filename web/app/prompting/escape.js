// @ts-check
// Texts whose line ends and blanks matter, written so that a person can see them: \n, \t, \r, \\ in a single line.

const WRITTEN = /** @type {Record<string, string>} */ ({ "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" });
const READ = /** @type {Record<string, string>} */ ({ "\\": "\\", n: "\n", r: "\r", t: "\t" });

/** @param {string} text */
export const escaped = (text) => text.replace(/[\\\n\r\t]/g, (one) => WRITTEN[one]);
/** @param {string} line */
export const unescaped = (line) => line.replace(/\\([\\nrt])/g, (_, one) => READ[one]);

/** Several texts, one a line. @param {string[]} texts */
export const toLines = (texts) => texts.map(escaped).join("\n");
/** Empty lines are none. @param {string} lines */
export const fromLines = (lines) => lines.split("\n").filter(Boolean).map(unescaped);
