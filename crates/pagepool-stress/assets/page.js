// Draws the page of `pagepool-stress --report`. Its data is in the element #data: the report, and for each phase a
// recording. All text comes in as text nodes.
"use strict";
(() => {
  const errors = [];
  const sayErrors = () => {
    document.body.dataset.errors = String(errors.length);
    if (errors.length) {
      const verdict = document.getElementById("verdict");
      verdict.textContent = "This page could not be drawn as a whole: " + errors.join("; ") + ". The figures are in report.json.";
      verdict.className = "violation";
    }
  };
  window.addEventListener("error", (event) => { errors.push(event.message); sayErrors(); });

  const data = JSON.parse(document.getElementById("data").textContent);
  const { report, recordings } = data;

  // --- Words and numbers ------------------------------------------------------------------------------------------

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

  // --- Figures out of recordings ----------------------------------------------------------------------------------

  const total = (values) => values.reduce((sum, value) => sum + (value || 0), 0);
  // A second's worth of what happened in each interval. The last one may be very short, and is looked at with the
  // one before it.
  const perSecond = (times, counts) => {
    const span = (n) => Math.max(times[n] - (n ? times[n - 1] : 0), 1e-6);
    return counts.map((count, n) => {
      const isStub = n > 0 && n === counts.length - 1 && span(n) < span(n - 1) / 2;
      return isStub ? (count + counts[n - 1]) / (span(n) + span(n - 1)) : count / span(n);
    });
  };
  // A sliding mean over a fiftieth of the samples.
  const smooth = (values) => {
    const reach = Math.floor(values.length / 100);
    return values.map((_, n) => {
      const near = values.slice(Math.max(0, n - reach), n + reach + 1).filter(isKnown);
      return near.length ? total(near) / near.length : null;
    });
  };

  // What is not known for long is a gap in a line; what is not known for a moment is passed over (undefined, to uPlot).
  const joined = (times, values) => {
    const patience = Math.max((times[times.length - 1] - times[0]) / 40, 0);
    let last = -Infinity;
    let begun = 0;
    const all = values.slice();
    for (let n = 0; n < all.length; n += 1) {
      if (!isKnown(all[n])) continue;
      const isShort = times[n] - last <= patience;
      for (let m = begun; m < n; m += 1) all[m] = isShort ? undefined : null;
      last = times[n];
      begun = n + 1;
    }
    return all.fill(null, begun);
  };
  // Those known by themselves, between two gaps: no line shows them.
  const lonely = (values) => {
    const nearest = (from, step) => {
      let n = from + step;
      while (n >= 0 && n < values.length && values[n] === undefined) n += step;
      return values[n];
    };
    return [...values.keys()].filter((n) => isKnown(values[n]) && !isKnown(nearest(n, -1)) && !isKnown(nearest(n, 1)));
  };

  // --- Plots ------------------------------------------------------------------------------------------------------

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

  const throughput = (parent, recording) => {
    const times = recording.time_s;
    const rate = (counts) => smooth(perSecond(times, counts));
    const kinds = [["allocations", "alloc"], ["frees", "free"], ["accesses to folios that were away", "fault"]];
    const timed = kinds.filter(([, kind]) => total(recording.latency[kind].count) > 0);
    plot(parent, {
      title: "Throughput",
      note: "A second, of all players together. Events are what the load counts: allocations, frees, touches, references. Calls that were timed stand beside them.",
      times,
      series: [["events", rate(recording.events)], ...timed.map(([label, kind]) => [label, rate(recording.latency[kind].count)])],
      unit: short,
      axis: "a second",
      legendUnit: (value) => whole(value) + " /s",
    });
  };

  const latencies = (parent, recording) => {
    const titles = { alloc: "Latency of allocations", free: "Latency of frees", fault: "Latency of accesses to folios that were away" };
    for (const [kind, title] of Object.entries(titles)) {
      const times = recording.latency[kind];
      if (!total(times.count)) continue;
      plot(parent, {
        title,
        note: "The pool's call alone, on a logarithmic scale. Percentiles are to an eighth, of each interval by itself; max is exact.",
        times: recording.time_s,
        // Nothing is shorter than a nanosecond on a logarithmic scale.
        series: [["max", times.max, { width: 1, colour: "--c6", dash: [2, 2] }], ["p99.9", times.p999, { width: 1, colour: "--c3" }], ["p99", times.p99, { width: 1, colour: "--c1" }], ["p50", times.p50, { colour: "--c0", width: 2 }]]
          .map(([label, values, options]) => [label, joined(recording.time_s, values.map((ns) => (ns === 0 ? 1 : ns))), options]),
        unit: nanoseconds,
        axis: "time of a call",
        log: true,
      });
    }
  };

  const nameOf = (zone) => "node " + zone.node + " " + zone.name;

  const zones = (parent, recording) => {
    for (const zone of recording.zones) {
      const series = [
        ["free", zone.free, { fill: true }],
        ["in caches of CPUs and threads", zone.cached, { colour: "--c6" }],
        ["min", zone.min, { colour: "--c1", dash: [3, 3] }],
        ["low", zone.low, { colour: "--c4", dash: [6, 3] }],
        ["high", zone.high, { colour: "--c2", dash: [10, 3] }],
      ];
      if (total(zone.boost)) series.push(["boost, within the marks", zone.boost, { colour: "--c3" }]);
      // What matters happens near the marks, which are low; a zone that is mostly near them is shown so at first.
      const known = zone.free.filter(isKnown).sort((a, b) => a - b);
      const usual = known[Math.floor(known.length / 2)] || 0;
      const near = Math.max(...zone.high.filter(isKnown), 1) * 2.5;
      const all = Math.max(near / 2.5, known[known.length - 1] || 0) * 1.05;
      plot(parent, {
        title: "Free memory of " + nameOf(zone),
        note: "Pages of 4 KiB; free is the least that was seen in an interval. kswapd is woken below low and sleeps above high; below min only urgent requests are served.",
        times: recording.time_s,
        series,
        unit: short,
        axis: "pages",
        legendUnit: whole,
        ranges: all > 2 * near ? [["All of it", () => [0, all]], ["Near the marks", () => [0, near]]] : undefined,
        range: () => [0, all],
        first: usual < near ? 1 : 0,
      });
    }
  };

  const daemons = (parent, recording) => {
    const times = recording.time_s;
    plot(parent, {
      title: "What daemons are at",
      note: "The share of the looks that found a daemon at work, sliding mean over a fiftieth of the run. Napping is between two looks of its own; the rest of the time it is asleep, or not there.",
      times,
      series: recording.daemons.flatMap((daemon, n) => [
        [daemon.name + " working", smooth(daemon.working).map((share) => share * 100), { colour: "--c" + (n % 8) }],
        ...(total(daemon.napping) ? [[daemon.name + " napping", smooth(daemon.napping).map((share) => share * 100), { colour: "--c" + (n % 8), dash: [3, 3], width: 1 }]] : []),
      ]),
      unit: percent,
      axis: "of the looks",
      range: () => [0, 102],
    });
    const work = [
      ["reclaimed by kswapd", "pgsteal_kswapd"],
      ["reclaimed by who asked", "pgsteal_direct"],
      ["scanned by kswapd", "pgscan_kswapd"],
      ["scanned by who asked", "pgscan_direct"],
      ["moved by compaction", "pgmigrate_success"],
    ];
    plot(parent, {
      title: "Reclaim and compaction",
      note: "Pages a second that were reclaimed and looked at, and folios a second that were moved: by daemons, and by threads that had to help themselves.",
      times,
      series: work.map(([label, event], n) => [label, smooth(perSecond(times, recording.vmstat[event])), { colour: "--c" + [0, 1, 0, 1, 2][n], ...(n === 2 || n === 3 ? { width: 1, dash: [4, 3] } : {}) }]),
      unit: short,
      axis: "pages or folios a second",
      legendUnit: (value) => whole(value) + " /s",
    });
  };

  const pressure = (parent, recording) => {
    const times = recording.time_s;
    const share = (seconds) => smooth(perSecond(times, seconds)).map((part) => part * 100);
    plot(parent, {
      title: "Pressure",
      note: "The share of the time for which threads waited for memory: at least one (some), or one while nobody did anything else (full).",
      times,
      series: [["some", share(recording.pressure_some_s), { fill: true }], ["full", share(recording.pressure_full_s), { colour: "--c1", fill: true }]],
      unit: percent,
      axis: "of the time",
      range: (_, low, high) => [0, Math.max(1, high * 1.05)],
    });
  };

  const swap = (parent, recording) => {
    const times = recording.time_s;
    if (!total(recording.swap_used)) return;
    plot(parent, {
      title: "Swap in use",
      note: "Pages of 4 KiB in all swap areas.",
      times,
      series: [["in use", recording.swap_used, { fill: true }]],
      unit: short,
      axis: "pages",
      legendUnit: whole,
    });
    plot(parent, {
      title: "Swap traffic",
      note: "Pages a second.",
      times,
      series: [["out", smooth(perSecond(times, recording.vmstat.pswpout))], ["in", smooth(perSecond(times, recording.vmstat.pswpin))]],
      unit: short,
      axis: "pages a second",
      legendUnit: (value) => whole(value) + " /s",
    });
  };

  const fragmentation = (parent, recording) => {
    for (const zone of recording.zones) {
      plot(parent, {
        title: "Fragmentation of " + nameOf(zone),
        note: "Unusable index: the share of the free memory that is in blocks too small for a request of an order. 0: all of it could serve; 100 %: none. Sliding mean over a fiftieth of the run.",
        times: recording.time_s,
        series: zone.unusable_index.slice(1).map((values, n) => [
          "order " + (n + 1) + " (" + orderSize(n + 1) + ")",
          smooth(values).map((share) => (isKnown(share) ? share * 100 : null)),
          { width: n + 1 === 9 ? 2.4 : 1.2, colour: "--o" + (n + 1) },
        ]),
        unit: percent,
        axis: "of what is free",
        range: () => [0, 102],
      });
    }
  };

  // --- The map of pageblocks --------------------------------------------------------------------------------------

  const FULL = 62;
  const ABSENT = 63;

  // Each picture is what changed since the one before: bytes to skip, bytes that follow, and these.
  const develop = (film) => {
    const size = total(film.zones.map((zone) => zone.pageblocks));
    let picture = new Uint8Array(size);
    return film.changes.map((change) => {
      const code = Uint8Array.from(atob(change), (letter) => letter.charCodeAt(0));
      picture = picture.slice();
      let at = 0;
      let place = 0;
      const number = () => {
        let value = 0;
        let shift = 0;
        let byte;
        do { byte = code[at++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
        return value;
      };
      while (at < code.length) {
        place += number();
        for (let left = number(); left > 0; left -= 1) picture[place++] = code[at++];
      }
      return picture;
    });
  };

  const MODES = ["How full", "What changed"];

  const map = (parent, recording) => {
    const film = recording.pageblocks;
    const box = figure(parent, "Pageblocks over time", "Each square is a pageblock, the lowest address first: its colour is its kind, and the more of it is in use the stronger it is. The slider moves through the run; the bars below it are the folios that compaction moved between two pictures, anywhere in the pool.");
    box.classList.add("wide");
    if (!film.changes.length) {
      box.append(element("p", { text: "There are more pageblocks than a recording has room for." }));
      return null;
    }
    const pictures = develop(film);
    const colours = film.kinds.map((kind) => colour("--" + kind.toLowerCase()));
    const slider = element("input", { type: "range", min: 0, max: pictures.length - 1, step: 1, "aria-label": "Time of the picture" });
    const output = element("output");
    const play = element("button", { type: "button", text: "Play" });
    const modes = MODES.map((text, n) => element("button", { type: "button", text, "aria-pressed": String(n === 0) }));
    const swatch = (style, text) => {
      const square = element("i");
      square.style.background = style;
      return element("span", {}, square, text);
    };
    // From nothing in use to all of it, as `paint` paints it.
    const strength = () => {
      const steps = [0, 1, 15, 31, 46, FULL].map((level) => {
        const step = element("i");
        step.style.background = "rgba(" + colours[1] + "," + shade(level) + ")";
        return step;
      });
      return element("span", { className: "strength" }, "nothing in use ", ...steps, " all of it");
    };
    const shade = (level) => (level === 0 ? 0.1 : 0.22 + (0.78 * level) / FULL);
    const key = element("div", { className: "key" });
    const hint = element("p", { className: "note", text: "Point at a pageblock to read it." });
    const moves = element("canvas", { className: "moves", role: "img" });
    box.append(element("div", { className: "controls" }, play, element("div", { className: "time" }, slider, moves), output, ...modes), key);
    let begin = 0;
    const sheets = film.zones.map((zone) => {
      const sheet = { ...zone, begin, canvas: element("canvas", { className: "map", role: "img" }) };
      begin += zone.pageblocks;
      box.append(element("p", { className: "zone", text: nameOf(zone) + ": " + whole(zone.pageblocks) + " pageblocks of " + bytes(zone.pageblock_pages * 4096) }), sheet.canvas);
      return sheet;
    });
    box.append(hint);

    const width = Math.max(box.clientWidth - 28, 280);
    for (const sheet of sheets) {
      sheet.cell = Math.max(3, Math.min(24, Math.floor(Math.sqrt((width * 260) / sheet.pageblocks))));
      sheet.columns = Math.floor(width / sheet.cell);
      const rows = Math.max(1, Math.ceil(sheet.pageblocks / sheet.columns));
      const dense = window.devicePixelRatio || 1;
      sheet.canvas.width = sheet.columns * sheet.cell * dense;
      sheet.canvas.height = rows * sheet.cell * dense;
      sheet.canvas.style.width = sheet.columns * sheet.cell + "px";
      sheet.canvas.style.height = rows * sheet.cell + "px";
      sheet.pen = sheet.canvas.getContext("2d");
      sheet.pen.scale(dense, dense);
      const read = (event) => {
        const place = sheet.canvas.getBoundingClientRect();
        const column = Math.floor((event.clientX - place.left) / sheet.cell);
        const n = Math.floor((event.clientY - place.top) / sheet.cell) * sheet.columns + column;
        if (n >= 0 && n < sheet.pageblocks) hint.textContent = describe(sheet, n);
      };
      sheet.canvas.addEventListener("pointermove", read);
      sheet.canvas.addEventListener("pointerdown", read);
    }

    let shown = 0;
    let mode = 0;
    const inUse = (sign) => {
      const level = sign & 63;
      if (level === ABSENT) return "out of the zone";
      if (level === 0) return "nothing in use";
      return level === FULL ? "all of it in use" : "about " + Math.round((level / FULL) * 100) + " % in use";
    };
    const describe = (sheet, n) => {
      const sign = pictures[shown][sheet.begin + n];
      return "Pageblock " + n + " of " + nameOf(sheet) + ": " + film.kinds[sign >> 6] + ", " + inUse(sign) + ".";
    };
    const paint = (sign, before) => {
      const level = sign & 63;
      if (level === ABSENT) return null;
      if (mode === 0) return "rgba(" + colours[sign >> 6] + "," + shade(level) + ")";
      const step = level - ((before & 63) === ABSENT ? 0 : before & 63);
      const share = Math.min(1, 0.25 + (0.75 * Math.abs(step)) / FULL);
      if (step) return "rgba(" + (step > 0 ? colours[0] : colours[1]) + "," + share + ")";
      return sign >> 6 === before >> 6 ? "rgba(128,136,144,0.15)" : "rgba(" + colours[3] + ",0.9)";
    };
    const moved = perPicture(film.time_s, recording);
    moves.setAttribute("aria-label", whole(total(moved)) + " folios moved, at most " + whole(moved.reduce((a, b) => Math.max(a, b), 0)) + " between two pictures");
    const drawMoves = () => {
      const dense = window.devicePixelRatio || 1;
      const [width, height] = [Math.max(moves.clientWidth, 40), 22];
      moves.width = width * dense;
      moves.height = height * dense;
      const pen = moves.getContext("2d");
      pen.scale(dense, dense);
      pen.fillStyle = colour("--line");
      pen.fillRect(0, height - 1, width, 1);
      // The slider's knob stays within it by half of its own width.
      const [edge, most] = [8, Math.max(...moved, 1)];
      const step = (width - 2 * edge) / Math.max(moved.length - 1, 1);
      moved.forEach((count, n) => {
        // So that few beside many are still seen.
        const tall = count ? Math.max(2, Math.sqrt(count / most) * (height - 1)) : 0;
        pen.fillStyle = n === shown ? colour("--ink") : colour("--c2");
        pen.fillRect(edge + n * step - Math.max(step, 1) / 2, height - tall, Math.max(step, 1), tall);
      });
    };
    const draw = () => {
      drawMoves();
      const picture = pictures[shown];
      const before = pictures[Math.max(0, shown - 1)];
      for (const sheet of sheets) {
        const { pen, cell, columns } = sheet;
        const gap = cell > 5 ? 1 : 0;
        pen.clearRect(0, 0, sheet.canvas.width, sheet.canvas.height);
        const counts = [0, 0, 0];
        for (let n = 0; n < sheet.pageblocks; n += 1) {
          const sign = picture[sheet.begin + n];
          const level = sign & 63;
          if (level !== ABSENT) counts[level === 0 ? 0 : level === FULL ? 2 : 1] += 1;
          const style = paint(sign, before[sheet.begin + n]);
          if (!style) continue;
          pen.fillStyle = style;
          pen.fillRect((n % columns) * cell, Math.floor(n / columns) * cell, cell - gap, cell - gap);
        }
        sheet.canvas.setAttribute("aria-label", nameOf(sheet) + ": " + counts[0] + " pageblocks free, " + counts[1] + " in part, " + counts[2] + " full");
      }
      const text = clock(film.time_s[shown]);
      output.textContent = text + " of " + clock(film.time_s[pictures.length - 1]) + "; " + whole(moved[shown]) + " folios moved since the last";
      slider.setAttribute("aria-valuetext", text);
    };
    const explain = () => {
      const squares = mode === 0
        ? [...film.kinds.map((kind, n) => swatch("rgba(" + colours[n] + ",1)", kind)), strength()]
        : [swatch("rgb(" + colours[0] + ")", "more in use than in the picture before"), swatch("rgb(" + colours[1] + ")", "less in use"), swatch("rgb(" + colours[3] + ")", "another kind"), swatch("rgba(128,136,144,0.3)", "as it was")];
      key.replaceChildren(...squares);
    };
    const show = (n) => { shown = n; slider.value = String(n); draw(); };
    slider.addEventListener("input", () => show(Number(slider.value)));
    modes.forEach((button, n) => button.addEventListener("click", () => {
      mode = n;
      modes.forEach((other, m) => other.setAttribute("aria-pressed", String(m === n)));
      explain();
      draw();
    }));
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
    play.addEventListener("click", () => {
      if (timer !== null) { stop(); return; }
      if (shown === pictures.length - 1) show(0);
      play.textContent = "Stop";
      timer = setInterval(() => (shown < pictures.length - 1 ? show(shown + 1) : stop()), Math.max(40, 12000 / pictures.length));
    });
    explain();
    show(Math.floor((pictures.length - 1) / 2));
    return stop;
  };

  // Folios that were moved between each two pictures.
  const perPicture = (times, recording) => {
    const moves = recording.vmstat.pgmigrate_success;
    let n = 0;
    return times.map((time) => {
      let sum = 0;
      while (n < recording.time_s.length && recording.time_s[n] <= time + 1e-6) { sum += moves[n]; n += 1; }
      return sum;
    });
  };

  // --- The page ---------------------------------------------------------------------------------------------------

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
})();
