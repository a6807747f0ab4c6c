// What an exported .onnx file says of its network: onnxruntime-web does not show a file's properties.

const NUMBERS = ["scale", "factor", "halo_px", "draws"];

// The properties of a file: `metadata_props`, field 14 of its ModelProto, a Protocol Buffer.
export function properties(bytes) {
  const found = {};
  try {
    for (const entry of fields(bytes, 14)) {
      const [key, value] = [1, 2].map((number) => new TextDecoder().decode(fields(entry, number)[0]));
      found[key] = value;
    }
  } catch (error) {
    throw new Error("The model is no ONNX file: write one with restore-jax export MODEL --to onnx.", { cause: error });
  }
  return found;
}

// What tiles need to know: pixels of x_hat for one of y, where tiles may start, how far the network sees, all in pixels
// of y; and whether it sees no further.
export function network(said) {
  const missing = [...NUMBERS, "local"].filter((name) => !(name in said));
  if (missing.length > 0) {
    throw new Error(`The model does not say its ${missing.join(", ")}: write it with restore-jax export.`);
  }
  const [scale, factor, far, draws] = NUMBERS.map((name) => Number(said[name]));
  if (draws > 0) {
    throw new Error(`The model starts from ${draws} drawn image(s) of noise; this page runs models that draw none.`);
  }
  const unit = factor / divisor(factor, scale);
  const halo = Math.ceil(Math.ceil(far / scale) / unit) * unit;
  return { scale, unit, halo, local: said.local === "True" };
}

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

// The contents of the fields of one number that have a length, as views of `bytes`.
function fields(bytes, number) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let place = 1; ; place *= 128) {
      if (at >= bytes.length) throw new RangeError("The file ends inside a field.");
      const byte = bytes[at++];
      value += (byte & 127) * place; // no shift: lengths may pass 31 bits
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const [field, kind] = [Math.floor(tag / 8), tag % 8];
    if (kind === 0) varint();
    else if (kind === 1 || kind === 5) at += kind === 1 ? 8 : 4;
    else if (kind === 2) {
      const length = varint();
      if (field === number) found.push(bytes.subarray(at, at + length));
      at += length;
    } else throw new RangeError(`Fields of kind ${kind} do not exist.`);
  }
  if (at > bytes.length) throw new RangeError("The file ends inside a field.");
  return found;
}
