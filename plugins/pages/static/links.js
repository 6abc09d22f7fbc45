// Links that leave the page. Airflow's frame may neither open windows nor move its parent, so the parent does it.
(() => {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-top], a[target=_blank]");
    if (!link || window.parent === window || event.defaultPrevented || event.button !== 0) return;
    event.preventDefault();
    const outside = window.parent.document;
    const twin = outside.createElement("a");
    twin.href = link.href;
    if (link.target === "_blank" || event.ctrlKey || event.metaKey) {
      twin.target = "_blank";
      twin.rel = "noopener";
    }
    outside.body.append(twin);
    twin.click();
    twin.remove();
  });

  const project = document.getElementById("project");
  project?.addEventListener("change", () => {
    const { root, part } = project.dataset;
    location.href = project.value ? `${root}/p/${encodeURIComponent(project.value)}/${part}` : `${root}/`;
  });
})();
