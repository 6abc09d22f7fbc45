"""The ``swath`` command: one file a noun, imports of heavy libraries inside the functions that need them."""
