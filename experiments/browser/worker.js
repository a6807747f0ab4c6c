// One photograph through one .onnx file, tile by tile, beside the page's own thread.
//
// In:  { model: bytes of the file, photo: ImageData }
// Out: { ready } when that may be sent; { width, height } of the answer; { done, count } after each tile;
//      { top, rows }, an ImageData, when rows are finished; { seconds } at the end; or { error }

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { network, properties } from "./onnx.js";
import { axis } from "./tiles.js";

ort.env.wasm.numThreads = 1; // more want headers that python -m http.server does not send

postMessage({ ready: true });

onmessage = async ({ data: { model, photo } }) => {
  try {
    const net = network(properties(model));
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    const began = performance.now();
    await restore(session, net, photo);
    postMessage({ seconds: (performance.now() - began) / 1000 });
  } catch (error) {
    postMessage({ error: error?.message ?? String(error) });
  }
};

async function restore(session, net, photo) {
  const { scale } = net;
  const y = session.inputMetadata.find((one) => one.name === "y");
  const shape = y?.shape ?? [];
  if (session.inputNames.length !== 1 || session.outputNames[0] !== "x_hat" || shape.length !== 4 || shape[3] !== 3) {
    const taken = session.inputMetadata.map((one) => `${one.name} (${one.shape})`).join(", ");
    throw new Error(`The model takes ${taken}, not y (1,height,width,3): write it with restore-jax export.`);
  }
  const [, high, wide] = shape;
  const [down, across] = [axis(photo.height, high, net), axis(photo.width, wide, net)];
  const eight = y.type === "uint8";
  const top = eight ? 1 : 255; // the answer's largest number is 255 or 1
  const given = new (eight ? Uint8Array : Float32Array)(high * wide * 3);

  const width = photo.width * scale;
  postMessage({ width, height: photo.height * scale });
  const band = new Float32Array(high * scale * width * 3); // rows of x_hat from `base` on that are not finished
  const count = down.starts.length * across.starts.length;
  let base = 0;
  let done = 0;
  for (const [k, row] of down.starts.entries()) {
    for (const [j, column] of across.starts.entries()) {
      cut(photo, down.from.subarray(row, row + high), across.from.subarray(column, column + wide), given, eight);
      const { x_hat } = await session.run({ y: new ort.Tensor(y.type, given, shape) });
      const place = { row: row * scale - base, column: column * scale, width };
      add(band, x_hat.data, down.windows[k], across.windows[j], place);
      x_hat.dispose();
      postMessage({ done: ++done, count });
    }
    const last = k + 1 === down.starts.length;
    const next = last ? Infinity : down.starts[k + 1] * scale + down.windows[k + 1].findIndex(Boolean);
    const bottom = Math.min(next, photo.height * scale); // rows before it are complete
    if (bottom > base) {
      const finished = (bottom - base) * width * 3;
      const rows = new ImageData(levels(band.subarray(0, finished), top), width);
      postMessage({ top: base, rows }, [rows.data.buffer]);
      band.copyWithin(0, finished).fill(0, band.length - finished);
      base = bottom;
    }
  }
}

// One tile of a photograph.
function cut(photo, rows, columns, out, eight) {
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * photo.width + column) * 4;
      for (let c = 0; c < 3; c++) out[at++] = eight ? photo.data[from + c] : photo.data[from + c] / 255;
    }
  }
}

// band += window * x_hat at its place; what lies outside of the photograph is left out.
function add(band, x, downs, acrosses, { row, column, width }) {
  for (let i = 0; i < downs.length; i++) {
    if (downs[i] === 0) continue;
    for (let j = 0; j < acrosses.length && column + j < width; j++) {
      const weight = downs[i] * acrosses[j];
      if (weight === 0) continue;
      const from = (i * acrosses.length + j) * 3;
      const to = ((row + i) * width + column + j) * 3;
      for (let c = 0; c < 3; c++) band[to + c] += weight * x[from + c];
    }
  }
}

// RGBA of 8 bits, rounded to the nearest level.
function levels(numbers, top) {
  const out = new Uint8ClampedArray((numbers.length / 3) * 4).fill(255);
  for (let i = 0, at = 0; i < numbers.length; i += 3, at += 4) {
    for (let c = 0; c < 3; c++) {
      const level = Math.floor(numbers[i + c] * top + 0.5);
      if (!Number.isFinite(level)) throw new Error("The model answered NaN or infinity: that is no picture.");
      out[at + c] = level;
    }
  }
  return out;
}
