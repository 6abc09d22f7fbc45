"""The watched repository, mirrored below ``SWATH_HOME``, and revisions in it."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.config import merged_params, settings
from pipelines.errors import BadData, SwathError
from pipelines.files import alone
from pipelines.workspace.experiments import EXPERIMENTS, experiment
from pipelines.workspace.git import clear_dead_locks, git, is_repository

PINS = "refs/swath/pins"
_MOST_NEW = 100 * 10**6  # bytes of new files that a pin takes into git; GitHub refuses a file as large
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+{PINS}/*:{PINS}/*")


class Pin(BaseModel):
    """A commit that holds what a person was looking at when they started a run."""

    model_config = ConfigDict(frozen=True)

    commit: str
    edited: bool  # whether it holds edits that are in no commit of theirs


def mirror() -> Path:
    """A bare mirror of the watched repository, brought up to date.

    Where the checkout has no git history (an unpacked archive), the mirror is that history: its one commit is
    the tree as it stands.
    """
    with _mirror_lock() as bare:
        if not (bare / "HEAD").exists():
            git("init", "--quiet", "--bare", str(bare), at=bare.parent)
        clear_dead_locks(bare)
        remote = settings().git_remote
        if has_history(remote):
            _fetch(bare, remote)
        elif not _branches(bare):
            commit = _commit_tree(bare, Path(remote), parents=())
            git("update-ref", f"refs/heads/{settings().git_branch}", commit, at=bare)
    return bare


def _fetch(bare: Path, remote: str) -> None:
    """All refs of ``remote``. What it has no more goes, but where it has none of the pipeline's own: it began anew
    then, as a repository in what was an archive, and the numbers of dataset versions must not be given again."""
    before = _own(bare)
    git("fetch", "--quiet", "--prune", "--update-shallow", remote, *_REFS, at=bare)
    if before and not _own(bare):
        for ref, commit in before.items():
            git("update-ref", ref, commit, at=bare)


def _own(bare: Path) -> dict[str, str]:
    """The refs that the pipeline makes, and what they name."""
    listed = git(
        "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/swath/", "refs/tags/dataset/", at=bare
    )
    return dict(line.split() for line in listed.splitlines())


def push(bare: Path, *refs: str) -> None:
    """Send ``refs`` of the mirror to the watched repository, all or none. Refused if it moved meanwhile."""
    if has_history(settings().git_remote):
        git("push", "--quiet", "--atomic", settings().git_remote, *refs, at=bare)


def resolve(revision: str | None) -> str:
    """The full hash of ``revision``; of the watched branch's tip if ``None``.

    A branch, tag or hash, as git understands it, or an experiment of DVC. Raises ``BadData`` if there is none such.
    """
    bare = mirror()
    asked = revision or settings().git_branch
    found = _known(bare, asked) or (experiment(bare, asked) if has_history(settings().git_remote) else None)
    if found is None:
        branches = ", ".join(_branches(bare)) or "none"
        raise BadData(
            f"There is no revision {asked!r} in {settings().git_remote} (branches: {branches}), and no experiment of "
            "that name; push it (`git push`, `dvc exp push`), or name another."
        )
    return found


def _known(bare: Path, asked: str) -> str | None:
    if asked.startswith(EXPERIMENTS):
        return None  # the mirror has those that were asked for, as they were then
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}", at=bare)
    except SwathError:
        return None


def resolve_newest(revision: str) -> str:
    """The full hash of ``revision``, or of what has gone on from it: the tip of the watched branch, or the newest of
    the dataset versions after it that were built from the same commit or from later ones of that branch. A pinned
    working tree stays as it is, and nothing goes on to what was built of another branch."""
    commit, bare = resolve(revision), mirror()
    watched = f"refs/heads/{settings().git_branch}"
    has = git("for-each-ref", watched, at=bare)  # a clone of another branch, or of a tag, may have no such branch
    history = git("rev-list", "--topo-order", watched, at=bare).split() if has else []  # the newest first
    if has and commit in git("rev-list", "--first-parent", watched, at=bare).split():
        return history[0]
    age = {ancestor: number for number, ancestor in enumerate(history)}
    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads/swath/", at=bare).split()
    lines = (built_line(bare, branch) for branch in branches)
    line = next((line for line in lines if commit in dict(line)), [])
    own = dict(line).get(commit, "")
    for version, source in line:
        if version == commit:
            break
        if source == own or age.get(source, len(age)) <= age.get(own, len(age) - 1):
            return version
    return commit


def built_line(bare: Path, branch: str) -> list[tuple[str, str]]:
    """The dataset versions of a branch of the pipeline's, the newest first, each with the commit that was built."""
    # the versions alone: the line of the first one goes on to what it was built from
    words = ("--first-parent", "--grep=^Swath-Run: ", "--format=%H %(trailers:key=Swath-Source,valueonly,separator=)")
    found = (line.partition(" ") for line in git("log", *words, branch, at=bare).splitlines())
    return [(version, source.strip()) for version, _, source in found]


