// "Check a command": whether it starts on the device, what it takes, how fast, and which flag to change.
import { ask } from "./api.js";
import { memoryBar } from "./bars.js";
import { rangeText } from "./answer.js";
import { figure, h } from "./dom.js";
import { gib, precision as named, rate } from "./format.js";
import { refusal } from "./refusal.js";
import { speedOf } from "./speed.js";
import { question } from "./state.js";
import { t } from "./words.js";

export async function check(state) {
  if (!state.command) return { nodes: [], title: t("headline_check") };
  const found = await ask("check", question("check", state));
  if (found.error) return { nodes: [refusal(found.error)], title: "" };
  const documents = Array.isArray(found) ? found : [found];
  return { nodes: documents.flatMap(verdicts), title: `${t("headline_check")} ${state.command.slice(0, 60)}` };
}

function verdicts(found) {
  const estimate = found.estimates?.[0];
  const { starts, reason, change } = found.check ?? {};
  const kind = starts ? "yes" : "no";
  const speed = estimate && speedOf(estimate);
  return [
    h("section", { class: `card verdict ${kind}`, "aria-labelledby": "verdict" },
      h("h2", { id: "verdict" }, h("span", { class: "stamp" }, t(kind)), " ", t(starts ? "start_yes" : "start_no")),
      reason ? h("p", { class: "sentence", lang: "en" }, reason) : null,
      estimate ? h("p", { class: "about" }, [found.model.id, named(estimate.precision), estimate.engine, estimate.device.name].join(" · ")) : null,
      speed?.value ? h("p", { class: "lead" }, figure(speed.value, rate(speed.value)), ` ${speed.unit}, `, rangeText(speed)) : null,
      estimate ? memoryBar(estimate.memory) : null,
      change?.length ? h("div", null, h("h3", null, t("change")), h("ul", { class: "flags" }, ...change.map((flag) => h("li", null, h("code", null, flag))))) : null),
    estimate?.assumptions?.length ? h("section", { class: "card" }, h("h2", null, t("assumptions")), h("ul", { class: "notes", lang: "en" }, ...estimate.assumptions.map((note) => h("li", null, note)))) : null,
  ].filter(Boolean);
}
