// Draws the lanes of a recording on a canvas of the size of the window, and answers to the mouse and the keys.

// From the bottom of a lane to its top. A column of pixels shows the shares of the states in its time.
const STATES = ["holds", "waits", "no-cpu", "ran", "released", "sleeps", "unknown"];
const NAMES = {
  holds: "holds the GIL", waits: "waits for the GIL", "no-cpu": "released, no CPU", ran: "released, runs",
  released: "released, ran or slept", sleeps: "released, sleeps", unknown: "events are missing",
};
const LANE = 18, GAP = 2, CORE = 12, AXIS = 26, MOST_ARROWS = 400;

function duration(us) {
  const [value, unit] = us >= 1e6 ? [us / 1e6, "s"] : us >= 1e3 ? [us / 1e3, "ms"] : [us, "us"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

class Timeline {
  constructor(section, data, bytes) {
    this.section = section;
    this.canvas = section.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.tip = section.querySelector(".tip");
    this.search = section.querySelector("input[type=search]");
    this.base = data.from;
    this.length = data.length;
    this.bytes = bytes;
    this.all = data.lanes.map((lane) => new Lane(lane, bytes, data.length));
    this.cores = data.cores;
    this.stalls = data.stalls;
    // In the order of the stalls, also after the table is sorted.
    this.rows = [...section.querySelectorAll(".stalls tbody tr")];
    this.from = 0;
    this.to = data.length;
    this.top = 0;
    this.range = null;
    this.chosen = null;
    this.pointer = null;
    this.filter();
    this.listen();
    this.resize();
  }

  filter() {
    const words = this.search.value.toLowerCase().trim();
    const stall = this.chosen === null ? null : this.stalls[this.chosen];
    // Threads without a lane have no index.
    const first = stall ? [stall.holder, ...stall.waiters].filter((i) => i !== null).map((i) => this.all[i]) : [];
    this.lanes = [...first, ...this.all.filter((lane) => !first.includes(lane) && (!words || lane.text.includes(words)))];
    this.section.querySelector(".found").textContent = this.lanes.length ? "" : "no thread has this name or id";
    this.top = 0;
    this.tip.hidden = true;
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth || 300;
    this.label = Math.min(180, Math.floor(width * 0.3));
    this.head = AXIS + this.cores.length * (CORE + 1);
    const wanted = this.head + this.all.length * (LANE + GAP) + 4;
    this.height = Math.max(this.head + 60, Math.min(wanted, Math.floor(window.innerHeight * 0.7)));
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.width = width;
    const style = getComputedStyle(document.documentElement);
    this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
    // A colour is #rrggbb, a pixel has its bytes in the order red, green, blue, alpha.
    const pixel = (name) => {
      const [red, green, blue] = [1, 3, 5].map((place) => parseInt(this.colour(name).slice(place, place + 2), 16));
      return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
    };
    this.pixels = STATES.map(pixel);
    this.back = pixel("back");
    this.draw();
  }

  draw() {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.paint();
      });
    }
  }

  // The column of a time, and back, in CSS pixels.
  x(time) { return this.label + (time - this.from) / (this.to - this.from) * (this.width - this.label); }
  time(x) { return this.from + (x - this.label) / (this.width - this.label) * (this.to - this.from); }

  paint() {
    const { context, ratio, width, height, label } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.colour("back");
    context.fillRect(0, 0, width, height);
    this.paintLanes();
    context.font = "11.5px ui-monospace, monospace";
    context.textBaseline = "middle";
    this.paintLabels();
    this.paintAxis();
    this.paintCores();
    this.paintArrows();
    if (this.range) {
      // Not over the lanes, whose colours have a meaning.
      const [from, to] = this.range.map((time) => Math.min(width, Math.max(label, this.x(time))));
      context.fillStyle = this.colour("mark");
      context.globalAlpha = 0.25;
      context.fillRect(from, 0, to - from, AXIS);
      context.globalAlpha = 1;
      for (const x of [from, to]) context.fillRect(x - 0.5, 0, 1, height);
    }
    // For whoever reads the page by a program.
    Object.assign(this.canvas.dataset, { from: (this.base + this.from) / 1e6, to: (this.base + this.to) / 1e6, label, head: this.head });
  }

  visible() {
    const first = Math.floor(this.top / (LANE + GAP));
    const count = Math.ceil((this.height - this.head) / (LANE + GAP)) + 1;
    return this.lanes.slice(first, first + count).map((lane, i) => [lane, this.head + (first + i) * (LANE + GAP) - this.top]);
  }

  paintLanes() {
    const { ratio, label, pixels, back } = this;
    const left = Math.round(label * ratio), columns = this.canvas.width - left, rows = Math.round(LANE * ratio);
    if (columns <= 0) return;
    if (!this.image || this.image.width !== columns || this.image.height !== rows) {
      this.image = this.context.createImageData(columns, rows);
      this.words = new Uint32Array(this.image.data.buffer);
    }
    const shares = new Float64Array(STATES.length), step = (this.to - this.from) / columns;
    const heights = new Uint16Array(STATES.length * columns);
    for (const [lane, y] of this.visible()) {
      this.words.fill(back);
      for (let column = 0; column < columns; column++) {
        const from = this.from + column * step;
        lane.shares(from, from + step, shares);
        let sum = 0;
        for (let state = 0; state < STATES.length; state++) {
          sum += shares[state];
          heights[state * columns + column] = Math.round(sum * rows);
        }
      }
      for (let state = STATES.length - 1; state >= 0; state--) {
        const colour = pixels[state];
        for (let column = 0; column < columns; column++) {
          const low = state ? heights[(state - 1) * columns + column] : 0;
          const high = Math.min(rows, heights[state * columns + column]);
          for (let row = low; row < high; row++) this.words[(rows - 1 - row) * columns + column] = colour;
        }
      }
      this.context.putImageData(this.image, left, Math.round(y * ratio));
      this.paintExact(lane, y + LANE);
    }
  }

  // Marks where the events of a lane are exact.
  paintExact(lane, y) {
    this.context.fillStyle = this.colour("dim");
    for (const part of lane.parts().exact) {
      const [from, to] = [Math.max(this.label, this.x(part.from)), Math.min(this.width, this.x(part.to))];
      if (from < to) this.context.fillRect(from, y, to - from, 1);
    }
  }

  paintLabels() {
    const { context, label, head, width, height } = this;
    context.fillStyle = this.colour("back");
    context.fillRect(0, head, label, height - head);
    const stall = this.chosen === null ? null : this.stalls[this.chosen];
    const most = Math.floor((label - 8) / 7);
    for (const [lane, y] of this.visible()) {
      const role = !stall ? "" : stall.holder !== null && this.all[stall.holder] === lane ? "\u25cf " : stall.waiters.some((i) => this.all[i] === lane) ? "\u25cb " : "";
      const text = role + lane.label;
      context.fillStyle = this.colour("text");
      context.fillText(text.length > most ? `${text.slice(0, most - 1)}\u2026` : text, 4, y + LANE / 2);
    }
    context.fillStyle = this.colour("back");
    context.fillRect(0, 0, width, head);
  }

  paintAxis() {
    const { context, width, height, label } = this;
    const length = this.to - this.from, wanted = Math.max(2, Math.floor((width - label) / 110));
    const power = 10 ** Math.floor(Math.log10(length / wanted));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => length / step <= wanted);
    const digits = Math.max(0, Math.ceil(-Math.log10(step / 1e6)));
    context.strokeStyle = this.colour("line");
    context.fillStyle = this.colour("dim");
    const offset = this.base + this.from;
    for (let tick = Math.ceil(offset / step) * step; tick <= offset + length; tick += step) {
      const x = this.x(tick - this.base);
      context.beginPath();
      context.moveTo(x, AXIS - 6);
      context.lineTo(x, height);
      context.globalAlpha = 0.5;
      context.stroke();
      context.globalAlpha = 1;
      if (x < width - 30) context.fillText(`${(tick / 1e6).toFixed(digits)} s`, x + 3, 9);
    }
    this.stalls.forEach((stall, index) => {
      const x = this.x(stall.at);
      if (x < label || x > width) return;
      context.fillStyle = this.colour(index === this.chosen ? "mark" : "waits");
      context.beginPath();
      context.moveTo(x, AXIS - 2);
      context.lineTo(x - 3.5, AXIS - 9);
      context.lineTo(x + 3.5, AXIS - 9);
      context.fill();
    });
  }

  paintCores() {
    const { context, width, label } = this;
    this.cores.forEach((core, i) => {
      const y = AXIS + i * (CORE + 1);
      context.fillStyle = this.colour("dim");
      context.fillText(`core ${core.core}`, 4, y + CORE / 2);
      const step = this.length / core.count;
      for (let bucket = Math.floor(this.from / step); bucket < Math.min(core.count, this.to / step); bucket++) {
        const busy = this.bytes[core.offset + bucket];
        const [left, right] = [Math.max(label, this.x(bucket * step)), Math.min(width, this.x((bucket + 1) * step))];
        if (right <= left) continue;
        const share = busy === UNKNOWN ? 0 : busy / LEVELS;
        context.fillStyle = this.colour("core");
        context.fillRect(left, y + CORE * (1 - share), right - left, CORE * share);
      }
    });
  }

  // The arrows from a hold to the next one of the same GIL by a thread that waited, if both are exact and not too many.
  handovers() {
    const gils = new Map(), places = new Map(this.visible()), gilOf = (lane) => `${lane.pid} ${lane.gil}`;
    const inexact = (lanes) => lanes.filter((lane) => !(lane.part(this.from, this.to) instanceof Exact)).map(gilOf);
    // Without the holds of all threads, the one before is unknown. Most often, a lane that is visible shows that already.
    const visible = [...places.keys()], shown = new Set(visible.map(gilOf)), unknown = new Set(inexact(visible));
    const lanes = this.all.filter((lane) => shown.has(gilOf(lane)) && !unknown.has(gilOf(lane)));
    inexact(lanes).forEach((gil) => unknown.add(gil));
    for (const lane of lanes) {
      const gil = gilOf(lane), part = lane.part(this.from, this.to);
      if (unknown.has(gil)) continue;
      const y = places.has(lane) ? places.get(lane) + LANE / 2 : null;
      const last = part.at(this.to);
      for (let i = part.at(this.from); i <= last; i++) {
        if (part.states[i] !== 1) continue;
        const waited = i > 0 && part.states[i - 1] === 2;
        if (!gils.has(gil)) gils.set(gil, []);
        gils.get(gil).push({ from: part.ends[i], to: part.ends[i + 1], y, lane, waited });
        if (gils.get(gil).length > MOST_ARROWS) return [];
      }
    }
    const found = [];
    for (const holds of gils.values()) {
      holds.sort((one, other) => one.from - other.from);
      for (let i = 1; i < holds.length; i++) {
        const isShown = holds[i].y !== null && holds[i - 1].y !== null;
        if (isShown && holds[i].waited && holds[i].lane !== holds[i - 1].lane) found.push([holds[i - 1], holds[i]]);
      }
    }
    return found;
  }

  paintArrows() {
    const { context, label, head, width, height } = this;
    context.save();
    context.beginPath();
    context.rect(label, head, width - label, height - head);
    context.clip();
    context.strokeStyle = context.fillStyle = this.colour("text");
    for (const [one, next] of this.handovers()) {
      const [x0, x1, up] = [this.x(one.to), this.x(next.from), next.y < one.y ? 1 : -1];
      context.beginPath();
      context.moveTo(x0, one.y);
      context.lineTo(x1, next.y + up * 4);
      context.stroke();
      context.beginPath();
      context.moveTo(x1, next.y);
      context.lineTo(x1 - 3, next.y + up * 6);
      context.lineTo(x1 + 3, next.y + up * 6);
      context.fill();
    }
    context.restore();
  }

  // Where the pointer is, or in the middle.
  centre() { return this.pointer === null ? (this.from + this.to) / 2 : this.time(this.pointer); }
  zoom(factor, centre = this.centre()) {
    const length = Math.min(this.length, Math.max(10, (this.to - this.from) * factor));
    this.show(centre - (centre - this.from) / (this.to - this.from) * length, length);
  }
  pan(part) { this.show(this.from + part * (this.to - this.from), this.to - this.from); }
  show(from, length) {
    this.from = Math.max(0, Math.min(from, this.length - length));
    this.to = this.from + length;
    this.tip.hidden = true;
    this.draw();
  }
  scroll(pixels) {
    const most = Math.max(0, this.lanes.length * (LANE + GAP) - (this.height - this.head));
    const top = Math.min(most, Math.max(0, this.top + pixels)), moved = top !== this.top;
    this.top = top;
    this.draw();
    return moved;
  }

  choose(index) {
    const { at, end } = this.stalls[index], length = Math.max(20, (end - at) * 1.6);
    this.chosen = index;
    this.filter();
    this.show((at + end - length) / 2, Math.min(length, this.length));
    this.rows.forEach((row, i) => row.classList.toggle("chosen", i === index));
    this.measure(at, end);
    // The keys are then those of the picture.
    this.canvas.focus({ preventScroll: true });
    const { top, bottom } = this.canvas.getBoundingClientRect();
    if (top < 0 || bottom > window.innerHeight) this.section.querySelector(".legend").scrollIntoView();
  }

  // Shows what each thread did in a range.
  measure(from, to) {
    this.range = [from, to];
    const shares = new Float64Array(STATES.length);
    const found = this.all.map((lane) => {
      lane.shares(from, to, shares);
      return { lane, times: Array.from(shares, (share) => share * (to - from)) };
    });
    found.sort((one, other) => other.times[0] + other.times[1] - one.times[0] - one.times[1]);
    const seconds = (time) => ((this.base + time) / 1e6).toFixed(6);
    this.section.querySelector(".range").textContent = `${duration(to - from)} from ${seconds(from)} s to ${seconds(to)} s`;
    const table = document.createElement("table"), head = table.createTHead().insertRow();
    for (const title of ["in this range", ...STATES.map((state) => NAMES[state])]) {
      const cell = document.createElement("th");
      cell.textContent = title;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const { lane, times } of found.slice(0, 12)) {
      const row = body.insertRow();
      row.insertCell().textContent = lane.label;
      for (const time of times) {
        const cell = row.insertCell();
        cell.className = "number";
        cell.textContent = time < 0.5 ? "" : duration(time);
      }
    }
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(table);
    this.section.querySelector(".totals").replaceChildren(scroll);
    this.draw();
  }

  clear() {
    this.range = this.chosen = null;
    this.section.querySelector(".range").textContent = "";
    this.section.querySelector(".totals").replaceChildren();
    this.section.querySelectorAll(".chosen").forEach((row) => row.classList.remove("chosen"));
    this.search.value = "";
    this.filter();
  }

  hover(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const x = event.clientX - left, y = event.clientY - top;
    this.pointer = Math.max(x, this.label);
    const lane = y < this.head ? null : this.lanes[Math.floor((y - this.head + this.top) / (LANE + GAP))];
    const stall = y < AXIS ? this.stallAt(x) : undefined;
    this.canvas.style.cursor = stall === undefined ? "" : "pointer";
    this.tip.hidden = stall === undefined && (!lane || x < this.label);
    if (this.tip.hidden) return;
    const step = (this.to - this.from) / (this.width - this.label);
    this.tip.textContent = stall === undefined ? this.describe(lane, this.time(x), step) : this.describeStall(stall);
    const right = x > this.width / 2;
    this.tip.style.left = right ? "" : `${x + 12}px`;
    this.tip.style.right = right ? `${this.width - x + 12}px` : "";
    this.tip.style.top = `${y + 14}px`;
  }

  describe(lane, time, step) {
    const heading = (at) => `${lane.name}, thread ${lane.tid}, process ${lane.pid}\n${((this.base + at) / 1e6).toFixed(6)} s: `;
    const shares = new Float64Array(STATES.length), part = lane.part(time, time);
    const list = () => STATES.map((state, i) => [shares[i], NAMES[state]]).filter(([share]) => share >= 0.005)
      .map(([share, name]) => `${name} ${(100 * share).toFixed(0)} %`).join("\n") || "not there";
    if (part instanceof Exact && time >= part.from && time < part.to) {
      const i = part.at(time), [from, to] = [part.ends[i], part.ends[i + 1]];
      if (to - from >= step) {
        lane.shares(from, to, shares);
        return `${heading(from)}for ${duration(to - from)}\n${list()}`;
      }
    }
    const length = part instanceof Shares ? Math.max(step, part.step) : step;
    lane.shares(time - length / 2, time + length / 2, shares);
    return `${heading(time)}shares in ${duration(length)}\n${list()}`;
  }

  describeStall(index) {
    const [at, lost, held, holder, waited, cause, call] = [...this.rows[index].cells].map(
      (cell) => (cell.querySelector("summary") || cell).textContent.trim());
    return `stall at ${at}: ${holder} held the GIL for ${held}\n${waited} lost ${lost}\n${cause ? `${cause}: ` : ""}${call}`;
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const keys = {
      w: () => this.zoom(0.6), s: () => this.zoom(1 / 0.6), a: () => this.pan(-0.2), d: () => this.pan(0.2),
      "+": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
      ArrowUp: () => this.scroll(-3 * (LANE + GAP)), ArrowDown: () => this.scroll(3 * (LANE + GAP)),
      PageUp: () => this.scroll(this.head - this.height), PageDown: () => this.scroll(this.height - this.head),
      0: () => this.show(0, this.length), Home: () => this.show(0, this.length), "/": () => this.search.focus(), Escape: () => this.clear(),
    };
    const action = keys[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.search.addEventListener("input", () => this.filter());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.clear();
      if (event.key === "Enter" || event.key === "Escape") canvas.focus();
    });
    canvas.addEventListener("wheel", (event) => {
      const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
      if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(event.deltaY / 300), this.time(event.offsetX));
      else if (sideways) this.pan(sideways / this.width);
      else if (!this.scroll(event.deltaY)) return;
      event.preventDefault();
    }, { passive: false });
    let start = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || event.offsetX < this.label) return;
      start = event.offsetX;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.hover(event);
      if (start === null || Math.abs(event.offsetX - start) < 3) return;
      const [from, to] = [start, event.offsetX].sort((one, other) => one - other).map((x) => this.time(Math.max(this.label, x)));
      this.measure(Math.max(0, from), Math.min(this.length, Math.max(to, from + 1)));
    });
    canvas.addEventListener("pointerup", (event) => {
      const stall = start !== null && event.offsetY < AXIS ? this.stallAt(event.offsetX) : undefined;
      if (stall !== undefined) this.choose(stall);
      start = null;
    });
    canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
      this.pointer = null;
    });
    canvas.addEventListener("dblclick", (event) => {
      const time = this.time(event.offsetX);
      if (this.range && time >= this.range[0] && time <= this.range[1]) this.show(this.range[0], Math.max(10, this.range[1] - this.range[0]));
      else this.zoom(0.3, time);
    });
    const actions = { in: "w", out: "s", left: "a", right: "d", all: "0" };
    this.section.querySelectorAll("[data-do]").forEach((button) => {
      button.addEventListener("click", (event) => {
        this.key(new KeyboardEvent("keydown", { key: actions[button.dataset.do] }));
        // Not after the Enter key, with which one goes from button to button.
        if (event.detail) canvas.focus({ preventScroll: true });
      });
    });
    this.section.querySelectorAll(".stalls .go").forEach((button, index) => button.addEventListener("click", () => this.choose(index)));
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  // The stall whose mark is at a column.
  stallAt(x) {
    const distance = (index) => Math.abs(this.x(this.stalls[index].at) - x);
    const nearest = this.stalls.map((_, index) => index).sort((one, other) => distance(one) - distance(other))[0];
    return nearest !== undefined && distance(nearest) < 6 ? nearest : undefined;
  }
}