def pin(checkout: Path, overlay: Path | None = None) -> Pin:
    """The working tree of ``checkout`` as a commit, with ``overlay`` laid over its ``params.yaml``.

    Edits and new files count, ignored files do not. Equal trees give the equal commit. Nothing in the checkout
    changes: the commit is made with an index of its own and kept under a hidden ref. Raises ``BadData`` where new files
    are so large that they are data, which would stay in git for good.
    """
    if is_repository(checkout):
        store = (
            checkout / ".git"
            if (checkout / ".git").is_dir()
            else Path(git("rev-parse", "--absolute-git-dir", at=checkout))
        )
        head = git("rev-parse", "HEAD", at=checkout)
    else:
        store = mirror()
        head = git("rev-parse", settings().git_branch, at=store)
    text = merged_params(checkout / "params.yaml", overlay) if overlay else None
    commit = _commit_tree(store, checkout, parents=(head,), params=text)
    edited = commit != head
    if edited:
        git("update-ref", f"{PINS}/{commit}", commit, at=store)
        if settings().git_remote != str(checkout) and has_history(settings().git_remote):
            git("push", "--quiet", settings().git_remote, f"{commit}:{PINS}/{commit}", at=store)
    return Pin(commit=commit, edited=edited)


def _commit_tree(store: Path, tree: Path, parents: tuple[str, ...], params: str | None = None) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        env = {"GIT_DIR": str(store), "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(Path(scratch) / "index")}
        if parents:
            git("read-tree", parents[0], at=tree, env=env)
        _require_no_data(tree, env)
        git("add", "--all", ".", at=tree, env=env)
        if params is not None:
            (Path(scratch) / "params.yaml").write_text(params, encoding="utf-8")
            blob = git("hash-object", "-w", str(Path(scratch) / "params.yaml"), at=tree, env=env)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},params.yaml", at=tree, env=env)
        made = git("write-tree", at=tree, env=env)
        if parents and made == git("rev-parse", f"{parents[0]}^{{tree}}", at=tree, env=env):
            return parents[0]
        # The parent's own date, so that the same tree is the same commit whenever it is pinned.
        date = git("show", "-s", "--format=%cI", parents[0], at=tree, env=env) if parents else "2000-01-01T00:00:00Z"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        above = [word for parent in parents for word in ("-p", parent)]
        return git("commit-tree", made, *above, "-m", "Pin the working tree for a run", at=tree, env=env | dates)


def _require_no_data(tree: Path, env: dict[str, str]) -> None:
    new = git("ls-files", "--others", "--exclude-standard", "-z", at=tree, env=env).split("\0")
    sizes: dict[str, int] = {}
    for name in new:
        with suppress(OSError):  # it may be gone by now
            entry = (tree / name).lstat()
            sizes |= {name: entry.st_size} if stat.S_ISREG(entry.st_mode) else {}
    if (total := sum(sizes.values())) > _MOST_NEW:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        told = ", ".join(f"{name} ({sizes[name] / 1e6:.0f} MB)" for name in largest)
        raise BadData(
            f"{tree} holds {total / 1e6:.0f} MB of new files that git does not ignore, the largest {told}. A run pins "
            "the working tree, so they would go into git for good: move them elsewhere, or `dvc add` or ignore them."
        )


def has_history(remote: str) -> bool:
    """Whether ``remote`` is a git repository: any address is taken for one, a folder may be an unpacked archive."""
    return not Path(remote).is_dir() or is_repository(Path(remote)) or (Path(remote) / "HEAD").exists()


def _branches(bare: Path) -> list[str]:
    return git("for-each-ref", "--format=%(refname:short)", "refs/heads", at=bare).split()


@contextmanager
def _mirror_lock() -> Iterator[Path]:
    home = settings().home
    with alone(home / "source.lock"):
        yield home / "source.git"
