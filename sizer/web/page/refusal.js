// What could not be answered, and what to ask instead.
import { h } from "./dom.js";

export const refusal = (error) => h("section", { class: "card refused", role: "alert", lang: "en" }, h("p", null, h("strong", null, error.message)), error.hint ? h("p", null, error.hint) : null);
