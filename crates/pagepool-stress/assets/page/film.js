// Pictures of all pageblocks, out of a recording.

// How full a pageblock is: all of it in use; and out of the zone.
const FULL = 62;
const ABSENT = 63;

// Reads numbers of 7 bits to a byte, the lowest first, and bytes between.
const reader = (text) => {
  const code = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  let at = 0;
  const byte = () => code[at++];
  const number = () => {
    let value = 0;
    let shift = 0;
    let part;
    do { part = byte(); value += (part & 127) * 2 ** shift; shift += 7; } while (part & 128);
    return value;
  };
  return { byte, number, hasMore: () => at < code.length };
};

// Each picture is what changed since the one before: bytes to skip, bytes that follow, and these.
const develop = (film) => {
  let picture = new Uint8Array(total(film.zones.map((zone) => zone.pageblocks)));
  return film.changes.map((change) => {
    const code = reader(change);
    picture = picture.slice();
    let place = 0;
    while (code.hasMore()) {
      place += code.number();
      for (let left = code.number(); left > 0; left -= 1) picture[place++] = code.byte();
    }
    return picture;
  });
};

// For each picture the pages that were moved out of pageblocks since the one before, by pageblock.
const movesOf = (film) => film.moved_out.map((text) => {
  const code = reader(text);
  const moves = new Map();
  let place = 0;
  while (code.hasMore()) {
    place += code.number();
    moves.set(place, code.number());
    place += 1;
  }
  return moves;
});
