"""Scenes, maps and reports in an S3 store, for workers that share no disk. In: ``SWATH_STORE``. Out: folders.

A command works in a view: folders of its own with links to what it brought from the store. When it ends, what it made,
moved or removed there is done in the store. Without a store its folders are the catalog, the maps and the reports.
"""

from pipelines.depot.cache import objects
from pipelines.depot.session import address, bring, brought, look, named, post, send, work

__all__ = ["address", "bring", "brought", "look", "named", "objects", "post", "send", "work"]
