// The map of pageblocks.

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
