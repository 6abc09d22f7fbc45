"""What people look at: scenes and maps as tiles and pixels, champions, datasets and drift as plain records.

In: the catalog, the maps and the reports of ``settings()``, the model registry, the watched repository's dataset
versions. Out: bytes of pictures and small frozen records, for the pages of ``plugins/pages``. Nothing here writes to
what it reads; what is dear to make again is kept below ``SWATH_HOME/atlas``.
"""
