"use strict";
const told = document.getElementById("copied");
const outdated = document.getElementById("outdated");

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
const copy = async (button) => {
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
};
const showButtons = () => {
  for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
};
// The buttons come anew with each refresh.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});

// The page asks for itself every minute, and keeps what the reader opened and where the keyboard is.
const EVERY = 60 * 1000;
const TOO_OLD = 3 * EVERY;
const STYLE = /<style[^>]*>([^]*?)<\/style>/;
let title = document.title;
let asOf = Date.now();
let asking = false;

const age = () => {
  const minutes = Math.floor((Date.now() - asOf) / 60000);
  const [number, unit] = minutes < 120 ? [minutes, "minute"] : minutes < 2880 ? [Math.floor(minutes / 60), "hour"] : [Math.floor(minutes / 1440), "day"];
  return number === 0 ? "less than a minute" : `${number} ${unit}${number === 1 ? "" : "s"}`;
};
const isSelected = () => {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && document.getElementById("main").contains(selection.anchorNode);
};
// What it says is no longer known to be so: neither its colour nor its mark may say so.
const confess = (why) => {
  const text = `This page is ${age()} old: ${why} What it says may no longer be so.`;
  if (outdated.textContent !== text) outdated.textContent = text;
  const hero = document.querySelector(".hero");
  hero.classList.add("aged");
  hero.querySelector(".mark").textContent = "?";
  document.title = `? ${age()} old · ${title}`;
};
const labelled = (element) => element.getAttribute("aria-label") ?? element.textContent;
const take = (fresh) => {
  const kept = new Set([...document.querySelectorAll("details[open]")].map((each) => each.dataset.keep));
  const { tagName, id } = document.activeElement;
  const label = labelled(document.activeElement);
  const before = document.getElementById("headline").textContent;
  for (const place of ["main", "as-of"]) {
    document.getElementById(place).replaceChildren(...document.adoptNode(fresh.getElementById(place)).childNodes);
  }
  for (const each of document.querySelectorAll("details")) each.open = kept.has(each.dataset.keep);
  showButtons();
  if (document.activeElement === document.body && tagName !== "BODY") {
    const same = [...document.querySelectorAll(tagName)].find((each) => each.id === id && labelled(each) === label);
    same?.focus({ preventScroll: true });
  }
  title = fresh.title;
  document.title = title;
  outdated.textContent = "";
  const now = document.getElementById("headline").textContent;
  if (now !== before) told.textContent = now;
};
const refresh = async () => {
  if (asking || document.hidden) return;
  if (isSelected()) {
    if (Date.now() - asOf > TOO_OLD) confess("it is not refreshed while text on it is selected.");
    return;
  }
  asking = true;
  try {
    const address = location.origin + location.pathname;
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(EVERY / 2) });
    if (!answer.ok) {
      confess(answer.status === 401 ? "the service asks for its token again; load the page again." : `the service answers with ${answer.status}.`);
      return;
    }
    const text = await answer.text();
    // Another version of this service has another style. The one in the text is not parsed: its nonce is not this page's.
    const style = text.match(STYLE)?.[1];
    const fresh = new DOMParser().parseFromString(text.replace(STYLE, ""), "text/html");
    if (fresh.getElementById("headline") === null) {
      confess("something else answers in the place of the service.");
      return;
    }
    if (style !== document.querySelector("style").textContent) {
      location.reload();
    } else if (!isSelected()) {
      take(fresh);
      asOf = Date.now();
    }
  } catch {
    confess("the service does not answer.");
  } finally {
    asking = false;
  }
};

showButtons();
if (location.protocol !== "file:") {
  setInterval(refresh, EVERY);
  document.addEventListener("visibilitychange", refresh);
}
