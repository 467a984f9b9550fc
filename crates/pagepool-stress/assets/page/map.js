// The map of pageblocks: a square each, with a mark on those that something was moved out of; the slider; what is read.

const MODES = ["How full", "What changed"];

const sharpened = (canvas, width, height) => {
  const dense = window.devicePixelRatio || 1;
  canvas.width = width * dense;
  canvas.height = height * dense;
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  return pen;
};

// The squares of a zone, which begin at `begin` in a picture. They stand in `box` and are read by `onPoint`.
const sheetOf = (box, zone, begin, onPoint) => {
  const canvas = element("canvas", { className: "map", role: "img" });
  box.append(element("p", { className: "zone", text: nameOf(zone) + ": " + whole(zone.pageblocks) + " pageblocks of " + bytes(zone.pageblock_pages * 4096) }), canvas);
  const width = Math.max(box.clientWidth - 28, 280);
  const cell = Math.max(3, Math.min(24, Math.floor(Math.sqrt((width * 260) / zone.pageblocks))));
  const columns = Math.floor(width / cell);
  const rows = Math.max(1, Math.ceil(zone.pageblocks / columns));
  canvas.style.width = columns * cell + "px";
  canvas.style.height = rows * cell + "px";
  const sheet = { ...zone, begin, canvas, cell, columns, pen: sharpened(canvas, columns * cell, rows * cell) };
  const read = (event) => {
    const place = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - place.left) / cell);
    const n = Math.floor((event.clientY - place.top) / cell) * columns + column;
    if (n >= 0 && n < zone.pageblocks) onPoint(sheet, n);
  };
  canvas.addEventListener("pointermove", read);
  canvas.addEventListener("pointerdown", read);
  return sheet;
};

// Draws a bar for each of the counts; the one at `shown` stands out.
const drawBars = (canvas, counts, shown) => {
  const [width, height] = [Math.max(canvas.clientWidth, 40), 22];
  const pen = sharpened(canvas, width, height);
  pen.fillStyle = colour("--line");
  pen.fillRect(0, height - 1, width, 1);
  // The slider's knob stays within it by half of its own width.
  const [edge, most] = [8, Math.max(...counts, 1)];
  const step = (width - 2 * edge) / Math.max(counts.length - 1, 1);
  counts.forEach((count, n) => {
    // So that few beside many are still seen.
    const tall = count ? Math.max(2, Math.sqrt(count / most) * (height - 1)) : 0;
    pen.fillStyle = n === shown ? colour("--ink") : colour("--c2");
    pen.fillRect(edge + n * step - Math.max(step, 1) / 2, height - tall, Math.max(step, 1), tall);
  });
};

// How much a square is painted, by how full its pageblock is; and its mark, by the share of it that was moved out.
const shade = (level) => (level === 0 ? 0.1 : 0.22 + (0.78 * level) / FULL);
const markOf = (share) => Math.min(1, 0.3 + 0.7 * Math.sqrt(share));

const inWords = (sign) => {
  const level = sign & 63;
  if (level === ABSENT) return "out of the zone";
  if (level === 0) return "nothing in use";
  return level === FULL ? "all of it in use" : "about " + Math.round((level / FULL) * 100) + " % in use";
};

// What the squares mean in each mode. `kinds` and `colours` are those of pageblocks, `mark` that of moves.
const keyOf = (mode, kinds, colours, mark) => {
  const square = (style) => {
    const made = element("i");
    made.style.background = style;
    return made;
  };
  const swatch = (style, text) => element("span", {}, square(style), text);
  // From nothing in use to all of it.
  const strength = () => element("span", { className: "strength" }, "nothing in use ", ...[0, 1, 15, 31, 46, FULL].map((level) => square("rgba(" + colours[1] + "," + shade(level) + ")")), " all of it");
  const moves = element("span", { className: "strength marks" }, "pages moved out since the picture before: few ", ...[0.01, 0.2, 1].map((share) => {
    const made = square("rgba(" + colours[1] + ",0.3)");
    made.append(square("rgba(" + mark + "," + markOf(share) + ")"));
    return made;
  }), " as many as it has");
  const others = mode === 0
    ? [...kinds.map((kind, n) => swatch("rgba(" + colours[n] + ",1)", kind)), strength()]
    : [swatch("rgb(" + colours[0] + ")", "more in use than in the picture before"), swatch("rgb(" + colours[1] + ")", "less in use"), swatch("rgb(" + colours[3] + ")", "another kind"), swatch("rgba(128,136,144,0.3)", "as it was")];
  return [...others, moves];
};

