// "Will it fit?": the verdict, the memory bar, the command, every precision, the charts, and why.
import { ask } from "./api.js";
import { interval, memoryBar, onDevices } from "./bars.js";
import { chart } from "./charts.js";
import { comparison } from "./compare.js";
import { copyText, figure, h } from "./dom.js";
import { bandwidth, count, gib, precision as named, rate, seconds, tokens } from "./format.js";
import { question } from "./state.js";
import { refusal } from "./refusal.js";
import { speedOf } from "./speed.js";
import { t } from "./words.js";

const QUIET_MS = 120;

// The package's own words for what a precision loses, in the reader's language.
export const qualityOf = (estimate) => (estimate.quality?.kl_divergence === null ? t("loss_unknown") : t(`loss ${estimate.quality?.words}`));

const lossLines = ({ kl_divergence: kl, low_kl_divergence: low, high_kl_divergence: high, benchmark_recovery_pct: pct }) => [
  kl > 0 && t("kld", { kl: short(kl), low: short(low), high: short(high) }), pct !== null && t("recovery", { pct: short(pct, 3) })];
// The tokens that `recommend` leaves room for unless asked otherwise: what it refuses is shown at the same context.
const USUAL_CONTEXT = 8192;

const short = (value, digits = 2) => Number(value.toPrecision(digits));

export const verdictOf = (estimate) => (estimate.memory.fits ? "yes" : speedOf(estimate).value !== null ? "partly" : "no");

export const rangeText = (speed) => t("range", { low: rate(speed.low), high: rate(speed.high) });

const speedText = (estimate) => {
  const speed = speedOf(estimate);
  return speed.value === null ? "" : `${rate(speed.value)} ${speed.unit}`;
};

const measuredOf = (estimate) => estimate.decode?.measured ?? [];
const isSame = (row) => ["model", "precision", "device", "engine"].every((name) => row.same.includes(name));

const modelLine = (model) => [model.id, t("parameters", { count: count(model.total_params) }),
  model.active_params !== model.total_params && t("active", { count: count(model.active_params) }),
  model.num_layers && t("layers", { count: model.num_layers }), t("basis", { basis: t(`basis_${model.basis}`) })].filter(Boolean).join(" · ");

export const deviceText = (device) => [`${device.count > 1 ? `${device.count} × ` : ""}${device.name}`,
  device.memory_bytes && gib(device.memory_bytes).replace(".00", ""), device.bandwidth_bytes_per_s && bandwidth(device.bandwidth_bytes_per_s)].filter(Boolean).join(" · ");

// What stands beside the room of the devices is what lies on them, as in the bar.
const memoryFigure = (memory) => ((size) => figure(size, gib(size)))(onDevices(memory).total_bytes);

const tile = (name, value, ...under) => h("div", { class: "tile" }, h("dt", null, name), h("dd", null, h("strong", null, value), ...under.filter(Boolean).map((text) => h("span", null, text))));

function tiles(estimate, workload, model) {
  const { prefill, memory, request } = estimate;
  const speed = speedOf(estimate), known = speed.value !== null;
  return h("dl", { class: "tiles" },
    tile(t("speed"), known ? [figure(speed.value, rate(speed.value)), h("small", null, ` ${speed.unit}`)] : memory.fits === false ? "–" : t("unknown_speed"),
      known && rangeText(speed), workload.batch_size > 1 && request.throughput_tokens_per_s !== null && t("together", { rate: rate(request.throughput_tokens_per_s) })),
    tile(t("memory"), memoryFigure(memory), memory.available_bytes !== null && t("of", { all: gib(memory.available_bytes) })),
    tile(t(estimate.decode ? "first_token" : "read_in"), prefill.ttft_s === null ? "–" : figure(prefill.ttft_s, seconds(prefill.ttft_s)), t(estimate.decode ? "after_prompt" : "of_text", { tokens: tokens(workload.prompt_tokens) })),
    tile(t("longest"), contextCell(memory), model.max_context_tokens && t("for_model", { tokens: tokens(model.max_context_tokens) })),
    tile(t("quality"), h("span", { class: "words" }, qualityOf(estimate)), ...lossLines(estimate.quality)));
}

