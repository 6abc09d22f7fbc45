"""Whether an installation is fit to run, and what to do where it is not.

In: the environment, and the folders, addresses and services that it names. Out: findings, each a sentence on what is
wrong and one on what to do. Nothing is mended, and what is written to see whether it can be is removed at once.
"""
