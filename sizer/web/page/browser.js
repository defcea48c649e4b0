// The API without a server: stored answers while Python loads, Python in a worker from then on.
const source = document.documentElement.dataset.pyodide;
let worker = null;
const waiting = new Map();
let asked = 0;
let ready = false;
let failed = null;
const watchers = new Set();
const shown = new Set();

export const whenReady = (call) => (ready ? call() : watchers.add(call));

// For use without a network: the service worker keeps the site, and the stored answers that were shown before it ran.
async function keep() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    await Promise.all([...shown].map((file) => fetch(file)));
  } catch { /* a private window, or a server without https: the page works all the same */ }
}

function hear({ data }) {
  if (data.ready) {
    ready = true;
    for (const call of watchers) call();
    return keep();
  }
  if (data.id === undefined) {
    failed = new Error(data.failed);
    for (const { reject } of waiting.values()) reject(failed);
    return waiting.clear();
  }
  const { resolve, reject } = waiting.get(data.id) ?? {};
  waiting.delete(data.id);
  if (data.failed) reject?.(new Error(data.failed));
  else resolve?.(JSON.parse(data.text));
}

// Python starts when it is needed, or once the first stored answer is on the page.
export function start() {
  if (worker) return;
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = hear;
  worker.onerror = (event) => hear({ data: { failed: event.message || "the worker did not start" } });
  worker.postMessage({ source });
}

function post(message) {
  if (failed) return Promise.reject(failed);
  start();
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ ...message, id: asked });
  });
}

const index = fetch("answers/index.json").then((response) => (response.ok ? response.json() : {})).catch(() => ({}));

async function stored(name, query) {
  const file = (await index)[[name, ...query.map(([key, value]) => `${key}=${value}`)].join("&")];
  if (!file) return null;
  shown.add(file);
  const response = await fetch(file);
  if (!response.ok) return null;
  return new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).json();
}

export async function ask(name, query) {
  return (ready ? null : await stored(name, query).catch(() => null)) ?? post({ name, query });
}

export const drop = (files) => post({ files: [...files] });
