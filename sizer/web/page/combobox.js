// A box with suggestions, after the ARIA pattern "combobox with listbox": typed text always counts, suggestions help.
import { h } from "./dom.js";

const MOST = 30;
let boxes = 0;

const squash = (text) => text.toLowerCase().replaceAll(/[\s_.:-]+/g, "");

// Every word typed must be in the entry; entries that begin so come first, then the earlier ones of the list.
export function search(entries, text) {
  const words = text.toLowerCase().split(/\s+/).map(squash).filter(Boolean);
  const found = [];
  for (const [order, entry] of entries.entries()) {
    entry.folded ??= squash(`${entry.value} ${entry.title ?? ""} ${entry.also ?? ""}`);
    if (!words.every((word) => entry.folded.includes(word))) continue;
    const starts = words.length && (squash(entry.value).startsWith(words[0]) || squash(entry.value.split("/").pop()).startsWith(words[0]));
    found.push([starts ? 0 : 1, order, entry]);
  }
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, MOST).map((item) => item[2]);
}

export function combobox({ label, name, value, entries, choose, placeholder, note }) {
  const id = `box-${++boxes}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": label, hidden: true });
  const input = h("input", {
    id, name, type: "text", role: "combobox", value, placeholder, spellcheck: "false", autocapitalize: "off", maxlength: 300,
    "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list", "aria-describedby": note ? `${id}-note` : null,
  });
  input.value = value;
  let shown = [];
  let active = -1;
  let settled = value;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
  };
  const settle = (text) => {
    close();
    input.value = text;
    if (text.trim() && text.trim() !== settled) choose((settled = text.trim()));
  };
  const mark = (index) => {
    active = index;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[index].id);
      list.children[index].scrollIntoView({ block: "nearest" });
    }
  };
  const open = (text) => {
    shown = search(entries(), text);
    list.replaceChildren(
      ...shown.map((entry, index) =>
        h("li", { id: `${id}-${index}`, role: "option", "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); settle(entry.value); } },
          h("span", { class: "name" }, entry.title ?? entry.value), entry.note ? h("span", { class: "note" }, entry.note) : null)),
    );
    list.hidden = shown.length === 0;
    input.setAttribute("aria-expanded", String(shown.length > 0));
    active = -1;
  };
  input.addEventListener("input", () => open(input.value));
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => list.hidden && open(input.value === settled ? "" : input.value));
  input.addEventListener("blur", () => settle(input.value.trim() || settled));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open(input.value === settled ? "" : input.value);
      if (shown.length) mark((active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      settle(active >= 0 ? shown[active].value : input.value);
    } else if (event.key === "Escape") {
      input.value = settled;
      close();
    }
  });
  return h("div", { class: "field box" }, h("label", { for: id }, label), input, list, note ? h("p", { id: `${id}-note`, class: "hint" }, note) : null);
}
