// Pieces of the page that take a moment are fetched when their fold is opened, or when the address names them.
(() => {
  async function fill(fold) {
    if (!fold.open || fold.dataset.asked) return;
    fold.dataset.asked = "yes";
    const place = fold.querySelector(".piece");
    try {
      const answer = await fetch(fold.dataset.piece);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      place.innerHTML = await answer.text();
      place.classList.remove("aside");
    } catch (error) {
      place.textContent = error.message;
      delete fold.dataset.asked; // folded and opened again it is asked for again
    }
  }

  const named = () => document.getElementById(location.hash.slice(1))?.closest("details");
  for (const fold of document.querySelectorAll("details[data-piece]")) {
    fold.addEventListener("toggle", () => fill(fold));
    fill(fold);
  }
  const show = () => {
    const fold = named();
    if (fold) fold.open = true;
  };
  addEventListener("hashchange", show);
  show();
})();
