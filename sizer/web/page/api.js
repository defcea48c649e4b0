// Asks the package: over HTTP where it is served, in a worker where the page is a static site.

export const isStatic = document.documentElement.dataset.mode === "static";
const MOST_KEPT = 200;
const kept = new Map();
let browser = null;

async function served(name, query) {
  const response = await fetch(`api/${name}?${new URLSearchParams(query)}`, { headers: { Accept: "application/json" } });
  return response.json();
}

async function computed(name, query) {
  browser ??= import("./browser.js");
  return (await browser).ask(name, query);
}

// Dropped files, read by their headers in this browser; only the static site has a Python to read them with.
export const drop = async (files) => (browser ??= import("./browser.js"), (await browser).drop(files));
export const startPython = async () => (isStatic ? (browser ??= import("./browser.js"), (await browser).start()) : null);
export const whenReady = async (call) => (isStatic ? (browser ??= import("./browser.js"), (await browser).whenReady(call)) : call());

// The JSON of an answer; a refusal is `{error: {message, hint}}`. The same question is asked once.
export function ask(name, query) {
  const key = `${name}?${new URLSearchParams(query)}`;
  if (!kept.has(key)) {
    const answer = (isStatic ? computed : served)(name, query).catch((error) => {
      kept.delete(key);
      return { error: { message: String(error?.message ?? error), hint: "", exit_code: 1 } };
    });
    kept.set(key, answer);
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

export const names = fetch("names.json").then((response) => response.json());
