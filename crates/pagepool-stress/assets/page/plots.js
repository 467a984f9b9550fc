// Which plots there are.

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
