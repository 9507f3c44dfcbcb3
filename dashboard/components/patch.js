// The other half of patch.py.
function patched(old, patch) {
  if (patch === null) return old;
  if ("=" in patch) return patch["="];
  if (typeof old === "string") return old.slice(0, patch.k) + patch.t;
  if (Array.isArray(old)) {
    const made = old.slice(0, patch.k);
    for (const [place, inner] of Object.entries(patch.i ?? {})) made[place] = patched(made[place], inner);
    return made.concat(patch.t);
  }
  for (const name of patch.x) delete old[name];
  for (const [name, inner] of Object.entries(patch.d)) old[name] = patched(old[name], inner);
  return old;
}

// What is large comes as a patch of a base, which base.js keeps.
function made({ text, base }) {
  return base ? patched(JSON.parse(window.labBases.get(base)), JSON.parse(text)) : JSON.parse(text);
}

// A base is an element of its own, and may come after its patch.
function hasBase(base) {
  return !base || Boolean(window.labBases?.has(base));
}
