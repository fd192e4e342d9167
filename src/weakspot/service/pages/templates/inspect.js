// The page Inspect: pictures that are dropped, and thresholds that are tried.
"use strict";
const MOST = 50; // pictures of one address
const MOST_NAMES = 1000; // of files that this tab remembers

// Pictures that were dropped: one after the other, then the page that shows them.
const drop = one("[data-drop]");
if (drop) {
  const names = JSON.parse(sessionStorage.getItem("names") || "{}"); // as they were dropped, by id: the service has none
  all("[data-named]").forEach((each) => { each.textContent = names[each.dataset.named] || each.textContent; });
  const send = async (files) => {
    const ids = [], progress = drop.querySelector("progress");
    progress.hidden = false;
    const refused = [];
    for (const [i, file] of [...files].entries()) {
      const form = new FormData();
      form.append("picture", file);
      say(`${i} of ${files.length} answered`);
      progress.value = i / files.length;
      let answer = await ask("POST", "/v1/inspections", form, null);
      while (answer.said.type === "urn:weakspot:full") {
        await new Promise((done) => setTimeout(done, 1000));
        answer = await ask("POST", "/v1/inspections", form, null);
      }
      const result = answer.said.result || answer.said;
      if (result.id) { ids.push(result.id); names[result.id] = file.name; } else refused.push(`${file.name}: ${answer.said.detail}`);
    }
    progress.hidden = true;
    if (ids.length > MOST) refused.push(`the last ${MOST} of ${ids.length} are shown; all of them are in the stream`);
    return { ids: ids.slice(-MOST), refused: refused.join("\n") };
  };
  const sent = async (files) => {
    const { ids, refused } = await during(send(files));
    say(refused);
    if (!ids.length) return;
    sessionStorage.setItem("said", refused);
    sessionStorage.setItem("names", JSON.stringify(Object.fromEntries(Object.entries(names).slice(-MOST_NAMES))));
    location.assign(`/inspect?${ids.map((id) => `id=${id}`).join("&")}`);
  };
  drop.querySelector("input").addEventListener("change", (event) => sent(event.target.files));
  for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) sent(event.dataTransfer.files);
  });
}

// Thresholds under the hand: what would be decided where the marks stand. It changes nothing.
const scale = one("[data-try]");
if (scale) {
  const [good, bad] = scale.querySelectorAll("input"), marks = [good, bad], first = marks.map((mark) => mark.value);
  const dot = scale.querySelector(".dot"), band = scale.querySelector(".band"), scores = all("[data-at]").map((each) => Number(each.dataset.at));
  const decided = (score) => (score >= bad.valueAsNumber ? "bad" : score < good.valueAsNumber ? "good" : "review");
  const raw = (mark, i) => (mark.value === first[i] ? mark.dataset.raw : Math.log(mark.value / (1 - mark.value)).toFixed(3));
  const show = () => {
    marks.forEach((mark) => { const text = mark.valueAsNumber.toFixed(2); mark.setAttribute("aria-valuetext", text); one(`[data-told=${mark.dataset.limit}]`).textContent = text; });
    Object.assign(band.style, { left: `${100 * good.value}%`, right: `${100 * (1 - bad.value)}%` });
    const would = decided(parseFloat(dot.style.left) / 100), all_ = scores.map(decided);
    all("[data-would]").forEach((each) => { each.hidden = each.dataset.would !== would; });
    const counts = ["good", "review", "bad"].map((word) => `${all_.filter((each) => each === word).length} ${word}`);
    one("[data-counts]").textContent = scores.length > 1 ? `; of the ${scores.length} here ${counts.join(", ")}` : "";
    one("[data-tried]").hidden = marks.every((mark, i) => mark.value === first[i]);
    const take = one("[data-take]"), asked = marks.map((mark, i) => `${mark.dataset.limit}=${raw(mark, i)}`);
    if (take) take.href = `/models?model=${scale.dataset.model}&${asked.join("&")}`;
  };
  marks.forEach((mark) => mark.addEventListener("input", () => {
    mark.value = Math.min(0.999, Math.max(0.001, mark.value)); // whose raw scores are finite
    if (good.valueAsNumber > bad.valueAsNumber) marks.forEach((each) => { each.value = mark.value; });
    show();
  }));
  one("[data-as-they-are]").addEventListener("click", () => { marks.forEach((mark, i) => { mark.value = first[i]; }); show(); good.focus(); });
}