function verdict(estimate, { model, workload, recommended, reason }) {
  const kind = verdictOf(estimate);
  const words = { precision: named(estimate.precision), engine: estimate.engine };
  const sentence = t({ yes: "runs", partly: "runs_partly", no: "not_whole" }[kind], words);
  const other = recommended && recommended !== estimate.precision ? t("selected", { ...words, other: named(recommended) }) : "";
  return h("section", { class: `card verdict ${kind}`, "aria-labelledby": "verdict" },
    h("h2", { id: "verdict" }, h("span", { class: "stamp" }, t(kind)), " ", sentence),
    h("p", { class: "about" }, modelLine(model), h("br"), deviceText(estimate.device), other && [h("br"), other]),
    tiles(estimate, workload, model), memoryBar(estimate.memory, { split: kind === "partly" }),
    eachDevice(estimate.memory), reason ? h("p", { class: "reason", lang: "en" }, reason) : null, measured(estimate));
}

// What lies where, where several devices hold the model.
function eachDevice(memory) {
  if ((memory.devices?.length ?? 0) < 2) return null;
  const scale = Math.max(...memory.devices.map((share) => Math.max(share.total_bytes, share.available_bytes ?? 0)));
  const row = (share) => h("li", null, h("span", null, `${share.device} · ${t("layers", { count: share.layers })} · `, figure(share.total_bytes, gib(share.total_bytes))), memoryBar({ ...share, activations_bytes: share.compute_bytes }, { legend: false, scale }));
  return h("details", { class: "each" }, h("summary", null, t("each_device")), h("ul", null, ...memory.devices.map(row)));
}

