from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.config import settings
from pipelines.errors import BadData
from pipelines.workspace.git import git
from pipelines.workspace.source import mirror, pin, resolve, resolve_newest
from pipelines.workspace.workspace import open_workspace
from tests.workspace.conftest import Repository


def test_a_clean_checkout_is_its_own_pin(repository: Repository) -> None:
    found = pin(repository.folder)
    assert found.commit == repository.git("rev-parse", "HEAD")
    assert not found.edited


def test_edits_and_new_files_are_pinned_and_nothing_in_the_checkout_moves(repository: Repository) -> None:
    repository.write("params.yaml", "project: demo\ndata: {rows: 4}\ntrain: {lr: 1}\n")
    repository.write("new.txt", "new\n")
    before = repository.git("status", "--porcelain=v1")
    found = pin(repository.folder)
    assert found.edited
    assert repository.git("status", "--porcelain=v1") == before
    assert "rows: 4" in repository.git("show", f"{found.commit}:params.yaml")
    assert repository.git("show", f"{found.commit}:new.txt") == "new"
    assert pin(repository.folder).commit == found.commit, "the same tree must be the same commit"
    assert resolve(found.commit) == found.commit, "a pin must reach the mirror, from which runs are made"


def test_ignored_files_are_not_pinned(repository: Repository) -> None:
    (repository.folder / "data").mkdir()
    (repository.folder / "data" / "large").write_text("x")
    assert not pin(repository.folder).edited


def test_data_in_the_checkout_are_not_taken_into_git(repository: Repository) -> None:
    for name, size in (("scenes/big.tif", 99_000_000), ("scenes/small.tif", 2_000_000)):
        (repository.folder / name).parent.mkdir(exist_ok=True)
        with (repository.folder / name).open("wb") as file:
            file.truncate(size)
    with pytest.raises(BadData, match=r"101 MB of new files .* scenes/big\.tif \(99 MB\), scenes/small\.tif"):
        pin(repository.folder)
    (repository.folder / ".gitignore").write_text("/scenes/big.tif\n")
    assert pin(repository.folder).edited


def test_an_overlay_is_laid_over_the_parameters_of_the_pin_alone(repository: Repository) -> None:
    overlay = repository.folder.parent / "overlay.yaml"
    overlay.write_text("train: {lr: 9}\n")
    found = pin(repository.folder, overlay)
    text = repository.git("show", f"{found.commit}:params.yaml")
    assert "lr: 9" in text and "rows: 3" in text
    assert "lr: 1" in (repository.folder / "params.yaml").read_text()


def test_a_pin_reaches_a_watched_repository_that_is_not_the_checkout(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "central.git"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "central.git"))
    repository.write("params.yaml", "project: demo\ndata: {rows: 4}\ntrain: {lr: 1}\n")
    found = pin(repository.folder)
    assert resolve(found.commit) == found.commit


def test_an_unpacked_archive_without_history_works(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".git")
    repository.write("later.txt", "edited after unpacking\n")
    first = resolve(None)
    assert git("show", f"{first}:later.txt", at=mirror()) == "edited after unpacking"
    repository.write("later.txt", "edited again\n")
    found = pin(repository.folder)
    assert found.edited and resolve(found.commit) == found.commit


def test_dataset_versions_of_an_archive_outlive_its_first_commit(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".git")
    commit = resolve(None)
    for ref in ("refs/heads/swath/demo", "refs/tags/dataset/demo/v1", "refs/heads/other"):
        git("update-ref", ref, commit, at=mirror())
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.git("config", "user.name", "Ada")
    repository.git("config", "user.email", "ada@example.org")
    head = repository.commit("Begin again")
    kept = git("for-each-ref", "--format=%(refname) %(objectname)", at=mirror()).splitlines()
    assert kept == [
        f"refs/heads/main {head}",
        f"refs/heads/swath/demo {commit}",
        f"refs/tags/dataset/demo/v1 {commit}",
    ]


def test_a_shallow_clone_has_what_it_has(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("params.yaml", "project: demo\n")
    newest = repository.commit("Go on")
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(tmp_path / "shallow"))
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(tmp_path / "shallow"))
    assert resolve(None) == newest


def test_what_git_tells_its_hooks_leads_to_no_repository_of_theirs(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git exports these in a linked worktree; a mirror that is pruned would take the branches that nobody pushed."""
    central, desk = tmp_path / "central.git", tmp_path / "desk"
    repository.git("clone", "--quiet", "--bare", ".", str(central))
    repository.git("clone", "--quiet", str(central), str(desk))
    git("checkout", "--quiet", "-b", "mine", at=desk)
    git("worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "linked", at=desk)
    monkeypatch.setenv("SWATH_GIT_REMOTE", str(central))
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(desk / ".git" / "worktrees" / "linked"))
        hook.setenv("GIT_INDEX_FILE", str(desk / ".git" / "worktrees" / "linked" / "index"))
        assert resolve("main") == repository.git("rev-parse", "HEAD")
    assert git("branch", "--format=%(refname:short)", at=desk).split() == ["linked", "main", "mine"]


def test_a_revision_that_does_not_exist_is_told_with_the_branches_that_do(repository: Repository) -> None:
    with pytest.raises(BadData, match=r"no revision 'mian'.*main"):
        resolve("mian")


@pytest.mark.parametrize("hostile", ["--help", "main; rm -rf /", "../../etc/passwd", ""])
def test_a_hostile_revision_is_never_an_option_or_a_path(repository: Repository, hostile: str, tmp_path: Path) -> None:
    if hostile == "":
        assert resolve(hostile) == repository.git("rev-parse", "main")
    else:
        with pytest.raises(BadData):
            resolve(hostile)


def test_tasks_that_come_to_a_machine_at_once_share_one_workspace(repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: open_workspace("run", commit), range(8)))
    (folder,) = folders
    assert git("rev-parse", "HEAD", at=folder) == commit and not git("status", "--porcelain", at=folder)
    assert [path.name for path in folder.parent.iterdir() if not path.name.startswith(".")] == ["run"]


@pytest.mark.parametrize("lock", ["packed-refs.lock", "refs/heads/main.lock"])
def test_a_git_that_was_killed_at_its_work_holds_up_nobody(repository: Repository, lock: str) -> None:
    repository.git("branch", "other")
    before = resolve(None)
    git("pack-refs", "--all", at=settings().home / "source.git")
    repository.git("branch", "--delete", "other")  # a fetch takes it out of the packed references
    (settings().home / "source.git" / lock).touch()
    repository.write("new.txt", "new")
    pushed = repository.commit("Go on")
    assert resolve(None) == pushed != before


def test_a_checkout_without_the_watched_branch_stands_for_itself(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.git("branch", "--move", "main", "master")
    pinned = pin(repository.folder).commit
    assert resolve_newest(pinned) == pinned == repository.git("rev-parse", "HEAD")
