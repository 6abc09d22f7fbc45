"""The state of an installation over the years: what may go, what is copied, and how it comes back.

In: the folders and databases that the settings name. Out: less of them, or a copy that another machine can start from.
"""
