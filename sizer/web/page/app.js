// Wires the page: the address is the state, a change asks anew, the last question asked wins.
import { answer } from "./answer.js";
import { ask, drop, isStatic, names, startPython, whenReady } from "./api.js";
import { check } from "./check.js";
import { form } from "./form.js";
import { seenDevice } from "./gpu.js";
import { listing } from "./listing.js";
import { refusal } from "./refusal.js";
import { address, filled, read } from "./state.js";
import { language, setLanguage, t, translatePage } from "./words.js";

const place = Object.fromEntries(["ask", "answer", "status", "headline", "mode"].map((id) => [id, document.getElementById(id)]));
const VIEWS = { estimate: answer, fit: (...given) => listing("fit", ...given), hardware: (...given) => listing("hardware", ...given), check };

let state = read();
let known = {};
let here = null, seen = null;
const loaded = { models: [], devices: [], engines: [], recipes: [] }; // filled in place: a form drawn before them suggests them too
let loading = isStatic;
let asked = 0, busy = false, again = false;
let answered = ""; // the tab whose answer is shown

// A change from the form or the answer: it goes into the address, and the question is asked anew.
function tell(change, final) {
  const before = state;
  state = { ...state, ...change };
  if ("model" in change || "device" in change) state.precision = change.precision ?? "";
  history[final ? "pushState" : "replaceState"](null, "", address(state));
  if (before.tab !== state.tab || (change.tab && final)) start();
  else if (final || state.tab === "estimate") update(); // the listings take seconds: not while a slider still moves
}

async function update() {
  if (busy) { again = true; return; }
  busy = true;
  do {
    again = false;
    await show();
  } while (again);
  busy = false;
}

async function show() {
  const mine = ++asked;
  place.answer.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => { place.status.textContent = t(loading ? "loading" : "thinking"); place.status.dataset.busy = ""; }, 300);
  const view = await VIEWS[state.tab](state, { names, tell }).catch((error) => {
    setTimeout(() => { throw error; }); // told where faults are told, and the page goes on
    return { nodes: [refusal({ message: String(error?.message ?? error), hint: "" })], title: "" };
  });
  clearTimeout(slow);
  delete place.status.dataset.busy;
  if (mine !== asked || again) return;
  const focus = focused();
  place.answer.replaceChildren(...view.nodes);
  focus?.();
  place.answer.removeAttribute("aria-busy");
  answered = state.tab;
  place.status.textContent = view.title ?? "";
  document.title = view.title ? `${view.title} · sizer` : `sizer: ${t("headline")}`;
  if (view.known && (view.known.longest !== known.longest || view.known.context !== known.context)) {
    const changed = view.known.longest !== known.longest || !state.context;
    known = view.known;
    if (changed) ask_form(["context"]);
  }
  performance.mark("answered");
  requestAnimationFrame(() => setTimeout(startPython, 50));
  view.later?.();
}

// Where the focus was inside the answer (a precision picked): it comes back to the element of the same text.
function focused() {
  const element = document.activeElement;
  if (!place.answer.contains(element)) return null;
  const selector = element.tagName.toLowerCase(), text = element.textContent;
  return () => [...place.answer.querySelectorAll(selector)].find((other) => other.textContent === text)?.focus();
}

// The form anew; with names, only those sliders are exchanged and the rest is left as the reader has it.
function ask_form(only = null) {
  const fresh = form(state, { names: loaded, here: () => here, seen: () => seen, tell, known });
  if (!only) return place.ask.replaceChildren(...fresh);
  for (const name of only) {
    const old = place.ask.querySelector(`[name="${name}"]`)?.closest(".field");
    const next = fresh.map((part) => part.querySelector(`[name="${name}"]`)).find(Boolean)?.closest(".field");
    if (old && next && !old.contains(document.activeElement)) old.replaceWith(next);
  }
}

function start() {
  state = filled(state, isStatic);
  translatePage();
  place.headline.textContent = t(state.tab === "estimate" ? "headline" : `headline_${state.tab}`);
  place.mode.textContent = t(isStatic ? (loading ? "loading" : "mode_static") : "mode_served");
  document.getElementById("language").textContent = t("language");
  document.getElementById("language").lang = language() === "en" ? "zh" : "en";
  for (const link of document.querySelectorAll("[data-tab]")) {
    const { tab } = link.dataset;
    link.href = address({ ...state, tab });
    if (tab === state.tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  ask_form();
  if (answered && answered !== state.tab) place.answer.replaceChildren(); // it is no answer to this tab's question
  update();
}

document.querySelector(".tabs").addEventListener("click", (event) => {
  const link = event.target.closest("[data-tab]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  if (link.dataset.tab !== state.tab) tell({ tab: link.dataset.tab }, true);
});
place.ask.addEventListener("submit", (event) => { event.preventDefault(); update(); });
addEventListener("popstate", () => { state = read(); start(); });
document.getElementById("language").addEventListener("click", () => { setLanguage(language() === "en" ? "zh" : "en"); start(); });

const theme = (value) => { if (value) document.documentElement.dataset.theme = value; else delete document.documentElement.dataset.theme; };
try { theme(localStorage.getItem("theme")); } catch { /* a private window keeps nothing */ }
document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  theme(dark ? "light" : "dark");
  try { localStorage.setItem("theme", dark ? "light" : "dark"); } catch { /* as above */ }
});

whenReady(() => { loading = false; place.mode.textContent = t(isStatic ? "mode_static" : "mode_served"); });

// A dropped file: its header is read here, its name is the model asked about.
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, async (event) => {
    event.preventDefault();
    place.ask.classList.toggle("drop", kind === "dragover");
    const files = event.dataTransfer?.files;
    if (kind !== "drop" || !files?.length) return;
    if (!isStatic) { place.status.textContent = t("drop_served"); place.status.dataset.busy = ""; return; }
    const { model } = await drop(files);
    state = { ...state, tab: "estimate" };
    tell({ model, precision: "" }, true);
    ask_form();
  });
}

names.then(async (all) => {
  Object.assign(loaded, all);
  if (!isStatic) {
    const rows = await ask("devices", [["text", "this"]]);
    if (Array.isArray(rows)) [here] = rows;
  }
  ask_form(place.ask.contains(document.activeElement) ? ["engine"] : null);
  if (isStatic) whenReady(async () => { seen = await seenDevice(); });
});
start();
