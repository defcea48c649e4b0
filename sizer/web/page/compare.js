// Up to four answers side by side, on one scale. Each is `model|device` in the address.
import { ask } from "./api.js";
import { memoryBar } from "./bars.js";
import { figure, h } from "./dom.js";
import { gib, precision as named, rate, seconds, tokens } from "./format.js";
import { speedOf } from "./speed.js";
import { question } from "./state.js";
import { t } from "./words.js";

const MOST = 3;
const short = (id) => id.split("/").pop();

function column({ found, model, device, own }, scale, remove) {
  const head = h("div", { class: "head" }, h("h3", null, short(model)), h("p", null, found.estimate?.device.name ?? device),
    own ? null : h("button", { type: "button", class: "ghost remove", "aria-label": t("remove", { name: short(model) }), onclick: remove }, "×"));
  if (found.error) return h("li", { class: "column" }, head, h("p", { class: "hint", lang: "en" }, found.error.message));
  const { memory, prefill, decode, precision, engine } = found.estimate, speed = speedOf(found.estimate);
  const line = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));
  return h("li", { class: `column${own ? " own" : ""}` }, head, memoryBar(memory, { legend: false, scale }),
    h("dl", null,
      line(t("col_precision"), `${named(precision)} · ${engine}`),
      line(t("speed"), speed.value === null ? figure(null) : [figure(speed.value, rate(speed.value)), ` ${speed.unit}`]),
      line(t("memory"), figure(memory.total_bytes, gib(memory.total_bytes))),
      line(t(decode ? "first_token" : "read_in"), prefill.ttft_s === null ? figure(null) : figure(prefill.ttft_s, seconds(prefill.ttft_s))),
      line(t("longest"), !memory.max_context_tokens ? figure(null) : figure(memory.max_context_tokens, tokens(memory.max_context_tokens)))));
}

export async function comparison(state, { tell }) {
  const versus = state.versus ?? [];
  const own = `${state.model}|${state.device ?? ""}`;
  const keep = versus.length < MOST && !versus.includes(own)
    ? h("button", { type: "button", class: "ghost keep", onclick: () => tell({ versus: [...versus, own] }, true) }, t("keep")) : null;
  const asked = [own, ...versus.filter((pair) => pair !== own)].map((pair, index) => {
    const [model, device] = pair.split("|");
    return { model, device, pair, own: index === 0 };
  });
  const answers = await Promise.all(asked.map(async (item) => ({ ...item, found: await ask("recommend", question("recommend", state, { model: item.model, device: item.device })) })));
  const scale = Math.max(1, ...answers.filter((item) => !item.found.error).map(({ found }) => Math.max(found.estimate.memory.available_bytes ?? 0, found.estimate.memory.total_bytes)));
  const columns = answers.map((item) => column(item, scale, () => tell({ versus: versus.filter((pair) => pair !== item.pair) }, true)));
  return h("section", { class: "card compare", "aria-labelledby": "compare" }, h("h2", { id: "compare" }, t("compare")),
    h("p", { class: "hint" }, t("compare_note")), answers.length > 1 ? h("ul", { class: "columns" }, ...columns) : null, keep);
}
