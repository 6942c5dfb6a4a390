// Starts what the page has: pictures of recordings, flame graphs, and tables to sort.

document.documentElement.classList.add("js");
document.querySelectorAll(".scroll table:not(.matrix)").forEach(makeSortable);
document.querySelectorAll("svg.flame").forEach((svg) => new Flame(svg));
const timelines = [];
for (const section of document.querySelectorAll("section.record")) {
  const element = section.querySelector("script.data");
  if (!element) continue;
  const data = JSON.parse(element.textContent);
  inflate(data.bytes).then((bytes) => timelines.push(new Timeline(section, data, bytes)));
}
document.addEventListener("keydown", (event) => {
  // Without a focus elsewhere, the keys are those of the first picture.
  if (event.target === document.body && timelines.length) {
    timelines[0].key(event);
  }
});
document.querySelector(".theme").addEventListener("click", () => {
  const root = document.documentElement, dark = getComputedStyle(root).colorScheme.includes("dark");
  root.dataset.theme = dark ? "light" : "dark";
  timelines.forEach((timeline) => timeline.resize());
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timelines.forEach((timeline) => timeline.resize()));
