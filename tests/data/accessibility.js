// Rules that a page for everybody keeps, after WCAG 2.2 AA as far as they can be computed. Returns what breaks one.
const broken = [];
const rule = (holds, what) => { if (!holds) broken.push(what); };
const all = (selector) => [...document.querySelectorAll(selector)];
const name = (element) => {
  const by = element.getAttribute("aria-labelledby");
  const text = by ? by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ")
    : element.getAttribute("aria-label") ?? element.textContent;
  return text.trim();
};

rule(document.documentElement.lang === "en", "the page has no language");
rule(document.title.trim() !== "", "the page has no title");
rule(!/user-scalable=no|maximum-scale/.test(document.querySelector("meta[name=viewport]").content), "the page cannot be enlarged");
for (const landmark of ["main", "body > header", "body > footer"]) rule(all(landmark).length === 1, `not one ${landmark}`);
rule(all("h1").length === 1, "not one h1");
let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6")) {
  const own = Number(heading.tagName[1]);
  rule(own <= level + 1, `a heading leaps: ${heading.textContent}`);
  rule(name(heading) !== "", "a heading is empty");
  level = own;
}
const ids = all("[id]").map((element) => element.id);
rule(new Set(ids).size === ids.length, "two elements have one id");
for (const attribute of ["aria-labelledby", "aria-describedby", "data-copy"]) {
  for (const element of all(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(" ")) rule(document.getElementById(id), `${attribute} leads nowhere: ${id}`);
  }
}
for (const section of all("section")) rule(section.hasAttribute("aria-labelledby") && name(section) !== "", "a section has no name");
const labels = all("button").map(name);
rule(labels.every((label) => label !== ""), "a button has no name");
rule(new Set(labels).size === labels.length, "two buttons have one name");
for (const button of all("button")) rule(button.type === "button", "a button submits");
for (const link of all("a")) rule(name(link) !== "" && link.getAttribute("href"), "a link has no name or leads nowhere");
for (const table of all("table")) {
  rule(table.caption && table.caption.textContent !== "", "a table has no caption");
  rule([...table.querySelectorAll("th")].every((cell) => cell.scope), "a head of a table has no scope");
}
for (const svg of all("svg")) {
  const decorative = svg.getAttribute("aria-hidden") === "true";
  rule(decorative || svg.getAttribute("role") === "img" && name(svg) !== "" && svg.querySelector("desc"), "a drawing says nothing");
}
for (const list of all("ul, ol")) rule([...list.children].every((item) => item.tagName === "LI"), "a list holds something else");
rule(all("[tabindex]").every((element) => element.tabIndex <= 0), "the order of focus is changed");
// A colour alone says nothing: each day has a mark and words, each tone a mark.
for (const day of all(".calendar td[class]")) {
  rule(day.querySelector("[aria-hidden]").textContent !== "" && day.querySelector(".hidden").textContent !== "", "a day is a colour only");
}
rule(document.querySelector(".hero .mark").textContent !== "", "the status is a colour only");

// Contrast, of the text that is seen against what is painted behind it.
const channels = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};
const luminance = ({ r, g, b }) => {
  const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const contrast = (one, other) => {
  const [light, dark] = [luminance(one), luminance(other)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.a === 1) return colour;
    if (colour.a > 0) broken.push("a background can be seen through");
  }
  return { r: 255, g: 255, b: 255 };
};
let least = 21;
let seen = 0;
for (const element of all("body *")) {
  const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
  const box = element.getBoundingClientRect();
  if (!text || box.width < 2 || box.height < 2 || element.closest("svg, script, style")) continue;
  const style = getComputedStyle(element);
  const ratio = contrast(channels(style.color), behind(element));
  seen += 1;
  least = Math.min(least, ratio);
  rule(ratio >= 4.5, `contrast ${ratio.toFixed(2)}: ${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}`);
}
for (const bar of all("rect")) {
  const ratio = contrast(channels(getComputedStyle(bar).fill), behind(bar.closest("section")));
  rule(ratio >= 3, `contrast of a bar ${ratio.toFixed(2)}`);
}
rule(seen > 20, `only ${seen} texts were seen`);
// Nothing hangs over the edge, and what is to be touched can be hit.
rule(document.documentElement.scrollWidth <= innerWidth, `the page is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`);
for (const element of all("main *")) {
  const box = element.getBoundingClientRect();
  rule(box.right <= innerWidth + 1 || box.width < 2, `${element.tagName}.${element.className} hangs over the edge`);
}
for (const target of all("button, summary")) {
  const box = target.getBoundingClientRect();
  rule(box.height >= 24 && box.width >= 24, `too small to be touched: ${name(target)}`);
}
return { broken: [...new Set(broken)], least, seen };
