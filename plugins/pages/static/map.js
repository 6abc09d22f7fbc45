// The map: layers with opacity, days, two versions or two days side by side, and the story of a pixel.
const atlas = document.getElementById("atlas");
const { root, project } = atlas.dataset;
const base = `${root}/p/${encodeURIComponent(project)}`;
const by = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);

const KINDS = [
  { kind: "image", title: "Scene", on: true, opacity: 1 },
  { kind: "classes", title: "Classes", on: true, opacity: 0.7, mapped: true },
  { kind: "confidence", title: "Confidence", on: false, opacity: 0.8, mapped: true },
  { kind: "errors", title: "Errors against labels", on: false, opacity: 1, mapped: true },
  { kind: "mask", title: "Cloud and shadow", on: false, opacity: 0.8 },
  { kind: "objects", title: "Objects", on: true, opacity: 1, mapped: true },
];

const about = await fetch(`${base}/layers.json`)
  .then(async (answer) => {
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.detail ?? `Airflow answered ${answer.status}`);
    return told;
  })
  .catch((error) => {
    by("busy").hidden = false;
    by("busy").textContent = `The map cannot be drawn: ${error.message}`;
    throw error;
  });
const days = [...new Set(about.scenes.map((scene) => scene.day))].sort();
const newest = about.versions[0]?.number;

const state = {
  until: days.includes(asked.get("until")) ? asked.get("until") : days.at(-1),
  scene: about.scenes.some((scene) => scene.id === asked.get("scene")) ? asked.get("scene") : "",
  version: Number(asked.get("version")) || newest,
  against: asked.get("against") ?? "", // "", a version, or "day"
  other: days.includes(asked.get("other")) ? asked.get("other") : days[0],
  bands: asked.get("bands") ?? Object.values(about.combinations)[0]?.join(",") ?? "",
};
const shown = asked.get("layers")?.split(",");
const detects = (version) => about.versions.some((each) => each.objects && (version === undefined || each.number === version));
const layers = KINDS.filter((each) => (each.kind === "objects" ? detects() : !each.mapped || about.versions.length)).map((each) => ({
  ...each,
  // filled boxes would hide what the outlines are around
  on: shown ? shown.includes(each.kind) : each.on && !(each.kind === "classes" && detects(newest)),
}));
const outlines = { on: shown ? shown.includes("outlines") : about.scenes.length < 500 };
const queue = { on: shown ? shown.includes("queue") : true, count: 0 };

// ---------------------------------------------------------------------------------------------------------- the map

const map = L.map("map", { preferCanvas: true, zoomControl: true, fadeAnimation: false, worldCopyJump: true });
map.attributionControl.setPrefix(false);
L.control.scale({ imperial: false }).addTo(map);
const sides = ["left", "right"].map((name, index) => {
  const pane = map.createPane(name);
  pane.style.zIndex = 300 + index;
  return { name, pane, layers: new Map() };
});
if (about.basemap) L.tileLayer(about.basemap, { maxZoom: 22 }).addTo(map);

const box = ([west, south, east, north]) => L.latLngBounds([south, west], [north, east < west ? east + 360 : east]);
const all = about.scenes.map((scene) => box(scene.bbox)).reduce((sum, each) => sum.extend(each), L.latLngBounds([]));
const finest = Math.min(...about.scenes.map((scene) => scene.resolution));
// One zoom level finer than the pixels, so that none is skipped; from there on the browser enlarges them.
const native = Math.min(22, Math.max(2, Math.ceil(Math.log2((156543 * Math.cos((all.getCenter().lat * Math.PI) / 180)) / finest)) + 1));

function tiles(side, { kind, mapped, opacity }) {
  const query = new URLSearchParams({ rev: about.digest, until: side.until });
  if (state.scene) query.set("scene", state.scene);
  if (mapped) query.set("version", side.version);
  if (kind === "image") query.set("bands", state.bands);
  const address = `${base}/tiles/${kind}/{z}/{x}/{y}.png?${query}`;
  const options = { pane: side.name, opacity, bounds: all.pad(0.01), maxNativeZoom: native, maxZoom: 22, zIndex: KINDS.findIndex((each) => each.kind === kind) + 1, updateWhenZooming: false };
  const kept = side.layers.get(kind);
  if (kept?.address === address) return kept.layer.setOpacity(opacity);
  kept?.layer.remove();
  const layer = L.tileLayer(address, options).on("loading load tileerror", busy).addTo(map);
  side.layers.set(kind, { address, layer });
}

function busy() {
  const loading = sides.some((side) => [...side.layers.values()].some(({ layer }) => layer.isLoading()));
  by("busy").hidden = !loading;
}

