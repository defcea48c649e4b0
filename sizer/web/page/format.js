// Figures for people. Only units and rounding: every number was computed by the package.

const GIB = 2 ** 30;

const significant = (value, digits = 3) => {
  if (value >= 10 ** (digits - 1)) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(digits)));
};

export const gib = (bytes) => {
  const value = bytes / GIB;
  if (value !== 0 && Math.abs(value) < 0.1) return `${Number(value.toPrecision(2))} GiB`;
  return `${value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)} GiB`;
};
export const rate = (tokensPerS) => significant(tokensPerS);
export const seconds = (value) => {
  if (value < 1) return `${significant(value * 1000)} ms`;
  return value < 120 ? `${significant(value)} s` : `${significant(value / 60)} min`;
};
export const tokens = (count) => {
  if (count >= 2 ** 20) return `${significant(count / 2 ** 20)}M`;
  return count < 1024 ? String(count) : `${significant(count / 1024)}k`;
};
export const count = (value) => {
  if (value >= 1e12) return `${significant(value / 1e12)}T`;
  if (value >= 1e9) return `${significant(value / 1e9)}B`;
  if (value >= 1e6) return `${significant(value / 1e6)}M`;
  return value.toLocaleString("en-US");
};
export const bandwidth = (bytesPerS) => `${significant(bytesPerS / 1e9)} GB/s`;
export const dollars = (value) => `$${Math.round(value).toLocaleString("en-US")}`;
export const precision = (name) => name.toUpperCase();
