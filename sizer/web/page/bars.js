// The memory bar: what an estimate takes, part by part, against what the device has.
import { figure, h } from "./dom.js";
import { gib } from "./format.js";
import { t } from "./words.js";

const PARTS = [
  ["weights", (memory) => memory.weights_bytes],
  ["kv_cache", (memory) => memory.kv_cache_bytes],
  ["state", (memory) => memory.state_bytes],
  ["activations", (memory) => memory.activations_bytes],
  ["graphs", (memory) => memory.graphs_bytes],
  ["overhead", (memory) => memory.overhead_bytes],
];

export const parts = (memory) => PARTS.map(([name, of]) => [name, of(memory)]).filter(([, size]) => size > 0);

// What lies on the devices. Tables that an engine keeps in the host's memory are weights, and take no room there; where
// layers lie there too ("offload"), the bar shows them all.
export const onDevices = (memory) => {
  const kept = memory.placement === "offload" ? 0 : memory.host_bytes ?? 0;
  return { ...memory, weights_bytes: memory.weights_bytes - kept, total_bytes: memory.total_bytes - kept };
};

// `scale_bytes` is the whole width: the larger of what is there and what is needed, or that of all bars compared.
export function memoryBar(answer, { legend = true, scale = null, split = false } = {}) {
  const memory = onDevices(answer);
  const available = memory.available_bytes;
  const whole = scale ?? Math.max(available ?? 0, memory.total_bytes);
  const shares = parts(memory);
  const spoken = [...shares.map(([name, size]) => `${t(`part_${name}`)} ${gib(size)}`), available ? t("of", { all: gib(available) }) : ""].join(", ");
  const bar = h("div", { class: `bar${available && memory.total_bytes > available ? " over" : ""}`, role: "img", "aria-label": `${t("memory_bar")}: ${spoken}` },
    h("div", { class: "room", "width%": available ? (100 * Math.min(available, whole)) / whole : 100 }),
    ...shares.map(([name, size]) => h("div", { class: `part ${name}`, "width%": (100 * size) / whole, title: `${t(`part_${name}`)} ${gib(size)}` })),
    available && whole > available ? h("div", { class: split ? "limit split" : "limit", "left%": (100 * available) / whole }) : null);
  if (!legend) return bar;
  const free = available === null || available === undefined ? null : available - memory.total_bytes;
  return h("div", { class: "membar" }, bar,
    h("ul", { class: "legend" },
      ...shares.map(([name, size]) => h("li", null, h("i", { class: `part ${name}` }), h("span", null, t(`part_${name}`)), " ", figure(size, gib(size)))),
      free === null ? null : free >= 0
        ? h("li", null, h("i", { class: "part room" }), h("span", null, t("part_free")), " ", figure(free, gib(free)))
        : split ? h("li", { class: "warn" }, h("i", { class: "mark" }), t("rest_on_host", { size: gib(memory.host_bytes) }))
          : h("li", { class: "bad" }, t("short", { short: gib(-free) })),
      memory.placement === "offload" || !memory.host_bytes ? null : h("li", null, h("span", null, t("part_host")), " ", figure(memory.host_bytes, gib(memory.host_bytes)))));
}

// The interval of a speed as a band, the prediction as a tick, on a common scale.
export const interval = (speed, most) => h("div", { class: "interval", "aria-hidden": "true" },
  h("div", { class: "band", "left%": (100 * speed.low) / most, "width%": (100 * (speed.high - speed.low)) / most }),
  h("div", { class: "tick", "left%": (100 * speed.value) / most }));
