// What a page does in the browser. Every change is asked for over the HTTP interface, with the words that it answers.
"use strict";
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const say = (text) => { one("#said").textContent = text; };

// What is not answered yet goes on when the page is left, and whoever leaves it is asked first.
let pending = 0;
async function during(promise) {
  pending += 1;
  try { return await promise; } finally { pending -= 1; }
}
addEventListener("beforeunload", (event) => { if (pending) event.preventDefault(); });

async function ask(method, path, body, kind = "application/json") {
  const headers = { "X-CSRF-Token": one("meta[name=csrf]").content, Accept: "application/json" };
  if (kind) headers["Content-Type"] = kind;
  const keepalive = !body || typeof body === "string"; // of files a browser keeps no more than 64 kB
  const answer = await during(fetch(path, { method, headers, body, keepalive })).catch(() => null);
  const refused = (status, detail) => ({ ok: false, status, said: { detail } });
  if (!answer) return refused(0, "the service does not answer; look whether it runs, and try again");
  if (answer.status === 401) return refused(401, "you are not logged in any more; load the page again");
  const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  return { ok: answer.ok, status: answer.status, said };
}

const carried = sessionStorage.getItem("said"); // by the page before
if (carried) { sessionStorage.removeItem("said"); say(carried); }

one("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone the row of pages is wider

// The picture: heat at the opacity last used, bare while Space is held; in review the other way round. Zoom and pan.
const stage = one("[data-stage]");
const view = { scale: 1, x: 0, y: 0 };
const hold = (on) => document.body.classList.toggle("held", on);
function shade(opacity) { document.documentElement.style.setProperty("--opacity", opacity); }
function place() {
  stage.querySelector(".pic").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  stage.classList.toggle("close", view.scale > 3);
}
function zoom(by, x, y) {
  const scale = Math.min(40, Math.max(1, view.scale * by)), ratio = scale / view.scale;
  const box = stage.querySelector(".pic").getBoundingClientRect();
  const [left, top] = [(x ?? box.left + box.width / 2) - box.left, (y ?? box.top + box.height / 2) - box.top];
  Object.assign(view, scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: view.x + left * (1 - ratio), y: view.y + top * (1 - ratio) });
  place();
}
function fit() { Object.assign(view, { scale: 1, x: 0, y: 0 }); place(); }
if (stage) {
  const opacity = one("[data-opacity]"), kept = localStorage.getItem("heat"), blind = "blind" in stage.dataset;
  if (!blind && kept) opacity.value = kept;
  shade(opacity.value);
  opacity.addEventListener("input", () => { shade(opacity.value); if (!blind) localStorage.setItem("heat", opacity.value); });
  document.documentElement.style.setProperty("--kept", Number(kept) || 0.7);
  const held = one("[data-hold]");
  held.addEventListener("pointerdown", () => hold(true));
  for (const name of ["pointerup", "pointerleave", "pointercancel"]) held.addEventListener(name, () => hold(false));
  all("[data-zoom]").forEach((button) => button.addEventListener("click", () => (Number(button.dataset.zoom) ? zoom(Number(button.dataset.zoom)) : fit())));
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX, event.clientY); }, { passive: false });
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, d: Math.hypot(a.x - b.x, a.y - b.y) || 1 }; };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); fingers.set(event.pointerId, { x: event.clientX, y: event.clientY }); });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const apart = fingers.size === 2 && spread();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (apart) { const now = spread(); zoom(now.d / apart.d, now.x, now.y); }
    else if (view.scale > 1) { view.x += event.clientX - before.x; view.y += event.clientY - before.y; place(); }
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
}

// Keys. None is taken from somebody who writes.
const writes = (target) => target.closest("input:not([type=range]), select, textarea, [contenteditable]");
const KEYS = {};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
  const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (stage && event.key === " " && !event.target.closest("a, summary, button:not([data-hold])")) { event.preventDefault(); hold(true); }
  else if (stage && moves && event.target === stage) { event.preventDefault(); view.x += moves[0]; view.y += moves[1]; place(); }
  else if (stage && (event.key === "+" || event.key === "-")) zoom(event.key === "+" ? 1.5 : 1 / 1.5);
  else if (stage && event.key === "0") fit();
  else if (event.key === "?" && one("#keys")) one("#keys").showModal();
  else if (KEYS[event.key.toLowerCase()] && !event.repeat && !one("dialog[open]")) { event.preventDefault(); KEYS[event.key.toLowerCase()](); }
});
document.addEventListener("keyup", (event) => { if (event.key === " ") hold(false); });
addEventListener("blur", () => hold(false));

