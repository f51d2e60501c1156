"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const MOST = 32; // times the size that fits
  document.documentElement.classList.add("js");

  // What there is: for each picture its box and, by name, its images.
  const pictures = all(".pictures").map((box) => ({
    box,
    images: new Map(all("figure", box).map((one) => [one.dataset.name, find("img", one)])),
    quality: new Map(all("figure", box).map((one) => [one.dataset.name, find("figcaption span", one).textContent])),
  }));
  const stage = find("#stage"), split = find("#split"), gain = find("#gain");
  const left = find("#left"), right = find("#right"), chooser = find("#picture");

  const state = { picture: 0, view: "slider", show: "picture", zoom: 1, x: 0.5, y: 0.5 };
  const current = () => pictures[state.picture];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Pixels: the picture itself, or a difference of two of them about gray.
  const samples = new Map();
  function pixelsOf(image) {
    if (!samples.has(image)) {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      samples.set(image, context.getImageData(0, 0, canvas.width, canvas.height));
    }
    return samples.get(image);
  }

  function difference(a, b, factor) {
    const result = new ImageData(a.width, a.height);
    for (let k = 0; k < result.data.length; k += 1) {
      result.data[k] = k % 4 === 3 ? 255 : 128 + factor * (a.data[k] - b.data[k]);
    }
    return result;
  }

  function paint(canvas, name) {
    const { images } = current(), image = images.get(name);
    const factor = state.show === "picture" ? 0 : Number(gain.value);
    const content = [state.picture, name, state.show, factor].join("|");
    if (canvas.dataset.content === content) return;
    canvas.dataset.content = content;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", image.alt);
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    if (state.show === "picture") {
      context.drawImage(image, 0, 0);
    } else if (state.show === "residual") {
      context.putImageData(difference(pixelsOf(images.get("noisy")), pixelsOf(image), factor), 0, 0);
    } else {
      context.putImageData(difference(pixelsOf(image), pixelsOf(images.get("reference")), factor), 0, 0);
    }
  }

  // Place: one centre and zoom for every port.
  function fitOf(port) {
    const image = current().images.get("noisy");
    return Math.min(port.clientWidth / image.naturalWidth, port.clientHeight / image.naturalHeight);
  }

  function shape(port) {
    const image = current().images.get("noisy");
    port.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  }

  function place(port, canvas) {
    const scale = fitOf(port) * state.zoom;
    const offset = (room, size, centre) =>
      size * scale <= room ? (room - size * scale) / 2 : clamp(room / 2 - centre * size * scale, room - size * scale, 0);
    const x = offset(port.clientWidth, canvas.width, state.x);
    const y = offset(port.clientHeight, canvas.height, state.y);
    canvas.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    canvas.classList.toggle("pixels", scale >= 2);
    port.classList.toggle("zoomed", state.zoom > 1);
  }

  function draw() {
    const { box, quality } = current(), sliding = state.view === "slider";
    find("#slider").hidden = !sliding;
    pictures.forEach((one) => { one.box.hidden = sliding || one.box !== box; });
    find(".gain").hidden = state.show === "picture";
    find("#gain-value").textContent = `${gain.value} ×`;
    if (sliding) {
      shape(stage);
      for (const [layer, name] of [["#under", left.value], ["#over", right.value]]) {
        const canvas = find(`${layer} canvas`);
        paint(canvas, name);
        place(stage, canvas);
      }
      find("#over").style.clipPath = `inset(0 0 0 ${split.value}%)`;
      find("#divider").style.left = `${split.value}%`;
      find("#left-quality").textContent = quality.get(left.value);
      find("#right-quality").textContent = quality.get(right.value);
    } else {
      for (const figure of all("figure", box)) {
        const canvas = find("canvas", figure), port = find(".port", figure);
        shape(port);
        paint(canvas, figure.dataset.name);
        place(port, canvas);
      }
    }
    const port = sliding ? stage : find(".port", box);
    find("#zoom-value").textContent = `${Math.round(100 * fitOf(port) * state.zoom)} %`;
  }

  let ready = false, waiting = false; // ready once the first picture is decoded
  function redraw() {
    if (waiting || !ready) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  // Moving about.
  function zoomTo(zoom, port = stage, at = null) {
    const image = current().images.get("noisy");
    const before = fitOf(port) * state.zoom;
    state.zoom = clamp(zoom, 1, MOST);
    if (at) { // what is under the pointer stays there
      const after = fitOf(port) * state.zoom, box = port.getBoundingClientRect();
      const dx = at.x - box.left - box.width / 2, dy = at.y - box.top - box.height / 2;
      move(dx / before - dx / after, dy / before - dy / after, image, port);
    }
    settle(port);
    redraw();
  }

  function move(dx, dy, image = current().images.get("noisy")) {
    state.x += dx / image.naturalWidth;
    state.y += dy / image.naturalHeight;
  }

  function settle(port) { // no emptiness beyond the picture's edges
    const image = current().images.get("noisy"), scale = fitOf(port) * state.zoom;
    const within = (centre, room, size) => {
      const half = Math.min(0.5, room / (2 * size * scale));
      return clamp(centre, half, 1 - half);
    };
    state.x = within(state.x, port.clientWidth, image.naturalWidth);
    state.y = within(state.y, port.clientHeight, image.naturalHeight);
  }

  function divide(event) {
    const box = stage.getBoundingClientRect();
    split.value = clamp((100 * (event.clientX - box.left)) / box.width, 0, 100);
    redraw();
  }

  for (const port of all(".port")) {
    const fingers = new Map();
    let dividing = false, spread = 0;
    port.addEventListener("pointerdown", (event) => {
      port.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
      const box = port.getBoundingClientRect();
      const near = Math.abs(event.clientX - box.left - (box.width * split.value) / 100) < 24;
      dividing = port === stage && fingers.size === 1 && (near || state.zoom === 1);
      spread = 0;
      if (dividing) divide(event);
    });
    port.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      fingers.set(event.pointerId, event);
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()];
        const apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        const middle = { x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 };
        if (spread) zoomTo((state.zoom * apart) / spread, port, middle);
        spread = apart;
      } else if (dividing) {
        divide(event);
      } else {
        const scale = fitOf(port) * state.zoom;
        move((before.clientX - event.clientX) / scale, (before.clientY - event.clientY) / scale);
        settle(port);
        redraw();
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      port.addEventListener(end, (event) => { fingers.delete(event.pointerId); spread = 0; });
    }
    port.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomTo(state.zoom * Math.exp(-event.deltaY / 250), port, { x: event.clientX, y: event.clientY });
    }, { passive: false });
  }

  const activePort = () => (state.view === "slider" ? stage : find(".port", current().box));
  const step = (factor) => zoomTo(state.zoom * factor, activePort());
  find("#zoom-in").onclick = () => step(1.5);
  find("#zoom-out").onclick = () => step(1 / 1.5);
  find("#zoom-fit").onclick = () => zoomTo(1, activePort());
  find("#zoom-full").onclick = () => zoomTo(1 / fitOf(activePort()), activePort());

  function swap() {
    [left.value, right.value] = [right.value, left.value];
    redraw();
  }
  find("#swap").onclick = swap;

  const KEYS = {
    "+": () => step(1.5), "=": () => step(1.5), "-": () => step(1 / 1.5),
    0: () => zoomTo(1, activePort()), s: swap,
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    if (event.target === stage && ARROWS[event.key] && state.zoom > 1) {
      const scale = fitOf(stage) * state.zoom, [dx, dy] = ARROWS[event.key];
      move((40 * dx) / scale, (40 * dy) / scale);
      settle(stage);
      redraw();
    } else if (KEYS[event.key.toLowerCase()]) {
      KEYS[event.key.toLowerCase()]();
    } else {
      return;
    }
    event.preventDefault();
  });

  // Choosing.
  function fill(select, wanted) {
    const names = [...current().images.keys()];
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    select.value = names.includes(wanted) ? wanted : names[0];
  }

  async function choose(index) {
    const images = [...pictures[index].images.values()];
    await Promise.all(images.map((image) => image.decode()));
    state.picture = index;
    ready = true;
    fill(left, left.value || "noisy");
    fill(right, right.value || find("#viewer").dataset.best);
    redraw();
  }

  left.onchange = right.onchange = split.oninput = gain.oninput = redraw;
  if (chooser) chooser.onchange = () => choose(Number(chooser.value));
  for (const radio of all("input[type=radio]")) {
    radio.onchange = () => { state[radio.name] = radio.value; redraw(); };
  }
  find("#controls").onsubmit = (event) => event.preventDefault();
  new ResizeObserver(redraw).observe(find("#viewer"));

  // Tables: click a heading, the best first, click again for the other way round.
  for (const button of all("th button")) {
    button.onclick = () => {
      const head = button.closest("th"), body = find("tbody", head.closest("table"));
      const first = head.dataset.first, other = first === "ascending" ? "descending" : "ascending";
      const order = head.ariaSort === first ? other : first;
      all("th[aria-sort]", head.parentElement).forEach((one) => one.removeAttribute("aria-sort"));
      head.ariaSort = order;
      const value = (row) => row.cells[head.cellIndex]?.dataset.value ?? "";
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const ascending = head.dataset.kind === "text" ? x.localeCompare(y) : Number(x) - Number(y);
        return order === "ascending" ? ascending : -ascending;
      };
      body.append(...[...body.rows].sort(compare));
    };
  }

  if (pictures.length) choose(0);
})();