function draw() {
  const compared = state.against !== "";
  const [left, right] = sides;
  Object.assign(left, { until: state.until, version: state.version, used: true });
  Object.assign(right, {
    until: state.against === "day" ? state.other : state.until,
    version: compared && state.against !== "day" ? Number(state.against) : state.version,
    used: compared,
  });
  for (const side of sides) {
    for (const each of layers) {
      if (side.used && each.on && (each.kind !== "objects" || detects(side.version))) tiles(side, each);
      else {
        side.layers.get(each.kind)?.layer.remove();
        side.layers.delete(each.kind);
      }
    }
  }
  busy();
  by("swipe").hidden = !compared;
  for (const side of sides) {
    by(side.name).hidden = !compared;
    by(side.name).textContent = state.against === "day" ? `up to ${side.until}` : `version ${side.version}`;
  }
  by("other-day-row").hidden = state.against !== "day";
  clip();
  legend();
  outline();
  remember();
}

function clip() {
  const size = map.getSize();
  const corner = map.containerPointToLayerPoint([0, 0]);
  const far = map.containerPointToLayerPoint(size);
  const split = corner.x + (size.x * by("swipe").value) / 1000;
  const cut = (from, to) => `polygon(${from}px ${corner.y}px, ${to}px ${corner.y}px, ${to}px ${far.y}px, ${from}px ${far.y}px)`;
  sides[0].pane.style.clipPath = state.against === "" ? "" : cut(corner.x, split);
  sides[1].pane.style.clipPath = state.against === "" ? "" : cut(split, far.x);
}

const frames = L.layerGroup().addTo(map);
let places = null;

function outline() {
  frames.clearLayers();
  const color = getComputedStyle(document.documentElement).getPropertyValue("--brand-solid");
  if (outlines.on) {
    for (const scene of about.scenes) {
      if (scene.day > state.until || (state.scene && scene.id !== state.scene)) continue;
      L.rectangle(box(scene.bbox), { color, weight: 1.5, fill: false, interactive: false }).addTo(frames);
    }
  }
  if (places && queue.on) places.addTo(map);
  else places?.remove();
}

fetch(`${base}/queue.geojson`)
  .then((answer) => answer.json())
  .then((found) => {
    queue.count = found.features.length;
    if (!queue.count) return;
    const said = ({ properties }) => {
      const text = document.createElement("div");
      const { chip, ...rest } = properties;
      for (const [name, value] of Object.entries(rest)) text.append(`${name}: ${value}`, document.createElement("br"));
      if (chip) {
        const link = document.createElement("a");
        link.href = `${root}/reports/${[...found.folder.split("/"), ...chip.split("/")].map(encodeURIComponent).join("/")}`;
        link.textContent = "Image chip (GeoTIFF)";
        link.download = "";
        text.append(link);
      }
      return text;
    };
    const style = { color: "#ff00c8", weight: 2, fillOpacity: 0.08 };
    places = L.geoJSON(found, { style, pointToLayer: (_, at) => L.circleMarker(at, { radius: 7 }), onEachFeature: (each, layer) => layer.bindPopup(said(each)) });
    rows();
    draw();
  });

// ---------------------------------------------------------------------------------------------------- the controls

function option(value, text, chosen) {
  const made = new Option(text, value, false, String(value) === String(chosen));
  return made;
}

function rows() {
  const list = by("layers");
  list.replaceChildren();
  for (const each of layers) {
    const slide = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: each.opacity * 100, disabled: !each.on });
    slide.setAttribute("aria-label", `Opacity of ${each.title}`);
    slide.oninput = () => {
      each.opacity = slide.value / 100;
      draw();
    };
    const item = row(list, each.kind, each.title, each, () => (slide.disabled = !each.on));
    item.append(slide);
    if (each.kind === "image" && state.bands) {
      const select = document.createElement("select");
      select.setAttribute("aria-label", "Bands of the scene");
      for (const [title, bands] of Object.entries(about.combinations)) select.append(option(bands.join(","), `${title} (${bands.join(" ")})`, state.bands));
      select.onchange = () => {
        state.bands = select.value;
        draw();
      };
      item.append(select);
    }
  }
  row(list, "outlines", "Outlines of scenes", outlines);
  if (queue.count) row(list, "queue", `Labelling queue (${queue.count})`, queue);
}

function row(list, id, title, what, then) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: what.on, id: `layer-${id}` });
  box.onchange = () => {
    what.on = box.checked;
    then?.();
    draw();
  };
  label.append(box, title);
  item.append(label);
  list.append(item);
  return item;
}