// A verdict on the one inspection of this page.
const judge = one("[data-judge]");
if (judge) {
  const give = async (verdict, more = {}) => {
    const answer = await ask("POST", `/v1/inspections/${judge.dataset.judge}/verdicts`, JSON.stringify({ verdict, ...more }));
    if (answer.ok) location.reload(); else say(answer.said.detail);
  };
  judge.querySelectorAll("[data-verdict]").forEach((button) => button.addEventListener("click", () => give(button.dataset.verdict)));
  const last = one("[data-withdraw]"), withdraw = () => last && give("withdrawn", { after: Number(last.dataset.withdraw) });
  last?.addEventListener("click", withdraw);
  Object.assign(KEYS, { g: () => give("good"), b: () => give("bad"), n: () => give("unsure"), w: withdraw });
}

// What an address answers, anew every few seconds. That it is not live is said, and when it is again.
function live(address, seconds, take) {
  const stale = one("#stale");
  const told = (why) => { if (why && stale.hidden) stale.textContent = `Not live since ${new Date().toLocaleTimeString()}: ${why}. It is tried again.`; stale.hidden = !why; };
  const look = async () => {
    const answer = await fetch(address(), { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(20_000) }).catch(() => null);
    if (answer?.redirected) return location.reload(); // to the log-in
    if (!answer?.ok) return told(answer ? `the service answers ${answer.status} ${answer.statusText}` : "the service does not answer");
    const text = await answer.text();
    if (!stale.hidden) say("Live again.");
    told("");
    take(text);
  };
  const again = async () => {
    if (!document.hidden) await look().catch(() => told("the answer broke off"));
    setTimeout(again, 1000 * seconds);
  };
  setTimeout(again, 1000 * seconds);
}
function livePart(selector, seconds, take) {
  live(() => location.href, seconds, (text) => {
    const found = new DOMParser().parseFromString(text, "text/html").querySelector(selector);
    if (found) take(document.adoptNode(found));
  });
}

// The stream: what is newer is shown at once where nobody has begun to look, and offered where somebody has.
const rows = one("[data-live]");
if (rows) {
  const newer = one("[data-newer]");
  let current = rows, fresh = null;
  const show = () => { if (!fresh) return; current.replaceWith(fresh); current = fresh; fresh = null; newer.hidden = true; };
  newer.addEventListener("click", () => { show(); scrollTo(0, 0); });
  livePart("[data-rows]", 3, (found) => {
    if (found.dataset.newest === current.dataset.newest) return;
    fresh = found;
    if (scrollY === 0 && !current.contains(document.activeElement) && !current.matches(":hover")) show(); else newer.hidden = false;
  });
}

// Forms that change something: their fields as JSON, then the page anew, or what was wrong.
async function changed(form, asked) {
  const button = form.querySelector("button");
  button.disabled = true;
  const answer = await asked;
  button.disabled = false;
  if (!answer.ok) return say(answer.said.detail);
  if (form.dataset.then) location.assign(form.dataset.then + answer.said.id);
  else if (form.dataset.thenGo) location.assign(form.dataset.thenGo);
  else location.reload();
}
function valueOf(input) {
  if ("share" in input.dataset) return input.value ? input.valueAsNumber / 100 : null; // of per cent
  return "number" in input.dataset ? input.valueAsNumber : input.value;
}
all("form[data-post]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  const said = Object.fromEntries([...form.querySelectorAll("input, select")].map((input) => [input.name, valueOf(input)]));
  changed(form, ask("POST", form.dataset.post, JSON.stringify(said)));
}));
all("form[data-upload]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed(form, ask("POST", form.dataset.upload, form.querySelector("input").files[0], "application/octet-stream"));
}));
all("form[data-delete]").forEach((form) => form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed(form, ask("DELETE", form.dataset.delete));
}));

// What a training or a comparison has come to: its part of the page anew while it runs, the whole page when it ends.
const poll = one("[data-poll]");
if (poll && poll.dataset.poll.endsWith(" running")) {
  let current = poll;
  livePart("[data-poll]", 2, (found) => {
    if (found.dataset.poll !== poll.dataset.poll) return location.reload();
    if (current.contains(document.activeElement)) return;
    current.replaceWith(found);
    current = found;
  });
}
