// @ts-check
// Numbers as colours, on a canvas. Both scales change steadily in lightness, so they can be read without telling hues apart, on a light page and a dark one.

const SCALES = {
  light: {
    amount: ["#eef3f2", "#a8d5cf", "#3f9d97", "#0f5e6b", "#14224f"],
    sign: ["#08306b", "#6aa7dc", "#f1f3f3", "#f0a150", "#7f2f00"],
    line: "#1c2326",
  },
  dark: {
    amount: ["#1a2325", "#17505a", "#208a80", "#82cf97", "#f7f6b8"],
    sign: ["#a9d3ff", "#2f6fb8", "#22292b", "#b9651b", "#ffc48a"],
    line: "#ffffff",
  },
};

/** What a theme draws with. @typedef {{amount: (x: number) => string, sign: (x: number) => string, line: string}} Colours */

/** @param {string[]} stops @returns {(x: number) => string} of 0 … 1 */
function gradient(stops) {
  const colours = stops.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const table = Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    const mixed = colours[low].map((c, k) => Math.round(c + (colours[low + 1][k] - c) * (at - low)));
    return `rgb(${mixed.join(" ")})`;
  });
  return (x) => table[Math.round(255 * Math.min(1, Math.max(0, x || 0)))];
}

/** @type {Record<string, Colours>} */
const made = {};

/** @returns {Colours} of the theme that is shown: `amount` of 0 … 1, `sign` of −1 … 1 */
export function colours() {
  const theme = document.documentElement.dataset.theme === "dark" ? "dark" : "light";
  if (!made[theme]) {
    const { amount, sign, line } = SCALES[theme];
    const both = gradient(sign);
    made[theme] = { amount: gradient(amount), sign: (x) => both((x + 1) / 2), line };
  }
  return made[theme];
}

/**
 * Draw cells; the canvas becomes as wide as its place, at most `most` pixels a cell.
 * @param {HTMLCanvasElement} canvas @param {number} rows @param {number} columns @param {(row: number, column: number) => string} colour
 * @param {{most?: number, width: number, chosen?: [number, number]}} options width: of the place, in pixels of the page
 */
export function drawCells(canvas, rows, columns, colour, { most = 26, width, chosen }) {
  const size = Math.min(most, width / columns);
  const scale = devicePixelRatio || 1;
  const pixel = Math.max(1, Math.floor(size * scale)); // whole pixels: no seams
  const gap = pixel >= 8 ? Math.round(scale) : 0;
  if (canvas.width !== columns * pixel) canvas.width = columns * pixel;
  if (canvas.height !== rows * pixel) canvas.height = rows * pixel;
  canvas.style.setProperty("width", `${(columns * pixel) / scale}px`);
  canvas.style.setProperty("height", `${(rows * pixel) / scale}px`);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      context.fillStyle = colour(row, column);
      context.fillRect(column * pixel, row * pixel, pixel - gap, pixel - gap);
    }
  if (!chosen) return;
  const wide = Math.max(2, Math.round(1.5 * scale));
  context.strokeStyle = colours().line;
  context.lineWidth = wide;
  const outer = Math.max(0, (8 * scale - pixel) / 2); // small cells get a frame that can be seen
  const [x, y] = [chosen[1] * pixel - outer, chosen[0] * pixel - outer];
  context.strokeRect(x + wide / 2, y + wide / 2, pixel + 2 * outer - gap - wide, pixel + 2 * outer - gap - wide);
}

/** Which cell is at a place on the page. @param {HTMLCanvasElement} canvas @param {MouseEvent} event @param {number} rows @param {number} columns @returns {[number, number]} */
export function cellAt(canvas, event, rows, columns) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const within = (/** @type {number} */ x, /** @type {number} */ count) => Math.min(count - 1, Math.max(0, Math.floor(x * count)));
  return [within((event.clientY - top) / height, rows), within((event.clientX - left) / width, columns)];
}

/** The cell that an arrow key leads to, if it is one. @param {KeyboardEvent} event @param {[number, number]} from @param {number} rows @param {number} columns @returns {[number, number] | undefined} */
export function cellBy(event, [row, column], rows, columns) {
  /** @type {Record<string, [number, number]>} */
  const to = {
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    Home: [row, 0],
    End: [row, columns - 1],
  };
  const found = event.ctrlKey || event.metaKey || event.altKey ? undefined : to[event.key];
  if (!found) return undefined;
  event.preventDefault();
  return [Math.min(rows - 1, Math.max(0, found[0])), Math.min(columns - 1, Math.max(0, found[1]))];
}
