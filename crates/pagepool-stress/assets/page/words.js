// Elements, words and numbers.

const element = (tag, options = {}, ...children) => {
  const { className, text, ...attributes } = options;
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isKnown = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const whole = (value) => Math.round(value).toLocaleString("en");
const short = (value) => Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
const precise = (value, digits) => String(Number(value.toPrecision(digits)));
const scaled = (value, step, units) => {
  let n = 0;
  while (value >= step && n + 1 < units.length) { value /= step; n += 1; }
  return precise(value, 3) + " " + units[n];
};
const nanoseconds = (value) => scaled(value, 1000, ["ns", "µs", "ms", "s"]);
const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const percent = (value) => precise(value, 3) + " %";
const clock = (seconds) => {
  if (seconds < 100) return precise(seconds, 3) + " s";
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const [hours, minutes, rest] = parts.map((part) => String(part).padStart(2, "0"));
  return (parts[0] ? hours + ":" : "") + minutes + ":" + rest;
};
const orderSize = (order) => bytes(4096 * 2 ** order);
