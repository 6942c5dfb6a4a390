"use strict";
// The lanes of a recording, from the data of lanes.rs: times in microseconds since the start of the picture.

const UNKNOWN = 255, LEVELS = 63;

async function inflate(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The time in each of four states (holds, waits, unknown, absent) up to any moment, from shares in equal buckets.
class Shares {
  constructor(bytes, [offset, count], length) {
    this.count = count;
    this.step = length / count;
    this.sums = Array.from({ length: 4 }, (_, state) => {
      const sums = new Float64Array(count + 1);
      for (let i = 0; i < count; i++) {
        sums[i + 1] = sums[i] + bytes[offset + state * count + i] / LEVELS * this.step;
      }
      return sums;
    });
  }
  until(time, out) {
    const x = Math.min(Math.max(time / this.step, 0), this.count), i = Math.min(Math.floor(x), this.count - 1);
    for (let state = 0; state < 4; state++) {
      const sums = this.sums[state];
      out[state] = sums[i] + (x - i) * (sums[i + 1] - sums[i]);
    }
  }
}

// The same from exact stretches. Their states are 0 released, 1 holds, 2 waits, 3 unknown.
class Exact {
  constructor(bytes, [start, offset, count]) {
    this.ends = new Float64Array(count + 1);
    this.states = new Uint8Array(count);
    this.sums = Array.from({ length: 3 }, () => new Float64Array(count + 1));
    this.ends[0] = start;
    for (let i = 0, place = offset; i < count; i++) {
      let value = 0, factor = 1, byte;
      do {
        byte = bytes[place++];
        value += (byte & 127) * factor;
        factor *= 128;
      } while (byte & 128);
      const state = value % 8, length = Math.floor(value / 8);
      this.states[i] = state;
      this.ends[i + 1] = this.ends[i] + length;
      for (let s = 0; s < 3; s++) this.sums[s][i + 1] = this.sums[s][i] + (state === s + 1 ? length : 0);
    }
    this.from = start;
    this.to = this.ends[count];
  }
  // The index of the stretch at a time.
  at(time) {
    let low = 0, high = this.states.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.ends[middle] <= time) low = middle; else high = middle - 1;
    }
    return low;
  }
  until(time, out) {
    const absent = Math.max(0, Math.min(time, this.from)) + Math.max(0, time - this.to);
    const within = Math.min(Math.max(time, this.from), this.to), i = this.at(within);
    for (let s = 0; s < 3; s++) out[s] = this.sums[s][i] + (this.states[i] === s + 1 ? within - this.ends[i] : 0);
    out[3] = absent;
  }
}

class Lane {
  constructor(data, bytes, length) {
    Object.assign(this, { ...data, bytes, length, label: `${data.name} ${data.tid}`, released: null });
    this.usage = data.released;
    this.text = `${data.name} ${data.tid} ${data.pid}`.toLowerCase();
  }
  parts() {
    if (!this.read) {
      const shares = (place) => place && new Shares(this.bytes, place, this.length);
      this.read = { overview: shares(this.overview), fine: shares(this.fine), exact: this.exact.map((one) => new Exact(this.bytes, one)) };
    }
    return this.read;
  }
  // The most exact part that has this time.
  part(from, to) {
    const { overview, fine, exact } = this.parts();
    if (!overview) return exact[0];
    return exact.find((one) => one.from <= from && to <= one.to) || fine || overview;
  }
  // The shares of the seven states from one time to another.
  shares(from, to, out) {
    out.fill(0);
    const part = this.part(from, to);
    if (!part) return false;
    part.until(from, Lane.before);
    part.until(to, Lane.after);
    const length = to - from, of = (i) => Math.max(0, (Lane.after[i] - Lane.before[i]) / length);
    out[0] = of(0);
    out[1] = of(1);
    out[6] = of(2);
    this.split(Math.max(0, 1 - out[0] - out[1] - out[6] - of(3)), (from + to) / 2, out);
    return part instanceof Exact;
  }
  // Splits a released share by the CPU time.
  split(released, time, out) {
    if (!this.usage) {
      out[4] = released;
      return;
    }
    const [offset, count] = this.usage;
    const i = offset + Math.min(count - 1, Math.max(0, Math.floor(time / this.length * count)));
    const ran = this.bytes[i], noCpu = this.bytes[i + count];
    if (ran === UNKNOWN) {
      out[4] = released;
    } else {
      out[2] = released * noCpu / LEVELS;
      out[3] = released * ran / LEVELS;
      out[5] = Math.max(0, released - out[2] - out[3]);
    }
  }
}
Lane.before = new Float64Array(4);
Lane.after = new Float64Array(4);
