// Figures out of recordings.

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