function legend() {
  const list = by("legend");
  list.replaceChildren();
  const on = new Set(layers.filter((each) => each.on).map((each) => each.kind));
  const swatch = (color, text) => {
    const item = document.createElement("li");
    const patch = document.createElement("span");
    patch.className = "swatch";
    patch.style.background = color;
    item.append(patch, text);
    list.append(item);
  };
  const title = (text) => list.append(Object.assign(document.createElement("li"), { className: "title", textContent: text }));
  if (on.has("classes") || on.has("objects")) {
    const seen = new Map();
    for (const side of sides.filter((each) => each.used)) {
      for (const entry of about.versions.find((each) => each.number === side.version)?.legend ?? []) {
        if (on.has("classes") || entry.value !== 0) seen.set(entry.name, entry.color); // 0 is what lies around objects
      }
    }
    for (const [name, color] of seen) swatch(color, name);
  }
  if (on.has("confidence")) {
    title("Confidence of the class");
    const item = document.createElement("li");
    item.append("0 %", Object.assign(document.createElement("span"), { className: "ramp" }), "100 %");
    list.append(item);
  }
  if (on.has("errors")) {
    title("Against the labels of the newest dataset");
    swatch("#d62728", "other than labelled");
    swatch("rgb(27 138 107 / .45)", "as labelled");
  }
  if (on.has("mask")) {
    swatch("#ebebf5", "cloud");
    swatch("#3c3c5a", "shadow");
  }
  by("legend-box").hidden = !list.children.length;
}

function controls() {
  const day = by("day");
  day.max = days.length - 1;
  day.value = days.indexOf(state.until);
  day.disabled = days.length < 2;
  const told = () => (by("day-shown").textContent = state.until);
  day.oninput = () => {
    state.until = days[day.value];
    told();
    day.setAttribute("aria-valuetext", state.until);
    clearTimeout(day.waiting);
    day.waiting = setTimeout(draw, 120); // while it is dragged past many days none of them is loaded
  };
  told();
  day.setAttribute("aria-valuetext", state.until);

  const scene = by("scene");
  for (const each of about.scenes) scene.append(option(each.id, `${each.day}  ${each.id}`, state.scene));
  scene.onchange = () => {
    state.scene = scene.value;
    const one = about.scenes.find((each) => each.id === state.scene);
    if (one) {
      if (one.day > state.until) {
        state.until = one.day;
        day.value = days.indexOf(one.day);
        told();
      }
      map.fitBounds(box(one.bbox));
    }
    draw();
  };

  by("all").onclick = () => map.fitBounds(all);

  const version = by("version");
  for (const each of about.versions) version.append(option(each.number, each.number, state.version));
  if (!about.versions.length) version.append(option("", "none yet"));
  version.disabled = about.versions.length < 2;
  version.onchange = () => {
    state.version = Number(version.value);
    draw();
  };
  crown(version);

  const other = by("other-day");
  const against = by("against");
  for (const each of about.versions) against.append(option(each.number, `version ${each.number}`, state.against));
  if (days.length > 1) against.append(option("day", "another day", state.against));
  against.onchange = () => {
    state.against = against.value;
    if (state.against === "day") {
      state.other = before();
      other.value = state.other;
    }
    draw();
  };
  if (state.against !== against.value) state.against = against.value;

  for (const each of days) other.append(option(each, each, state.other));
  other.onchange = () => {
    state.other = other.value;
    draw();
  };

  by("swipe").oninput = () => {
    clip();
    by("swipe").setAttribute("aria-valuetext", `${Math.round(by("swipe").value / 10)} % from the left`);
  };
  if (matchMedia("(max-width: 44rem)").matches) by("panel").open = false;
  by("panel").addEventListener("toggle", () => map.invalidateSize());
}

/** Names the champion and, unless somebody chose, shows its maps: after a rollback the newest are another's. */
async function crown(version) {
  const shown = state.version;
  const answer = await fetch(`${base}/champion.json`);
  const { number } = answer.ok ? await answer.json() : {};
  const found = [...version.options].find((each) => Number(each.value) === number);
  if (!found) return;
  found.text = `${number}, champion`;
  if (asked.has("version") || state.version !== shown) return;
  version.value = number;
  version.onchange();
}

/** The newest earlier day on which the middle of the map was seen. */
function before() {
  const middle = map.getCenter().wrap();
  return about.scenes.find((scene) => scene.day < state.until && box(scene.bbox).contains(middle))?.day ?? days[0];
}

