// What is asked, kept in the address alone: every answer is a link.

export const TABS = ["estimate", "fit", "hardware", "check"];
export const DEFAULTS = { tab: "estimate" };

// Which parameters of the address go to which question of the API.
const COMMON = ["context", "batch", "prompt", "output", "engine", "kv-precision", "prefer", "min-speed"];
export const ASKED = {
  recommend: ["model", "device", "ram", "host", "bandwidth", "memory", "max-loss", ...COMMON],
  estimate: ["model", "device", "ram", "host", "bandwidth", "memory", "precision", ...COMMON.filter((name) => !["prefer", "min-speed"].includes(name))],
  fit: ["device", "ram", "family", "license", "moe", "max-loss", ...COMMON],
  hardware: ["model", "sort", "limit", "max-loss", ...COMMON],
  check: ["command", "device"],
  capacity: ["model", "device", "ram", "host", "bandwidth", "memory", "prompt", "output", "engine", "kv-precision"],
};
export const KEYS = [...new Set(["tab", "versus", "precision", ...Object.values(ASKED).flat()])];

export function read(search = location.search) {
  const given = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const key of KEYS) {
    const values = given.getAll(key).filter((value) => value !== "");
    if (key === "versus") state.versus = values.slice(0, 3);
    else if (values.length) state[key] = values[0];
  }
  if (!TABS.includes(state.tab)) state.tab = DEFAULTS.tab;
  return state;
}

export function address(state) {
  const query = new URLSearchParams();
  for (const key of KEYS) {
    if (key === "versus") for (const value of state.versus ?? []) query.append("versus", value);
    else if (state[key] && state[key] !== DEFAULTS[key]) query.set(key, state[key]);
  }
  const text = query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
  return text ? `?${text}` : location.pathname;
}

// What the tab cannot do without, where the address does not say it.
export function filled(state, isStatic) {
  const usual = { model: "Qwen/Qwen3-8B", device: isStatic ? "rtx-4090" : "this" };
  const needed = { estimate: ["model", "device"], fit: ["device"], hardware: ["model"], check: ["device"] }[state.tab];
  return { ...Object.fromEntries(needed.map((key) => [key, usual[key]])), ...state };
}

export const question = (name, state, more = {}) => {
  const asked = { ...state, ...more };
  return ASKED[name].filter((key) => asked[key]).map((key) => [key, asked[key]]);
};
