"use strict";
(() => {
  const { plots, timeline, tolerance, offset_s: offset, uncertainty_ms: uncertainty, master_s: masterLength } =
    JSON.parse(document.getElementById("figures").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const element = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const charts = [];

  // --- words ---------------------------------------------------------------------------------------------------

  const clock = (s) => {
    const whole = Math.round(Math.abs(s) * 1000), sign = s < 0 && whole ? "-" : "";
    const [h, m, rest] = [Math.floor(whole / 3600000), Math.floor(whole / 60000) % 60, (whole % 60000) / 1000];
    const seconds = rest.toFixed(rest % 1 ? 1 : 0).padStart(rest % 1 ? 4 : 2, "0");
    return `${sign}${h ? `${h}:${String(m).padStart(2, "0")}` : m}:${seconds}`;
  };
  const word = (ms) => (ms < 0 ? "late" : "early");
  // One unit for a whole axis: seconds where it reaches beyond two of them.
  const side = (ticks) => {
    const known = ticks.filter((v) => v !== null);
    const inSeconds = Math.max(...known.map(Math.abs)) >= 2000;
    return ticks.map((v) => v === null ? null : Math.abs(v) < 1e-6 ? "0"
      : `${inSeconds ? `${+(Math.abs(v) / 1000).toFixed(3)} s` : `${+Math.abs(v).toFixed(3)} ms`} ${word(v)}`);
  };
  const each = (words) => (ticks) => ticks.map((v) => (v === null ? null : words(v)));

  // --- what all charts share -------------------------------------------------------------------------------------

  const axis = (values, more = {}) => ({
    values: (_, ticks) => values(ticks),
    stroke: () => color("ink"),
    grid: { stroke: () => color("line"), width: 1 },
    ticks: { stroke: () => color("line"), width: 1 },
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
    ...more,
  });

  const show = (id, data, options) => {
    const home = element(id);
    if (!home) return;
    const size = () => ({ width: Math.max(260, home.clientWidth), height: options.height });
    const chart = new uPlot({ legend: { show: false }, ...options, ...size() }, data, home);
    charts.push(() => { chart.setSize(size()); chart.redraw(false, true); });
  };

  const fill = (u, x0, x1, y0, y1, paint) => {
    const left = Math.max(u.bbox.left, u.valToPos(x0, "x", true));
    const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(x1, "x", true));
    const top = Math.max(u.bbox.top, Math.min(y0, y1)), bottom = Math.min(u.bbox.top + u.bbox.height, Math.max(y0, y1));
    if (right < left || bottom <= top) return;
    u.ctx.fillStyle = paint;
    u.ctx.fillRect(left, top, Math.max(right - left, 2), bottom - top);
  };

  const upright = (u, x, paint, text) => {
    const at = u.valToPos(x, "x", true);
    if (at < u.bbox.left || at > u.bbox.left + u.bbox.width) return;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = paint;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5, 4]);
    ctx.beginPath(); ctx.moveTo(at, u.bbox.top); ctx.lineTo(at, u.bbox.top + u.bbox.height); ctx.stroke();
    if (text) {
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textBaseline = "top";
      ctx.textAlign = at > u.bbox.left + u.bbox.width * 0.75 ? "right" : "left";
      ctx.fillText(` ${text} `, at, u.bbox.top + 2);
    }
    ctx.restore();
  };

  // --- offset over time ------------------------------------------------------------------------------------------

  const matches = timeline.filter((s) => s.kind === "match" && s.master_start !== null && s.dub_start !== null);
  const lacking = timeline.filter((s) => s.kind !== "match" && s.master_start !== null);
  // Where the dub alone has something, the master stands still.
  const inserted = timeline.flatMap((s, i) => {
    if (s.kind !== "inserted") return [];
    const before = timeline.slice(0, i).findLast((other) => other.master_end !== null);
    return [{ at: before ? before.master_end : 0, length: s.dub_end - s.dub_start }];
  });
  const pencil = uPlot.sync("time");
  const timeAxis = { padding: [10, 18, 0, 0], scales: { x: { time: false, range: [0, masterLength] } }, cursor: { sync: { key: pencil.key }, drag: { x: true, y: false } } };
  // Whole parts of minutes and hours.
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 18000];
  const leftRoom = 104;

  const offsets = () => {
    const points = [];
    for (const s of matches) {
      points.push([s.master_start, 1000 * (s.master_start - s.dub_start), null, null]);
      points.push([s.master_end, 1000 * (s.master_end - s.dub_end), null, null]);
      points.push([s.master_end, null, null, null]);
    }
    const windows = plots?.windows;
    windows?.master_s.forEach((at, i) => {
      const home = matches.find((s) => s.master_start <= at && at <= s.master_end);
      // A window that reaches over a cut has its middle where nothing matches.
      if (!home) return;
      const share = (at - home.master_start) / (home.master_end - home.master_start);
      const answer = 1000 * (at - home.dub_start - share * (home.dub_end - home.dub_start));
      points.push([at, answer, windows.agrees[i] ? windows.ahead_ms[i] : null, windows.agrees[i] ? null : windows.ahead_ms[i]]);
    });
    points.sort((a, b) => a[0] - b[0]);
    return [0, 1, 2, 3].map((column) => points.map((p) => p[column]));
  };

  const offsetRange = (data) => {
    const known = [...data[1], ...data[2]].filter((v) => v !== null);
    if (!known.length) return [-100, 100];
    let low = Math.min(...known), high = Math.max(...known);
    const room = Math.max(2, (high - low) * 0.12, 1.3 * uncertainty);
    return [low - room, high + room];
  };

  if (matches.length) {
    const data = offsets();
    show("chart-offset", data, {
      height: 300,
      ...timeAxis,
      scales: { ...timeAxis.scales, y: { range: () => offsetRange(data) } },
      axes: [axis(each(clock), { label: "in the master", incrs: steps }), axis(side, { size: leftRoom })],
      series: [
        {},
        { stroke: () => color("answer"), width: 3, spanGaps: false, points: { show: false } },
        { paths: () => null, points: { show: true, size: 6, fill: () => color("answer"), stroke: () => color("paper"), width: 1 } },
        { paths: () => null, points: { show: true, size: 5, fill: () => color("paper"), stroke: () => color("faint"), width: 1 } },
      ],
      hooks: {
        drawClear: [(u) => {
          const y = (v) => u.valToPos(v, "y", true);
          const { top, height } = u.bbox;
          for (const s of lacking) fill(u, s.master_start, s.master_end, top, top + height, color("shade"));
          u.ctx.save();
          u.ctx.globalAlpha = 0.16;
          fill(u, 0, masterLength, y(tolerance.early_ms), y(-tolerance.late_ms), color("good"));
          for (const s of matches) {
            const ahead = 1000 * (s.master_start - s.dub_start), moved = 1000 * (s.master_end - s.dub_end);
            // At a speed the line is steep, and its interval too narrow to be seen.
            if (Math.abs(moved - ahead) < uncertainty) fill(u, s.master_start, s.master_end, y(ahead + uncertainty), y(ahead - uncertainty), color("answer"));
          }
          u.ctx.restore();
        }],
        draw: [(u) => {
          for (const s of inserted) upright(u, s.at, color("bad"), `${s.length.toFixed(1)} s inserted`);
        }],
      },
    });
  }

  // --- where dialogue and matches lie ----------------------------------------------------------------------------

  const onMaster = ([from, to]) => matches.flatMap((s) => {
    const a = Math.max(from, s.dub_start), b = Math.min(to, s.dub_end);
    if (a >= b) return [];
    const speed = (s.master_end - s.master_start) / (s.dub_end - s.dub_start);
    return [[s.master_start + (a - s.dub_start) * speed, s.master_start + (b - s.dub_start) * speed]];
  });
  const lanes = [
    ["matches", matches.map((s) => [s.master_start, s.master_end]), "good"],
    ["master speaks", plots?.master_speech, "answer"],
    // Without an answer the dub is drawn as it is.
    ["dub speaks", matches.length ? plots?.dub_speech?.flatMap(onMaster) : plots?.dub_speech, "other"],
  ].filter(([, spans]) => spans?.length);
  if (lanes.length) {
    show("chart-lanes", [[0, masterLength], [null, null]], {
      height: 62 + 26 * lanes.length,
      ...timeAxis,
      scales: { ...timeAxis.scales, y: { range: [-lanes.length, 0] } },
      axes: [axis(each(clock), { incrs: steps }), axis(each(String), { size: leftRoom, grid: { show: false }, ticks: { show: false }, splits: () => lanes.map((_, i) => -i - 0.5), values: () => lanes.map(([name]) => name) })],
      series: [{}, {}],
      hooks: {
        draw: [(u) => lanes.forEach(([, spans, paint], i) => {
          const [top, bottom] = [u.valToPos(-i - 0.15, "y", true), u.valToPos(-i - 0.85, "y", true)];
          for (const [from, to] of spans) fill(u, from, to, top, bottom, color(paint));
        })],
      },
    });
  }

  // --- correlation -----------------------------------------------------------------------------------------------

  const lagChart = (id, curve, middle, marks, label, labels) => {
    if (!curve) return;
    const x = curve.deviations.map((_, i) => 1000 * (curve.first_s + i * curve.step_s - middle));
    const highest = Math.max(curve.needed * 1.2, ...curve.deviations);
    show(id, [x, curve.deviations], {
      height: 240,
      padding: [12, 60, 0, 0],
      scales: { x: { time: false, range: [x[0], x.at(-1)] }, y: { range: [Math.min(0, ...curve.deviations), highest * 1.08] } },
      axes: [axis(labels, { space: 110, label }), axis(each(String), { size: 60, label: "deviations of chance" })],
      series: [{}, { stroke: () => color("answer"), width: 1.5, points: { show: false } }],
      hooks: {
        drawClear: [(u) => {
          u.ctx.save();
          u.ctx.globalAlpha = 0.14;
          fill(u, x[0], x.at(-1), u.valToPos(curve.needed, "y", true), u.bbox.top + u.bbox.height, color("faint"));
          u.ctx.restore();
        }],
        draw: [(u) => marks.forEach((at, i) => upright(u, 1000 * (at - middle), color("good"), i ? "" : "the answer"))],
      },
    });
  };
  const answers = [...new Set([...(offset === null ? [] : [offset]), ...timeline.filter((s) => s.kind === "match" && s.offset_seconds !== null).map((s) => s.offset_seconds)])];
  lagChart("chart-whole", plots?.whole, 0, answers.slice(0, 12), "if the dub lay this early or late", side);
  const beside = each((v) => (Math.abs(v) < 1e-6 ? "0" : `${+Math.abs(v).toFixed(3)} ms ${v < 0 ? "later" : "earlier"}`));
  lagChart("chart-close", plots?.close, offset ?? 0, offset === null ? [] : [offset], "than the answer", beside);

  // --- waveforms and spectrograms ----------------------------------------------------------------------------------

  // From dark to light through purple and orange, readable without colour: lightness rises throughout.
  const stops = [[8, 6, 24], [66, 18, 98], [148, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 200]];
  const shades = Array.from({ length: 256 }, (_, v) => {
    const at = (v / 255) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((from, c) => Math.round(from + (stops[i + 1][c] - from) * (at - i)));
  });
  const paintSound = (canvas, look, columns) => {
    const levels = bytes(look.levels), rows = levels.length / columns;
    canvas.width = columns;
    canvas.height = rows;
    const picture = new ImageData(columns, rows);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      // The lowest band is at the bottom.
      const shade = shades[levels[(rows - 1 - row) * columns + column]], at = 4 * (row * columns + column);
      picture.data.set([...shade, 255], at);
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };
  const butterfly = (id, place, dub) => {
    const up = bytes(place.master.peaks), down = bytes(dub.peaks);
    const x = Array.from(up, (_, i) => place.master_s + (i + 0.5) / up.length * place.length_s);
    const beats = (look, from, to, paint) => (u) => {
      for (const at of look.beats_s) fill(u, place.master_s + at, place.master_s + at, u.valToPos(from, "y", true), u.valToPos(to, "y", true), paint());
    };
    show(id, [x, Array.from(up, (v) => v / 255), Array.from(down, (v) => -v / 255)], {
      height: 150,
      padding: [8, 8, 0, 0],
      scales: { x: { time: false, range: [place.master_s, place.master_s + place.length_s] }, y: { range: [-1.15, 1.15] } },
      axes: [axis(each(clock), { size: 28 }), axis(each((v) => (v < 0 ? "dub" : "master")), { size: 58, grid: { show: false }, ticks: { show: false }, splits: () => [-0.5, 0.5] })],
      series: [
        {},
        { stroke: () => color("answer"), fill: () => color("answer"), width: 1, points: { show: false } },
        { stroke: () => color("other"), fill: () => color("other"), width: 1, points: { show: false } },
      ],
      hooks: { draw: [beats(place.master, 1.02, 1.15, () => color("answer")), beats(dub, -1.15, -1.02, () => color("other"))] },
    });
  };
  plots?.places.forEach((place, i) => {
    for (const [when, dub] of [["before", place.before], ["after", place.after]]) {
      if (!dub || !element(`wave-${i}-${when}`)) continue;
      butterfly(`wave-${i}-${when}`, place, dub);
      paintSound(element(`sound-${i}-${when}-master`), place.master, place.columns);
      paintSound(element(`sound-${i}-${when}-dub`), dub, place.columns);
    }
  });

  // --- size, light and paper -----------------------------------------------------------------------------------

  let waiting = 0;
  const again = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => charts.forEach((draw) => draw())); };
  addEventListener("resize", again);
  addEventListener("beforeprint", () => charts.forEach((draw) => draw()));
  addEventListener("afterprint", again);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => charts.forEach((draw) => draw()));
  document.documentElement.dataset.drawn = String(charts.length);
})();