/** The address says what is shown, so that it can be sent to a colleague. */
function remember() {
  if (!map._loaded) return;
  const { lat, lng } = map.getCenter();
  const now = new URLSearchParams({ at: `${lat.toFixed(5)},${lng.toFixed(5)},${map.getZoom()}`, until: state.until });
  for (const name of ["scene", "against"]) if (state[name]) now.set(name, state[name]);
  if (state.version) now.set("version", state.version);
  if (state.against === "day") now.set("other", state.other);
  const on = layers.filter((each) => each.on).map((each) => each.kind);
  if (outlines.on) on.push("outlines");
  if (queue.on) on.push("queue");
  now.set("layers", on.join(","));
  now.set("bands", state.bands);
  history.replaceState(null, "", `?${now}`);
}

// -------------------------------------------------------------------------------------------------------- a pixel

let mark = null;
let asking = null;

async function tell(at) {
  const place = at.wrap();
  const split = (map.getSize().x * by("swipe").value) / 1000;
  const side = state.against !== "" && map.latLngToContainerPoint(at).x > split ? sides[1] : sides[0];
  mark?.remove();
  mark = L.circleMarker(at, { radius: 6, color: "#fff", weight: 3, fillColor: "#000", fillOpacity: 1, interactive: false }).addTo(map);
  asking?.abort();
  asking = new AbortController();
  const query = new URLSearchParams({ lon: place.lng, lat: place.lat, until: side.until });
  if (state.scene) query.set("scene", state.scene);
  const card = by("pixel");
  card.hidden = false;
  card.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${base}/pixel.json?${query}`, { signal: asking.signal });
    const found = await answer.json();
    if (!answer.ok) throw new Error(typeof found.detail === "string" ? found.detail : "The server could not answer.");
    story(card, found, side, place);
  } catch (error) {
    if (error.name !== "AbortError") story(card, { fault: error.message }, side, place);
  }
  card.removeAttribute("aria-busy");
}

function story(card, found, side, place) {
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "✕" });
  close.setAttribute("aria-label", "Close");
  close.onclick = () => {
    card.hidden = true;
    mark?.remove();
    map.getContainer().focus();
  };
  const where = `${place.lat.toFixed(5)}, ${place.lng.toFixed(5)}`;
  const head = document.createElement("h2");
  const table = document.createElement("table");
  const line = (name, value) => {
    const row = table.insertRow();
    row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
    row.insertCell().append(value);
  };
  card.replaceChildren(close, head, table);
  if (found.fault || !found.scene) {
    head.textContent = found.fault ? "No answer" : "No data here";
    line(found.fault ? "Why" : "Place", found.fault ?? where);
    return;
  }
  const said = found.maps.find((each) => each.version === side.version);
  const patch = document.createElement("span");
  patch.className = "swatch";
  patch.style.background = said?.color ?? "transparent";
  head.append(patch, said?.name ?? found.hidden ?? "not mapped");
  for (const each of found.maps) {
    const sure = each.confidence === null ? "" : `, ${Math.round(each.confidence * 100)} % sure`;
    line(`Version ${each.version}`, `${each.name ?? found.hidden ?? "no class"}${sure}`);
    for (const [name, score] of each.objects) line(`Object of ${each.version}`, `${name}, score ${score.toFixed(2)}`);
  }
  if (found.label) line("Label", found.label);
  if (found.unlabelled) line("Label", found.unlabelled);
  if (found.hidden) line("Hidden by", found.hidden);
  line("Scene", found.scene);
  line("Taken", `${found.when.slice(0, 16).replace("T", " ")} UTC`);
  line("Model", said?.model ?? "none");
  line("Place", where);
  line(`Bands, ${found.units}`, Object.entries(found.bands).map(([band, value]) => `${band} ${value}`).join("  "));
}

// ------------------------------------------------------------------------------------------------------- begin

/** All scenes, or the newest one where they lie so far apart that each would be a dot. */
function near() {
  const latest = box(about.scenes[0].bbox);
  const share = (latest.getEast() - latest.getWest()) / (all.getEast() - all.getWest());
  return share < 0.1 ? latest : all;
}

controls();
rows();
const [lat, lng, zoom] = (asked.get("at") ?? "").split(",").map(Number);
const first = state.scene && about.scenes.find((each) => each.id === state.scene);
if (Number.isFinite(zoom)) map.setView([lat, lng], zoom);
else map.fitBounds(first ? box(first.bbox) : near());
map.on("move zoomend resize viewreset", clip);
map.on("moveend", remember);
map.on("click", (event) => tell(event.latlng));
map.getContainer().addEventListener("pointerdown", () => map.getContainer().classList.remove("keys"));
map.getContainer().addEventListener("keydown", (event) => {
  map.getContainer().classList.add("keys");
  if (event.key === "Enter" && event.target === map.getContainer()) tell(map.getCenter());
  if (event.key === "Escape") by("pixel").querySelector("button")?.click();
});
draw();
