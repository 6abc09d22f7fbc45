// Pieces of the page that take a moment are fetched after it, and those in a fold when that is opened or named.
(() => {
  async function fill(fold) {
    if (fold.open === false || fold.dataset.asked) return;
    fold.dataset.asked = "yes";
    const place = fold.querySelector(".piece") ?? fold;
    try {
      const answer = await fetch(fold.dataset.piece);
      if (!answer.ok) {
        const told = await answer.json().catch(() => ({}));
        throw new Error(told.detail ?? `Airflow answered ${answer.status}; fold this and open it again.`);
      }
      place.innerHTML = await answer.text();
      place.classList.remove("aside");
    } catch (error) {
      place.textContent = error.message;
      delete fold.dataset.asked; // folded and opened again it is asked for again
    }
  }

  const named = () => document.getElementById(location.hash.slice(1))?.closest("details");
  for (const fold of document.querySelectorAll("[data-piece]")) {
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