// The nearest measured rows: a tick for those of this very model, precision, device and engine.
function measured(estimate) {
  const rows = measuredOf(estimate);
  const line = (row) => h("li", null, isSame(row) ? "✓ " : "", figure(row.tokens_per_s, `${rate(row.tokens_per_s)} ${t("tokens_s")}`),
    ` ${[!row.same.includes("model") && row.model, row.precision && named(row.precision), row.device, [row.engine, row.engine_version].filter(Boolean).join(" "), row.date].filter(Boolean).join(" · ")} `,
    /^https:\/\//.test(row.source ?? "") ? h("a", { href: row.source, rel: "noreferrer noopener", target: "_blank" }, new URL(row.source).hostname) : h("span", { class: "soft" }, row.source ?? ""));
  return rows.length ? h("div", { class: "measured" }, h("h3", null, t("measured_title")), h("ul", null, ...rows.slice(0, 3).map(line))) : null;
}

// The command for the recommended engine, and for the others as they are asked for.
function commands(state, first, recipes) {
  const code = h("code", { tabindex: "0" });
  const note = h("p", { class: "hint" });
  const button = h("button", { type: "button", class: "ghost copy", onclick: async () => {
    await copyText(code.textContent);
    button.textContent = t("copied");
    setTimeout(() => { button.textContent = t("copy"); }, 1500);
  } }, t("copy"));
  const show = (answer) => {
    const command = answer.command ?? answer.error?.message ?? t("no_recipe");
    code.textContent = command.trimEnd();
    button.hidden = !answer.command;
    note.textContent = answer.estimate ? [named(answer.estimate.precision), speedText(answer.estimate)].filter(Boolean).join(" · ") : answer.error?.hint ?? "";
  };
  const choose = async (engine, chosen) => {
    for (const other of list.children) other.setAttribute("aria-pressed", String(other === chosen));
    show(engine === first.estimate.engine ? first : await ask("recommend", question("recommend", state, { engine })));
  };
  const engines = [...new Set([first.estimate.engine, ...recipes])];
  const list = h("div", { class: "engines", role: "group", "aria-label": t("engine") }, ...engines.map((engine) =>
    h("button", { type: "button", class: "chip", "aria-pressed": String(engine === first.estimate.engine), onclick: (event) => choose(engine, event.currentTarget) }, engine)));
  show(first);
  return h("section", { class: "card", "aria-labelledby": "run-it" }, h("h2", { id: "run-it" }, t("run_it")), list, h("div", { class: "code" }, h("pre", null, code), button), note);
}

const fitsText = (estimate) => ({ yes: t("fits_yes"), partly: t("fits_host"), no: t("fits_no") })[verdictOf(estimate)];

const speedCell = (speed, most) => (speed.value === null ? [figure(null)] : [
  figure(speed.value, rate(speed.value)), h("small", null, ` ${rate(speed.low)}–${rate(speed.high)}`), interval(speed, most)]);

function precisions(estimates, selected, recommended, tell) {
  const most = Math.max(...estimates.map((item) => speedOf(item).high ?? 0), 1), { unit } = speedOf(estimates[0]);
  const scale = Math.max(...estimates.map((item) => Math.max(item.memory.total_bytes, item.memory.available_bytes ?? 0)));
  const engines = new Set(estimates.map((item) => item.engine));
  const names = ["precision", "quality", "memory", "fits", "speed", "context", ...(engines.size > 1 ? ["engine"] : [])];
  const row = (item) => h("tr", { class: [item === selected && "selected", verdictOf(item)].filter(Boolean).join(" ") },
    h("th", { scope: "row" }, h("button", { type: "button", class: "pick", "aria-pressed": String(item === selected), onclick: () => tell({ precision: item.precision === recommended ? "" : item.precision }, true) }, named(item.precision)),
      item.precision === recommended ? h("span", { class: "badge" }, t("recommended")) : null, measuredOf(item).some(isSame) ? h("span", { class: "tick-mark", role: "img", "aria-label": t("measured"), title: t("measured") }, "✓") : null),
    h("td", { class: "words", "data-name": t("col_quality") }, qualityOf(item)),
    h("td", { class: "number mem", "data-name": t("col_memory") }, memoryFigure(item.memory), memoryBar(item.memory, { legend: false, scale })),
    h("td", { class: "fits", "data-name": t("col_fits") }, fitsText(item)),
    h("td", { class: "number speed", "data-name": unit }, ...speedCell(speedOf(item), most)),
    h("td", { class: "number ctx", "data-name": t("col_context") }, contextCell(item.memory)),
    engines.size > 1 ? h("td", { class: "engine", "data-name": t("col_engine") }, item.engine) : null);
  return h("section", { class: "card", "aria-labelledby": "precisions" }, h("h2", { id: "precisions" }, t("precisions"), engines.size === 1 ? h("small", null, ` ${t("with_engine", { engine: [...engines][0] })}`) : null),
    h("table", { class: "rows" }, h("thead", null, h("tr", null, ...names.map((name) => h("th", { scope: "col", class: ["memory", "speed", "context"].includes(name) ? "number" : null }, name === "speed" ? unit : t(`col_${name}`))))),
      h("tbody", null, ...estimates.map(row))));
}

const contextCell = (memory) => (memory.max_context_tokens ? figure(memory.max_context_tokens, tokens(memory.max_context_tokens)) : figure(null));

const exactly = (state, estimate, workload) => question("estimate", state, { precision: estimate.precision, engine: estimate.engine, context: workload.context_tokens });

function charts(state, estimate, workload) {
  const place = h("section", { class: "charts", "aria-label": t("by_context") });
  place.fill = async () => {
    const found = await ask("curves", exactly(state, estimate, workload));
    if (found.error) return place.replaceChildren(h("p", { class: "hint" }, found.error.message));
    const common = { low: "low_tokens_per_s", high: "high_tokens_per_s" };
    place.replaceChildren(
      h("div", { class: "card" }, chart({ title: t("by_context"), unit: t("one_user"), axis: t("axis_context"), points: found.by_context, x: "context_tokens", label: tokens, y: "tokens_per_s", ...common })),
      h("div", { class: "card" }, chart({ title: t("by_users"), unit: t("all_users"), axis: t("axis_users"), points: found.by_users, x: "users", label: String, y: "throughput_tokens_per_s" })));
  };
  place.append(h("div", { class: "card hold" }), h("div", { class: "card hold" }));
  return place;
}

// Users that come and go: asked for only when it is opened, because it plays minutes of traffic.
function serving(state, estimate) {
  const place = h("div", null);
  const panel = h("details", { class: "card why", ontoggle: async () => {
    if (!panel.open || place.childElementCount) return;
    place.replaceChildren(h("p", { class: "hint" }, t("thinking")));
    const found = await ask("capacity", question("capacity", state, { engine: state.engine }));
    place.replaceChildren(...(found.error ? [refusal(found.error)] : served(found)));
  } }, h("summary", null, t("serving")), place);
  return panel;
}

function served(found) {
  const cell = (name, value, text) => h("td", { class: "number", "data-name": t(`col_${name}`) }, figure(value, value === null || value === undefined ? "" : text(value)));
  const row = (line) => h("tr", { class: line.meets ? "yes" : "no" }, h("th", { scope: "row", class: "number" }, String(line.users)), cell("ttft", line.ttft_s.p90, seconds), cell("tpot", line.tpot_s.p90, seconds),
    cell("throughput", line.throughput_tokens_per_s, (value) => `${rate(value)} ${t("tokens_s")}`), cell("cost", line.usd_per_million_tokens, (value) => `$${value.toFixed(2)}`));
  const note = { engine: found.engine, precision: named(found.precision), prompt: tokens(found.prompt_tokens), output: tokens(found.output_tokens) };
  return [h("p", { class: "hint found" }, t("serving_note", note)), h("table", { class: "rows plain" }, h("thead", null, h("tr", null, ...["users", "ttft", "tpot", "throughput", "cost"].map((name) => h("th", { scope: "col", class: "number" }, t(`col_${name}`))))), h("tbody", null, ...found.serving.map(row)))];
}

function why(state, estimate, workload) {
  const text = h("pre", { class: "explain", tabindex: "0", lang: "en" });
  const panel = h("details", { class: "card why", ontoggle: async () => {
    if (!panel.open || text.textContent) return;
    text.textContent = t("thinking");
    const found = await ask("explain", exactly(state, estimate, workload));
    text.textContent = found.explanation ?? found.error.message;
  } }, h("summary", null, t("why")), text);
  return panel;
}

const listed = (id, title, items) => (items?.length ? h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), h("ul", { class: "notes", lang: "en" }, ...items.map((item) => h("li", null, item)))) : null);

