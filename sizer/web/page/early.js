// Asks the first question while the rest of the page still loads; the page finds it asked.
import { ask, isStatic } from "./api.js";
import { filled, question, read } from "./state.js";

const FIRST = { estimate: "recommend", fit: "fit", hardware: "hardware" };
const state = filled(read(), isStatic);
if (FIRST[state.tab]) ask(FIRST[state.tab], question(FIRST[state.tab], state));
