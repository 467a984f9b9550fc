// A plot: lines over time, which zoom together.

let plots = [];
let isFollowing = false;
const followZoom = (from, key) => {
  if (key !== "x" || isFollowing) return;
  isFollowing = true;
  const { min, max } = from.scales.x;
  for (const plot of plots) {
    const { x } = plot.scales;
    if (plot !== from && (x.min !== min || x.max !== max)) plot.setScale("x", { min, max });
  }
  isFollowing = false;
};

const figure = (parent, title, note) => {
  const made = element("figure", { className: "plot", "aria-label": title }, element("h2", { text: title }));
  if (note) made.append(element("p", { className: "note", text: note }));
  parent.append(made);
  return made;
};

const decades = (_, ticks) => ticks.map((tick) => (Math.log10(tick) % 1 === 0 ? tick : null));

// `series`: [label, values, options]. `unit`: how a value is written beside the axis; `legendUnit`: in the legend.
// `axis`: what is counted. `ranges`: named ranges of the axis, one of which is chosen by a button.
const plot = (parent, { title, note, times, series, unit, legendUnit, axis, log, range, ranges, first }) => {
  const box = figure(parent, title, note);
  const legend = legendUnit || unit;
  const lines = series.map(([label, values, options = {}], n) => {
    const stroke = colour(options.colour || "--c" + (n % 8));
    const alone = lonely(values);
    return {
      label,
      stroke,
      width: options.width || 1.5,
      dash: options.dash,
      fill: options.fill ? stroke + "30" : undefined,
      points: { show: alone.length > 0, size: 4, fill: stroke, filter: () => alone },
      value: (_, value, __, at) => (isKnown(at) ? (isKnown(value) ? legend(value) : "–") : ""),
    };
  });
  let chosen = first || 0;
  const usual = range || ((_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1]);
  const font = "12px system-ui, sans-serif";
  const look = { font, labelFont: font, stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const made = new uPlot({
    width: Math.max(box.clientWidth - 28, 280),
    height: 230,
    cursor: { sync: { key: "time", scales: ["x", null] }, drag: { x: true, y: false } },
    legend: { markers: { dash: (_, n) => (n > 0 && lines[n - 1].dash ? "dashed" : "solid") } },
    scales: {
      x: { time: false },
      y: log ? { distr: 3 } : { range: (...now) => (ranges ? ranges[chosen][1] : usual)(...now) },
    },
    axes: [
      { ...look, values: (_, ticks) => ticks.map(clock) },
      // Of a logarithmic scale the lines at 1, 10, 100 and so on are enough.
      { ...look, ...(log ? { grid: { ...look.grid, filter: decades }, ticks: { ...look.ticks, filter: decades } } : {}), size: 66, label: axis, labelSize: axis ? 18 : 0, values: (_, ticks) => ticks.map((tick) => (isKnown(tick) ? unit(tick) : "")) },
    ],
    series: [{ label: "at", value: (_, value) => (isKnown(value) ? clock(value) : "") }, ...lines],
    hooks: { setScale: [followZoom] },
  }, [times, ...series.map(([, values]) => values)], box);
  if (ranges) {
    const buttons = ranges.map(([text], n) => element("button", { type: "button", text, "aria-pressed": String(n === chosen) }));
    buttons.forEach((button, n) => button.addEventListener("click", () => {
      chosen = n;
      buttons.forEach((other, m) => other.setAttribute("aria-pressed", String(m === n)));
      const { min, max } = made.scales.x;
      made.setScale("x", { min, max });
    }));
    box.prepend(element("span", { className: "choice" }, ...buttons));
  }
  const canvas = box.querySelector("canvas");
  canvas.setAttribute("role", "img");
  const most = series.map(([label, values]) => {
    const known = values.filter(isKnown);
    return known.length ? label + " at most " + legend(known.reduce((a, b) => Math.max(a, b))) : label + " none";
  });
  canvas.setAttribute("aria-label", title + ": " + most.join(", "));
  plots.push(made);
};
