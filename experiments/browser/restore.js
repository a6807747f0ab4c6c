// The page: a model, a photograph, and what becomes of it. The work is done in worker.js.
//
//     index.html?model=net.onnx&photo=photo.png       takes both from the server, and begins

import { network, properties } from "./onnx.js";

const at = (id) => document.getElementById(id);
const given = { model: null, photo: null };
let worker = null; // while it works

// "waiting", "working", "done" or "failed"; a line of text with it.
function show(state, text) {
  document.body.dataset.state = state;
  at("said").textContent = text;
  at("stop").hidden = at("progress").hidden = state !== "working";
  at("save").hidden = state !== "done";
}

function stop() {
  worker?.terminate();
  worker = null;
}

async function takeModel(name, blob) {
  given.model = null;
  at("about").textContent = "";
  at("model-name").textContent = name;
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const said = properties(bytes);
  const { scale } = network(said); // says at once what is wrong with it
  const size = scale === 1 ? "the same size" : `${scale} times the size`;
  at("about").textContent = `${said.name ?? name}, ${size}, licence ${said.license ?? "unknown"}`;
  given.model = bytes;
  begin();
}

async function takePhoto(name, blob) {
  given.photo = null;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob); // turned as its camera was, its colours in sRGB
  } catch (error) {
    throw new Error(`${name} is no picture that this browser can read.`, { cause: error });
  }
  const context = canvas("before", bitmap.width, bitmap.height);
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  given.photo = { name, data: context.getImageData(0, 0, bitmap.width, bitmap.height) };
  at("after").width = at("after").height = 0;
  sized(bitmap.width, bitmap.height);
  at("compare").hidden = false;
  begin();
}

// Both pictures are shown as large as one of a size, or as the window allows.
function sized(width, height) {
  at("compare").style.width = `min(100%, ${width}px, ${(68 * width) / height}vh)`;
}

// A canvas of a size, and whether the browser really draws one so large: it does not say.
function canvas(id, width, height) {
  Object.assign(at(id), { width, height });
  const context = at(id).getContext("2d", { willReadFrequently: true });
  context.fillRect(width - 1, height - 1, 1, 1);
  if (context.getImageData(width - 1, height - 1, 1, 1).data[3] === 0) {
    throw new Error(`A picture of ${width} x ${height} pixels is larger than this browser can draw.`);
  }
  context.clearRect(width - 1, height - 1, 1, 1);
  return context;
}

function begin() {
  const { model, photo } = given;
  if (model === null || photo === null) {
    show("waiting", model === null ? "Choose a model." : "Choose a photograph.");
    return;
  }
  stop();
  show("working", "Loading the model ...");
  at("progress").removeAttribute("value");
  worker = new Worker("worker.js", { type: "module" });
  let context = null;
  let started = false;
  const fail = (text) => (stop(), show("failed", text));
  worker.onerror = (event) => {
    const missing = "onnxruntime-web did not load: run npm install in experiments/browser, then load this page again.";
    fail(started ? event.message || "The restoration stopped: memory may be short." : missing);
  };
  worker.onmessage = ({ data }) => {
    if (data.ready) {
      started = true;
      worker.postMessage({ model, photo: photo.data });
    } else if (data.error !== undefined) {
      fail(data.error);
    } else if (data.width !== undefined) {
      try {
        context = canvas("after", data.width, data.height);
        sized(data.width, data.height);
      } catch (error) {
        fail(error.message);
      }
    } else if (data.rows !== undefined) {
      context.putImageData(data.rows, 0, data.top);
    } else if (data.count !== undefined) {
      Object.assign(at("progress"), { max: data.count, value: data.done });
      show("working", `Tile ${data.done} of ${data.count}`);
    } else {
      stop();
      const { width, height } = at("after");
      show("done", `${width} x ${height} pixels in ${data.seconds.toFixed(1)} s.`);
    }
  };
}

function save() {
  at("after").toBlob((blob) => {
    if (blob === null) return show("failed", "The picture could not be written as PNG: memory may be short.");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${given.photo.name.replace(/\.[^.]*$/, "")}_restored.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
}

async function fetched(name) {
  const answer = await fetch(name).catch((error) => {
    throw new Error(`${name} could not be fetched: ${error.message}.`, { cause: error });
  });
  const { status, statusText } = answer;
  if (!answer.ok) throw new Error(`${name} could not be fetched: the server says ${status} ${statusText}.`);
  return answer.blob();
}

// Each of what is given in turn, as far as the first that is wrong.
async function take(list) {
  stop();
  try {
    for (const { kind, name, blob } of list) await { model: takeModel, photo: takePhoto }[kind](name, await blob());
  } catch (error) {
    stop();
    show("failed", error.message);
  }
}

const chosen = (file, kind) => ({ kind, name: file.name, blob: () => file });
for (const kind of ["model", "photo"]) {
  at(kind).onchange = () => take([...at(kind).files].map((one) => chosen(one, kind)));
}
at("stop").onclick = () => (stop(), show("waiting", "Stopped. Choose a photograph or a model to begin again."));
at("save").onclick = save;
at("edge").oninput = () => at("compare").style.setProperty("--edge", `${at("edge").value}%`);
document.ondragover = (event) => (event.preventDefault(), at("drop").classList.add("over"));
document.ondragleave = () => at("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take([...event.dataTransfer.files].map((one) => chosen(one, one.name.endsWith(".onnx") ? "model" : "photo")));
};

show("waiting", "Choose a model.");
const asked = [...new URLSearchParams(location.search)].filter(([kind]) => kind === "model" || kind === "photo");
take(asked.map(([kind, address]) => ({ kind, name: address.split("/").pop(), blob: () => fetched(address) })));
