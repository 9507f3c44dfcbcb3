// Keeps the figures that patches belong to, see patch.py: window.labBases, id -> text of the figure.
// data: bytes of {id, figure}.

// A chart draws its former picture until the new one has come: two of each.
const KEPT = 2;

export default function ({ data, parentElement }) {
  const bases = (window.labBases ??= new Map());
  const ids = (parentElement.labIds ??= []);
  const { id, figure } = JSON.parse(new TextDecoder().decode(data));
  if (ids.at(-1) !== id) {
    bases.set(id, JSON.stringify(figure));
    ids.push(id);
  }
  while (ids.length > KEPT) {
    const old = ids.shift();
    if (!ids.includes(old)) bases.delete(old);
  }
}
