// The question: boxes, sliders and the options behind "More". Each change is told as {key: value}.
import { combobox } from "./combobox.js";
import { h } from "./dom.js";
import { bandwidth, count, gib, tokens } from "./format.js";
import { t } from "./words.js";

const USERS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const SHORTEST = 1024, LONGEST_USUAL = 131072;
const KV = ["fp16", "fp8", "q8_0", "q4_0"];

const doubling = (from, to) => {
  const steps = [];
  for (let step = from; step < to; step *= 2) steps.push(step);
  return [...steps, to];
};

export const modelEntries = (names) => names.models.map((model) => ({
  value: model.id, also: model.also.join(" "),
  note: [model.params && count(model.params), model.active && t("active", { count: count(model.active) })].filter(Boolean).join(" · "),
}));

export function deviceEntries(names, here, seen) {
  const first = [];
  if (here) first.push({ value: "this", title: `${t("this_machine")}: ${here.name}`, also: "this machine local 本机", note: noteOf(here) });
  if (seen) first.push({ value: seen.key, title: seen.name, also: "this", note: t("your_browser") });
  return [...first, ...names.devices.map((device) => ({ value: device.key, title: device.name, also: device.key, note: noteOf(device) }))];
}

const noteOf = (device) => [device.memory_bytes && gib(device.memory_bytes).replace(".00", ""), device.bandwidth_bytes_per_s && bandwidth(device.bandwidth_bytes_per_s)].filter(Boolean).join(" · ");

// A slider over steps: what is shown follows the thumb, the answer too; the address only when it is let go.
function slider({ label, name, steps, value, show, change }) {
  const nearest = steps.reduce((best, step, index) => (Math.abs(step - value) < Math.abs(steps[best] - value) ? index : best), 0);
  const shown = h("output", null, show(value));
  const input = h("input", { type: "range", id: `range-${name}`, name, min: 0, max: steps.length - 1, step: 1, value: nearest, "aria-valuetext": show(value) });
  const tell = (final) => () => {
    const step = steps[Number(input.value)];
    shown.textContent = show(step);
    input.setAttribute("aria-valuetext", show(step));
    change(step, final);
  };
  input.addEventListener("input", tell(false));
  input.addEventListener("change", tell(true));
  return h("div", { class: "field range" }, h("label", { for: `range-${name}` }, label), shown, input,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", null, show(steps[0])), h("span", null, show(steps.at(-1)))));
}

const select = (label, name, options, value, change) => {
  const id = `select-${name}`;
  const box = h("select", { id, name, onchange: (event) => change(event.target.value) }, ...options.map(([key, text]) => h("option", { value: key, selected: key === (value ?? "") }, text)));
  return h("div", { class: "field" }, h("label", { for: id }, label), box);
};

const text = (label, name, value, change, { hint = "", type = "text" } = {}) => {
  const id = `text-${name}`;
  const input = h("input", { id, name, type, value: value ?? "", placeholder: hint, inputmode: type === "number" ? "decimal" : null, min: type === "number" ? 0 : null, step: type === "number" ? "any" : null, maxlength: 100, onchange: (event) => change(event.target.value.trim()) });
  return h("div", { class: "field" }, h("label", { for: id }, label), input);
};

export function form(state, { names, here, seen, tell, known }) {
  const set = (key, final = true) => (value, done = final) => tell({ [key]: value === "" || value === undefined ? "" : String(value) }, done);
  const fields = {
    model: () => combobox({ label: t("model"), name: "model", value: state.model ?? "", entries: () => modelEntries(names), choose: set("model"), note: t("model_note") }),
    device: () => combobox({ label: t("device"), name: "device", value: state.device ?? "", entries: () => deviceEntries(names, here(), seen()), choose: set("device"), note: t("device_note") }),
    context: () => {
      const longest = Math.max(known.longest ?? LONGEST_USUAL, 2 * SHORTEST);
      return slider({ label: t("context"), name: "context", steps: doubling(SHORTEST, longest), value: Number(state.context) || known.context || 8192, show: tokens, change: set("context") });
    },
    users: () => slider({ label: t("users"), name: "users", steps: USERS, value: Number(state.batch) || 1, show: String, change: (value, final) => tell({ batch: value === 1 ? "" : String(value) }, final) }),
    engine: () => select(t("engine"), "engine", [["", t("engine_usual")], ...names.engines.map((name) => [name, name])], state.engine, set("engine")),
    prefer: () => select(t("prefer"), "prefer", [["", t("prefer_balanced")], ...["quality", "speed", "memory"].map((name) => [name, t(`prefer_${name}`)])], state.prefer, set("prefer")),
    kv: () => select(t("kv"), "kv", KV.map((name) => [name === "fp16" ? "" : name, name]), state["kv-precision"], set("kv-precision")),
    prompt: () => text(t("prompt"), "prompt", state.prompt, set("prompt"), { hint: "512" }),
    output: () => text(t("output"), "output", state.output, set("output"), { hint: "128" }),
    ram: () => text(t("ram"), "ram", state.ram, set("ram"), { hint: t("ram_note") }),
    speed: () => text(t("min_speed"), "min-speed", state["min-speed"], set("min-speed"), { type: "number", hint: "20" }),
    family: () => text(t("family"), "family", state.family, set("family"), { hint: "qwen" }),
    license: () => text(t("license"), "license", state.license, set("license"), { hint: "apache" }),
    sort: () => select(t("sort"), "sort", ["price", "memory", "speed"].map((name) => [name === "price" ? "" : name, t(`sort_${name}`)]), state.sort, set("sort")),
    command: () => {
      const area = h("textarea", { id: "text-command", name: "command", rows: 3, maxlength: 1000, spellcheck: "false", "aria-describedby": "command-note", placeholder: "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768" });
      area.value = state.command ?? "";
      area.addEventListener("change", () => set("command")(area.value.trim()));
      return h("div", { class: "field wide" }, h("label", { for: "text-command" }, t("command")), area, h("p", { id: "command-note", class: "hint" }, t("command_note")));
    },
    go: () => h("div", { class: "field" }, h("button", { type: "submit", class: "primary" }, t("check"))),
  };
  const LAYOUT = {
    estimate: [["model", "device"], ["context", "users"], ["engine", "prefer", "kv", "prompt", "output", "ram"]],
    fit: [["device"], ["context", "users"], ["speed", "family", "license", "prefer", "engine", "ram"]],
    hardware: [["model"], ["context", "users"], ["speed", "sort", "prefer", "engine"]],
    check: [["command"], ["device", "go"], []],
  };
  const [boxes, sliders, more] = LAYOUT[state.tab].map((row) => row.map((name) => fields[name]()));
  const optional = LAYOUT[state.tab][2].map((name) => ({ kv: "kv-precision", speed: "min-speed" })[name] ?? name);
  return [
    h("div", { class: "boxes" }, ...boxes),
    h("div", { class: "sliders" }, ...sliders),
    more.length ? h("details", { class: "more", open: optional.some((key) => state[key]) }, h("summary", null, t("more")), h("div", { class: "options" }, ...more)) : null,
  ].filter(Boolean);
}
