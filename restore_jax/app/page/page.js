"use strict";
// States of the page: choose -> work -> result. #job=ID&at=50&strength=100 names a result, so that a reload keeps it.

const $ = (id) => document.getElementById(id);
let job = null; // the state of the photograph as the server last said it

const show = (section) => ["choose", "work", "result"].forEach((id) => ($(id).hidden = id !== section));

function fail(text) {
  $("error").textContent = text;
  $("error").hidden = false;
  forget();
  show("choose");
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: is it still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `The server answered ${answer.status}.`);
}

function forget() {
  if (job) fetch(`jobs/${job.id}`, { method: "DELETE" }).catch(() => {});
  job = null;
  $("file").value = "";
  history.replaceState(null, "", location.pathname);
}

function upload(file) {
  $("error").hidden = true;
  show("work");
  $("doing").textContent = `Sending ${file.name} …`;
  const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
  request.upload.onprogress = (event) => ($("progress").value = event.loaded / event.total);
  request.onerror = () => fail("The file could not be sent: is the server still running?");
  request.onload = () => {
    let said = {};
    try { said = JSON.parse(request.responseText); } catch { /* the status says enough */ }
    if (request.status !== 201) return fail(said.error || `The server answered ${request.status}.`);
    follow(said.id);
  };
  $("cancel").onclick = () => { request.abort(); forget(); show("choose"); };
  request.open("POST", `jobs?${new URLSearchParams({ model: $("model").value, name: file.name })}`);
  request.send(file);
}

async function follow(id) {
  job = { id };
  history.replaceState(null, "", `#job=${id}`);
  show("work");
  $("cancel").onclick = () => { forget(); show("choose"); };
  while (job && job.id === id) {
    let said;
    try {
      said = await (await ask(`jobs/${id}`)).json();
    } catch (error) {
      return job && job.id === id ? fail(error.message) : undefined;
    }
    if (!job || job.id !== id) return; // cancelled meanwhile
    Object.assign(job, said);
    if (job.state === "failed") return fail(job.error);
    if (job.state === "done") return result();
    $("doing").textContent =
      job.state === "waiting" ? `Waiting: ${job.ahead} before this one` : `Restoring ${job.name} …`;
    if (job.state === "running" && job.progress > 0) $("progress").value = job.progress;
    else $("progress").removeAttribute("value");
    await new Promise((later) => setTimeout(later, 400));
  }
}

function result() {
  $("before").src = `jobs/${job.id}/before`;
  $("after").src = `jobs/${job.id}/after`;
  $("about").textContent = `${job.name}, ${job.width} × ${job.height} pixels, by ${job.model}`;
  $("suffix").value = job.suffix;
  $("saving").textContent = "";
  show("result");
  draw();
}

// What the server computes for the file, input + strength (restored - input), is what opacity shows.
function draw() {
  const at = $("at").value;
  $("clip").style.clipPath = `inset(0 0 0 ${at}%)`;
  $("handle").style.left = `${at}%`;
  $("after").style.opacity = $("strength").value / 100;
  $("percent").textContent = `${$("strength").value} %`;
}

async function download() {
  const wanted = { strength: $("strength").value / 100, suffix: $("suffix").value, gps: $("gps").checked ? "strip" : "keep" };
  $("download").disabled = true;
  $("saving").textContent = "Writing the file …";
  try {
    const answer = await ask(`jobs/${job.id}/photo?${new URLSearchParams(wanted)}`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${job.name.replace(/\.[^.]*$/, "")}_restored${wanted.suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    $("saving").textContent = `Saved as ${link.download}.`;
  } catch (error) {
    $("saving").textContent = error.message;
  }
  $("download").disabled = false;
}

async function start() {
  const about = await (await ask("models")).json();
  $("model").replaceChildren(...about.models.map((name) => new Option(name)));
  $("which").hidden = about.models.length < 2;
  $("suffix").replaceChildren(...about.suffixes.map((suffix) => new Option(suffix.slice(1).toUpperCase(), suffix)));
  $("limit").textContent = `of up to ${about.max_mb} MB`;
  const named = new URLSearchParams(location.hash.slice(1));
  for (const id of ["at", "strength"]) if (named.has(id)) $(id).value = named.get(id);
  if (named.has("job")) follow(named.get("job"));
}

$("file").onchange = () => $("file").files.length && upload($("file").files[0]);
$("at").oninput = $("strength").oninput = draw;
$("download").onclick = download;
$("again").onclick = () => { forget(); show("choose"); };
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // else the browser opens the file
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && !$("choose").hidden && event.dataTransfer.files.length) upload(event.dataTransfer.files[0]);
  });
}
start().catch((error) => fail(error.message));
