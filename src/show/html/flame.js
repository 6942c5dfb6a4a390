// Lays out a flame graph in the width of the window, and enlarges the function that is clicked.

const SVG = "http://www.w3.org/2000/svg", LETTER = 6.7;

class Flame {
  constructor(svg) {
    this.svg = svg;
    const { width, height } = svg.viewBox.baseVal;
    this.height = height;
    svg.style.height = `${height}px`;
    this.boxes = [...svg.querySelectorAll("g")].map((group) => {
      const rect = group.querySelector("rect"), name = group.querySelector("title").textContent.split(": held the GIL for ")[0];
      const [x, y, length] = ["x", "y", "width"].map((key) => Number(rect.getAttribute(key)));
      const text = group.querySelector("text") || group.appendChild(document.createElementNS(SVG, "text"));
      text.setAttribute("dx", 3);
      text.setAttribute("y", y + 12);
      // A function is named without its file, a thread as a whole.
      const label = rect.classList.contains("thread") ? name : name.slice(name.lastIndexOf(" ") + 1);
      return { group, rect, text, label, from: x / width, to: (x + length) / width };
    });
    this.all();
    svg.addEventListener("click", (event) => this.choose(event.target.closest("g")));
    new ResizeObserver(() => this.place()).observe(svg);
  }

  all() {
    [this.from, this.to] = [0, 1];
    this.place();
  }

  // A second click shows the whole again.
  choose(group) {
    const box = this.boxes.find((one) => one.group === group);
    if (!box) return;
    if (box.from === this.from && box.to === this.to) return this.all();
    [this.from, this.to] = [box.from, box.to];
    this.place();
  }

  place() {
    const width = this.svg.clientWidth || 300, scale = width / (this.to - this.from);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    for (const { group, rect, text, label, from, to } of this.boxes) {
      const left = Math.max(0, (from - this.from) * scale), right = Math.min(width, (to - this.from) * scale);
      const letters = Math.floor((right - left - 6) / LETTER);
      group.style.display = right - left < 0.3 ? "none" : "";
      rect.setAttribute("x", left);
      rect.setAttribute("width", Math.max(0, right - left));
      text.setAttribute("x", left);
      text.textContent = label.length <= letters ? label : letters < 3 ? "" : `${label.slice(0, letters - 1)}\u2026`;
    }
  }
}