// The answer of the tab: what to show, its title, what was learned for the form, and what to draw when all is quiet.
export async function answer(state, { names, tell }) {
  const found = await ask("recommend", question("recommend", state));
  const nothing = found.error;
  // What recommends nothing (nothing fits, or nobody knows the memory: 4 and 2) may still be estimated.
  if (nothing && ![2, 4].includes(nothing.exit_code)) return { nodes: [refusal(nothing)], title: "" };
  const shown = nothing ? await ask("estimate", question("estimate", state, { context: state.context || USUAL_CONTEXT })) : found;
  if (shown.error) return { nodes: [refusal(nothing ?? shown.error)], title: "" };
  const recommended = nothing ? null : found.recommendation.precision;
  const smallest = shown.estimates.reduce((best, item) => (item.memory.total_bytes < best.memory.total_bytes ? item : best));
  const selected = shown.estimates.find((item) => item.precision === state.precision) ?? (nothing ? smallest : shown.estimates.find((item) => item.precision === recommended) ?? found.estimate);
  const { model, workload } = shown;
  const drawn = charts(state, selected, workload);
  const nodes = [
    verdict(selected, { model, workload, recommended, reason: nothing ? null : found.recommendation.reason }),
    nothing ? refusal(nothing) : null,
    nothing ? null : commands(state, found, (await names).recipes),
    precisions(shown.estimates, selected, recommended, tell),
    drawn,
    listed("ways", t("ways"), found.alternatives?.map((way) => way.text)),
    await comparison(state, { names, tell }),
    listed("assumptions", t("assumptions"), selected.assumptions),
    nothing ? null : serving(state, selected),
    why(state, selected, workload),
  ].filter(Boolean);
  const speed = speedText(selected);
  return {
    nodes, title: `${model.id} · ${selected.device.name}: ${[named(selected.precision), speed].filter(Boolean).join(", ")}`,
    known: { longest: model.max_context_tokens, context: workload.context_tokens },
    later: () => setTimeout(drawn.fill, QUIET_MS),
  };
}
