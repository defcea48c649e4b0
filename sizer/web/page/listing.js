// "What can I run?" and "What do I need?": rows, best first, each a link to its own answer.
import { ask } from "./api.js";
import { figure, h } from "./dom.js";
import { count, dollars, gib, precision as named, rate, tokens } from "./format.js";
import { refusal } from "./refusal.js";
import { address, question } from "./state.js";
import { t } from "./words.js";

const FIRST = 40, FEWEST = 30, MOST = 300;

const speedCell = (row) => {
  if (row.texts_per_s) return [figure(row.texts_per_s, rate(row.texts_per_s)), h("small", null, ` ${t("texts_s")}`)];
  if (row.decode_tokens_per_s === null) return figure(null);
  return [figure(row.decode_tokens_per_s, rate(row.decode_tokens_per_s)), h("small", null, ` ${rate(row.low_tokens_per_s)}–${rate(row.high_tokens_per_s)}`)];
};
const shareBar = (row) => (row.available_bytes ? h("div", { class: "bar slim", "aria-hidden": "true" }, h("div", { class: "room", "width%": 100 }), h("div", { class: "part weights", "width%": Math.min(100, (100 * row.total_bytes) / row.available_bytes) })) : null);
const deviceKey = (row) => row.instance ?? `${row.count > 1 ? `${row.count}x ` : ""}${row.device}`;

// Columns: word, how the cell looks, whether it holds numbers, and whether a row has it at all.
const COLUMNS = {
  fit: [
    ["model", (row) => row.model, "head"], ["params", (row) => [count(row.total_params), row.active_params < row.total_params ? h("small", null, ` ${t("active", { count: count(row.active_params) })}`) : null], "number params"],
    ["precision", (row) => [named(row.precision), h("small", null, ` ${row.engine}`)], "words"], ["memory", (row) => [figure(row.total_bytes, gib(row.total_bytes)), shareBar(row)], "number mem"],
    ["speed", speedCell, "number speed"], ["context", (row) => (row.max_context_tokens ? figure(row.max_context_tokens, tokens(row.max_context_tokens)) : figure(null)), "number ctx"],
    ["rating", (row) => figure(row.rating ?? null, String(Math.round(row.rating ?? 0))), "number rating"],
  ],
  hardware: [
    ["device", deviceKey, "head"], ["vram", (row) => figure(row.memory_bytes, gib(row.memory_bytes)), "number"], ["price", (row) => (row.price_usd_launch ? figure(row.price_usd_launch, dollars(row.price_usd_launch)) : figure(null)), "number"],
    ["rent", (row) => (row.usd_per_hour ? figure(row.usd_per_hour, `$${row.usd_per_hour.toFixed(2)}`) : figure(null)), "number"], ["precision", (row) => [named(row.precision), h("small", null, ` ${row.engine}`)], "words"], ["memory", (row) => [figure(row.total_bytes, gib(row.total_bytes)), shareBar(row)], "number mem"],
    ["speed", speedCell, "number speed"], ["context", (row) => (row.max_context_tokens ? figure(row.max_context_tokens, tokens(row.max_context_tokens)) : figure(null)), "number ctx"],
  ],
};
const OPTIONAL = { rating: "rating" };
// What stands under a model's name.
const about = (row) => [row.kind, row.released, row.license].filter(Boolean).join(" · ");
const LINKED = { fit: (row) => ({ model: row.model }), hardware: (row) => ({ device: deviceKey(row) }) };

function table(name, rows, state, tell) {
  const columns = COLUMNS[name].filter(([word]) => !OPTIONAL[word] || rows.some((row) => row[OPTIONAL[word]] !== undefined));
  const open = (row) => ({ ...state, ...LINKED[name](row), tab: "estimate", precision: "", versus: [] });
  const cell = (row) => ([word, look, kind]) => (kind === "head"
    ? h("th", { scope: "row" }, h("a", { href: address(open(row)), onclick: (event) => { if (event.metaKey || event.ctrlKey || event.shiftKey) return; event.preventDefault(); tell(open(row), true); } }, look(row)), about(row) ? h("small", null, about(row)) : null)
    : h("td", { class: kind ?? null, "data-name": t(`col_${word}`) }, look(row)));
  return h("table", { class: "rows list" }, h("thead", null, h("tr", null, ...columns.map(([word, , kind]) => h("th", { scope: "col", class: kind?.startsWith("number") ? "number" : null }, t(`col_${word}`))))),
    h("tbody", null, ...rows.map((row) => h("tr", { class: row.fits === false ? "partly" : "yes" }, ...columns.map(cell(row))))));
}

export async function listing(name, state, { tell }) {
  const found = await ask(name, question(name, state));
  if (found.error) return { nodes: [refusal(found.error)], title: "" };
  const rows = Array.isArray(found) ? found : found.rows ?? found[name] ?? [];
  const place = h("section", { class: "card" });
  const first = rows.filter((row) => row.first_screen ?? true).slice(0, FIRST);
  const show = (shown) => {
    const cut = name === "hardware" && rows.length === Number(state.limit ?? FEWEST);
    place.replaceChildren(h("p", { class: "hint found" }, t(name === "fit" ? "found" : cut ? "found_more" : "found_all", { count: rows.length, order: t(`sort_${state.sort || "price"}`) })), table(name, shown, state, tell), ...(rows.length > shown.length ? [more(() => show(rows))] : cut ? [more(() => tell({ limit: String(MOST) }, true))] : []));
  };
  const more = (onclick) => h("button", { type: "button", class: "ghost", onclick }, t("all"));
  show(first);
  return { nodes: [place], title: `${t(`headline_${name}`)} ${state[name === "fit" ? "device" : "model"] ?? ""}` };
}
