// The page Inspect: pictures that are dropped, and thresholds that are tried.
"use strict";
const MOST = 50; // pictures of one address

// Pictures that were dropped: one after the other, then the page that shows them.
const drop = one("[data-drop]");
if (drop) {
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
      if (result.id) ids.push(result.id); else refused.push(`${file.name}: ${answer.said.detail}`);
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
    location.assign(`/inspect?${ids.map((id) => `id=${id}`).join("&")}`);
  };
  drop.querySelector("input").addEventListener("change", (event) => sent(event.target.files));
  for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) sent(event.dataTransfer.files);
  });
}
