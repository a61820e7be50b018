"use strict";
const told = document.getElementById("copied");
const tell = (button, done) => {
  button.textContent = done ? "Copied" : "Not copied";
  told.textContent = done ? "The command was copied." : "The command could not be copied: select it and copy it.";
  setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 4000);
};
// Outside https and localhost a browser has no navigator.clipboard, but copies what is selected.
const select = (text) => {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
};
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = select(text);
      button.focus();
    }
    tell(button, done);
  });
}
