// Two lines: speed as the context fills, throughput as users join. Points come computed; only their places are drawn.
import { h, s } from "./dom.js";
import { rate } from "./format.js";
import { t } from "./words.js";

const WIDTH = 520, HEIGHT = 230, LEFT = 48, RIGHT = 14, TOP = 14, BOTTOM = 38;

// A round number at or above the largest value, and four steps to it.
function ticks(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  const top = [1, 2, 2.5, 4, 5, 8, 10].map((step) => step * power).find((step) => step >= most) ?? 10 * power;
  return [0, 0.25, 0.5, 0.75, 1].map((share) => share * top);
}

export function chart({ title, axis, unit, points, x, label, y, low, high }) {
  const known = points.filter((point) => point[y] !== null && point[y] !== undefined);
  const head = h("figcaption", null, h("strong", null, title), h("span", null, unit));
  if (!known.length) return h("figure", { class: "chart" }, head, h("p", { class: "none" }, t("nothing_to_draw")));
  const steps = ticks(Math.max(...known.map((point) => (high ? point[high] : point[y]))));
  const across = (index) => LEFT + ((WIDTH - LEFT - RIGHT) * index) / Math.max(1, points.length - 1);
  const up = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / steps.at(-1);
  const at = known.map((point) => [across(points.indexOf(point)), point]);
  const line = at.map(([place, point], index) => `${index ? "L" : "M"}${place.toFixed(1)} ${up(point[y]).toFixed(1)}`).join("");
  const band = low && at.length > 1
    ? `M${at.map(([place, point]) => `${place.toFixed(1)} ${up(point[high]).toFixed(1)}`).join("L")}L${[...at].reverse().map(([place, point]) => `${place.toFixed(1)} ${up(point[low]).toFixed(1)}`).join("L")}Z`
    : null;
  // The points at the end that have no speed: the memory is full there.
  const lost = points.length - 1 - points.indexOf(known.at(-1));
  const half = (WIDTH - LEFT - RIGHT) / Math.max(1, points.length - 1) / 2;
  const every = points.length > 7 ? 2 : 1;
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${known.map((point) => `${label(point[x])}: ${rate(point[y])}`).join("; ")}` },
    ...steps.map((step) => s("g", null,
      s("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(step), y2: up(step), class: "grid" }),
      s("text", { x: LEFT - 8, y: up(step) + 4, class: "axis end" }, rate(step)))),
    ...points.map((point, index) => ((points.length - 1 - index) % every ? null : s("text", { x: across(index), y: HEIGHT - BOTTOM + 18, class: "axis middle" }, label(point[x])))),
    s("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, class: "axis middle soft" }, axis),
    lost > 0 ? s("g", null, s("rect", { x: across(points.length - lost) - half, y: TOP, width: WIDTH - RIGHT - across(points.length - lost) + half, height: HEIGHT - TOP - BOTTOM, class: "lost" }),
      s("text", { x: (across(points.length - lost) - half + WIDTH - RIGHT) / 2, y: (TOP + HEIGHT - BOTTOM) / 2, class: "axis middle" }, t("does_not_fit"))) : null,
    band ? s("path", { d: band, class: "band" }) : null,
    s("path", { d: line, class: "line" }),
    ...at.map(([place, point]) => s("circle", { cx: place, cy: up(point[y]), r: 4, class: "dot" },
      s("title", null, `${label(point[x])}: ${rate(point[y])}${low ? ` (${rate(point[low])}–${rate(point[high])})` : ""}`))));
  return h("figure", { class: "chart" }, head, drawing);
}
