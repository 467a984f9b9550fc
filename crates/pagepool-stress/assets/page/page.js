// The page: a summary, and the plots of one phase.

const summary = () => {
  const verdict = document.getElementById("verdict");
  const isGood = report.violations === 0;
  verdict.className = isGood ? "verified" : "violation";
  verdict.textContent = (isGood ? "All verified" : whole(report.violations) + " violation(s)\n" + report.violation_messages.join("\n")) + (report.interrupted ? " (interrupted)" : "");
  const latency = report.latency_ns;
  const figures = [
    [whole(report.ops), "operations"],
    [short(report.ops_per_s) + " /s", "in " + clock(report.seconds) + " of play"],
    [bytes(report.verified_bytes), "compared"],
    [whole(total(report.failures.map((failure) => failure.count))), "requests refused"],
    [bytes(report.budget_bytes), "budget of the largest pool"],
    ...(report.rss_max ? [[bytes(report.rss_max), "resident at most, of the process"]] : []),
    ...(latency.count ? [[nanoseconds(latency.p50), "p50 of " + whole(latency.count) + " requests"], [nanoseconds(latency.p99), "p99"], [nanoseconds(latency.p999), "p99.9"], [nanoseconds(latency.max), "max"]] : []),
    ...report.phases.slice(0, 1).map((phase) => [percent(phase.pressure.some.total / 1e4 / Math.max(phase.seconds, 1e-3)), "of the time somebody waited" + (report.phases.length > 1 ? ", in the first phase" : "")]),
  ];
  const tile = ([value, label]) => element("div", { className: "figure" }, element("b", { text: value }), element("span", { text: label }));
  document.getElementById("summary").replaceChildren(...figures.map(tile));
};

let stopMap = null;
const clear = () => {
  if (stopMap) stopMap();
  plots.forEach((plot) => plot.destroy());
  plots = [];
};

const drawPhase = (n) => {
  clear();
  const place = document.getElementById("phase");
  const recording = recordings[n];
  const facts = report.phases.find((phase) => phase.name === recording.phase)?.facts || null;
  const text = facts ? [facts.load, ...facts.notes].filter(Boolean).join(". ") : "";
  const grid = element("div", { className: "plots" });
  place.replaceChildren(element("h2", { text: "Phase: " + recording.phase }), element("p", { className: "note", text: text + (text ? ". " : "") + "Drag over a plot to zoom all of them, double-click to see all again." }), grid);
  throughput(grid, recording);
  latencies(grid, recording);
  zones(grid, recording);
  daemons(grid, recording);
  pressure(grid, recording);
  swap(grid, recording);
  fragmentation(grid, recording);
  stopMap = map(grid, recording);
  // Whoever tests the page reads how much of it was drawn.
  setTimeout(() => {
    const canvases = [...grid.querySelectorAll("canvas")];
    const isDrawn = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((part) => part !== 0);
    document.body.dataset.plots = String(canvases.length);
    document.body.dataset.drawn = String(canvases.filter(isDrawn).length);
    sayErrors();
  }, 100);
};

let shownPhase = 0;
const choose = (n) => {
  shownPhase = n;
  document.querySelectorAll("#phases button").forEach((button, m) => button.setAttribute("aria-pressed", String(m === n)));
  drawPhase(n);
};

summary();
document.getElementById("phases").append(...(recordings.length > 1 ? recordings : []).map((recording, n) => {
  const button = element("button", { type: "button", text: recording.phase });
  button.addEventListener("click", () => choose(n));
  return button;
}));
if (recordings.length) choose(0);
else document.getElementById("phase").textContent = "Nothing was recorded: the system had no thread for it.";
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recordings.length && drawPhase(shownPhase));
let resized = null;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => recordings.length && drawPhase(shownPhase), 200);
});
