// Python in a worker, so that the page never waits: the package unpacked, and its one dispatch asked.

const FIRST = [["model", "Qwen/Qwen3-8B"], ["device", "rtx-4090"]];
let python = null;
let mounts = 0;

async function load(source) {
  const base = new URL(source, location.href).href;
  const [{ loadPyodide }, archive] = await Promise.all([
    import(`${base}pyodide.mjs`),
    fetch("sizer.zip").then((response) => {
      if (!response.ok) throw new Error(`sizer.zip: ${response.status}`);
      return response.arrayBuffer();
    }),
  ]);
  const runtime = await loadPyodide({ indexURL: base });
  runtime.unpackArchive(archive, "zip", { extractDir: "/package" });
  runtime.runPython("import sys; sys.path.insert(0, '/package')");
  return { runtime, browser: runtime.pyimport("sizer.web.browser") };
}

// Dropped files are mounted where they lie: Python reads their headers, piece by piece, and nothing more.
function mount({ runtime, browser }, files) {
  const folder = `/dropped-${++mounts}`;
  runtime.FS.mkdir(folder);
  runtime.FS.mount(runtime.FS.filesystems.WORKERFS, { files }, folder);
  return browser.enter(folder);
}

self.onmessage = async ({ data }) => {
  try {
    if (data.source) {
      python = load(data.source);
      await python;
      postMessage({ ready: true });
      (await python).browser.answer("recommend", JSON.stringify(FIRST)); // loads what every answer needs
    } else if (data.files) postMessage({ id: data.id, text: JSON.stringify({ model: mount(await python, data.files) }) });
    else postMessage({ id: data.id, text: (await python).browser.answer(data.name, JSON.stringify(data.query)) });
  } catch (error) {
    postMessage({ id: data.id, failed: String(error?.message ?? error) });
  }
};
