// Another try for scenes in quarantine: a run of ingest_scenes, asked of Airflow's API as whoever is logged in.
(() => {
  const told = document.getElementById("told");
  for (const button of document.querySelectorAll("button[data-retry]")) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      told.textContent = "Asking Airflow…";
      try {
        const answer = await fetch(button.dataset.api, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ logical_date: null, conf: { retry: button.dataset.retry } }),
        });
        const run = await answer.json();
        if (!answer.ok) throw new Error(typeof run.detail === "string" ? run.detail : JSON.stringify(run.detail));
        const link = Object.assign(document.createElement("a"), { textContent: run.dag_run_id });
        link.href = `${button.dataset.runs}/${encodeURIComponent(run.dag_run_id)}`;
        link.dataset.top = "";
        told.replaceChildren("It is tried again in the run ", link, ". A DAG that is switched off starts it when it is switched on.");
      } catch (error) {
        told.textContent = `Airflow refused: ${error.message}`;
        button.disabled = false;
      }
    });
  }
})();
