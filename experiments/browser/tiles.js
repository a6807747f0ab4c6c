// Where tiles lie along one axis of a photograph, and how much of each pixel they answer for, as in
// restore_jax/infer/grid.py.
//
//     starts     multiples of `unit`, the last tile ending with the axis
//     windows    0 in the halo of inner edges; their sum is 1 at every pixel
//     from       the pixel of the photograph at each place: after its end, its mirror image to a multiple of `unit`
//
// Where a network sees no further than its halo, a pixel belongs to one tile, and the tiled picture is the whole one;
// else (`feather`) neighbours fade into each other. A photograph smaller than a tile is continued to the tile's size.

export function axis(photo, tile, { halo, unit, scale, local }) {
  const size = Math.max(tile, Math.ceil(photo / unit) * unit);
  const least = 2 * halo + unit;
  if (tile < size && tile < least) {
    throw new Error(
      `Tiles of ${tile} pixels leave no room inside the ${halo} pixels a side that this network sees: ` +
        `export it with a --size of at least ${least}x${least}.`,
    );
  }
  const inside = tile - 2 * halo;
  const stride = Math.max(unit, Math.floor((local ? inside : Math.floor((inside * 3) / 4)) / unit) * unit);
  const starts = [];
  for (let start = 0; start < size - tile; start += stride) starts.push(start);
  starts.push(size - tile);
  const raw = local ? owned(starts, size, tile, halo, scale) : faded(starts, size, tile, halo, scale);
  return { starts, windows: shared(raw, starts, size, scale), from: mirrored(photo, size) };
}

function owned(starts, size, tile, halo, scale) {
  let reached = 0;
  return starts.map((start) => {
    const end = start === size - tile ? size : start + tile - halo;
    const window = new Float32Array(tile * scale).fill(1, Math.max(0, reached - start) * scale, (end - start) * scale);
    reached = Math.max(reached, end);
    return window;
  });
}

// 0 in the halo of inner edges, rising linearly behind it.
function faded(starts, size, tile, halo, scale) {
  const n = tile * scale;
  const ramp = Math.max(1, Math.floor(((tile - 2 * halo) * scale) / 4));
  const rise = (i) => Math.min(1, Math.max(0, (i + 1 - halo * scale) / ramp));
  return starts.map((start) =>
    Float64Array.from(
      { length: n },
      (_, i) => (start === 0 ? 1 : rise(i)) * (start === size - tile ? 1 : rise(n - 1 - i)),
    ),
  );
}

function shared(raw, starts, size, scale) {
  const total = new Float64Array(size * scale);
  raw.forEach((window, k) => window.forEach((weight, i) => (total[starts[k] * scale + i] += weight)));
  return raw.map((window, k) => Float32Array.from(window, (weight, i) => weight / total[starts[k] * scale + i]));
}

function mirrored(photo, size) {
  return Int32Array.from({ length: size }, (_, i) => {
    const place = i % (2 * photo);
    return place < photo ? place : 2 * photo - 1 - place;
  });
}