const map = (parent, recording) => {
  const film = recording.pageblocks;
  const box = figure(parent, "Pageblocks over time", "Each square is a pageblock, the lowest address first: its colour is its kind, and the more of it is in use the stronger it is. A mark within says that pages were moved out of it since the picture before: compaction empties it. The slider moves through the run; the bars below it are the pages that were moved between two pictures, in all of the pool.");
  box.classList.add("wide");
  if (!film.changes.length) {
    box.append(element("p", { text: "There are more pageblocks than a recording has room for." }));
    return null;
  }
  const pictures = develop(film);
  const moves = movesOf(film);
  const moved = moves.map((of) => total([...of.values()]));
  const colours = film.kinds.map((kind) => colour("--" + kind.toLowerCase()));
  const mark = colour("--moved");

  const slider = element("input", { type: "range", min: 0, max: pictures.length - 1, step: 1, "aria-label": "Time of the picture" });
  const output = element("output");
  const play = element("button", { type: "button", text: "Play" });
  const modes = MODES.map((text, n) => element("button", { type: "button", text, "aria-pressed": String(n === 0) }));
  const key = element("div", { className: "key" });
  const bars = element("canvas", { className: "moves", role: "img" });
  bars.setAttribute("aria-label", whole(total(moved)) + " pages moved, at most " + whole(moved.reduce((a, b) => Math.max(a, b), 0)) + " between two pictures");
  box.append(element("div", { className: "controls" }, play, element("div", { className: "time" }, slider, bars), output, ...modes), key);

  let shown = 0;
  let mode = 0;
  const hint = element("p", { className: "note", text: "Point at a pageblock to read it." });
  const describe = (sheet, n) => {
    const sign = pictures[shown][sheet.begin + n];
    const pages = moves[shown].get(sheet.begin + n) || 0;
    return "Pageblock " + n + " of " + nameOf(sheet) + ": " + film.kinds[sign >> 6] + ", " + inWords(sign) + (pages ? ", " + whole(pages) + " pages moved out since the picture before." : ".");
  };
  let begin = 0;
  const sheets = film.zones.map((zone) => {
    const sheet = sheetOf(box, zone, begin, (of, n) => { hint.textContent = describe(of, n); });
    begin += zone.pageblocks;
    return sheet;
  });
  box.append(hint);

  const paint = (sign, before) => {
    const level = sign & 63;
    if (level === ABSENT) return null;
    if (mode === 0) return "rgba(" + colours[sign >> 6] + "," + shade(level) + ")";
    const step = level - ((before & 63) === ABSENT ? 0 : before & 63);
    const share = Math.min(1, 0.25 + (0.75 * Math.abs(step)) / FULL);
    if (step) return "rgba(" + (step > 0 ? colours[0] : colours[1]) + "," + share + ")";
    return sign >> 6 === before >> 6 ? "rgba(128,136,144,0.15)" : "rgba(" + colours[3] + ",0.9)";
  };
  const drawSheet = (sheet) => {
    const { pen, cell, columns } = sheet;
    const gap = cell > 5 ? 1 : 0;
    const inset = Math.max(1, Math.round((cell - gap) * 0.3));
    pen.clearRect(0, 0, sheet.canvas.width, sheet.canvas.height);
    const counts = [0, 0, 0];
    let out = 0;
    for (let n = 0; n < sheet.pageblocks; n += 1) {
      const sign = pictures[shown][sheet.begin + n];
      const level = sign & 63;
      if (level !== ABSENT) counts[level === 0 ? 0 : level === FULL ? 2 : 1] += 1;
      const [left, top, side] = [(n % columns) * cell, Math.floor(n / columns) * cell, cell - gap];
      const style = paint(sign, pictures[Math.max(0, shown - 1)][sheet.begin + n]);
      if (style) {
        pen.fillStyle = style;
        pen.fillRect(left, top, side, side);
      }
      const pages = moves[shown].get(sheet.begin + n) || 0;
      if (pages) {
        out += pages;
        pen.fillStyle = "rgba(" + mark + "," + markOf(pages / sheet.pageblock_pages) + ")";
        pen.fillRect(left + inset, top + inset, side - 2 * inset, side - 2 * inset);
      }
    }
    sheet.canvas.setAttribute("aria-label", nameOf(sheet) + ": " + counts[0] + " pageblocks free, " + counts[1] + " in part, " + counts[2] + " full, " + out + " pages moved out of them");
  };
  const draw = () => {
    drawBars(bars, moved, shown);
    sheets.forEach(drawSheet);
    const text = clock(film.time_s[shown]);
    output.textContent = text + " of " + clock(film.time_s[pictures.length - 1]) + "; " + whole(moved[shown]) + " pages moved since the last";
    slider.setAttribute("aria-valuetext", text);
  };
  const explain = () => key.replaceChildren(...keyOf(mode, film.kinds, colours, mark));
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
