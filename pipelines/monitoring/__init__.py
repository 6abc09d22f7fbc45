"""Watching: do the scenes that arrive still look like those that the model was trained on?

In: what prediction saw, pixel sample by pixel sample, and the reference profiles that travel with the model. Out:
mergeable whylogs profiles, distances by feature, scene and group, a verdict, a page, and the places worth labelling.
"""
