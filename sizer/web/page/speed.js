// What one waits for: decoded tokens a second; of an encoder, which writes none, texts.
import { t } from "./words.js";

export const speedOf = ({ decode, prefill }) => (decode
  ? { value: decode.tokens_per_s, low: decode.low_tokens_per_s, high: decode.high_tokens_per_s, unit: t("tokens_s") }
  : { value: prefill.texts_per_s, low: prefill.low_texts_per_s, high: prefill.high_texts_per_s, unit: t("texts_s") });
