"""docker-compose.yml run without Docker: each service's own command and environment, in namespaces of its own.

``make cluster-test`` starts ``run``, which enters a network, a process table and mounts that end with it, and pytest in
them.

What is the file's is read by Docker Compose itself (``compose``). What an engine does is done by Linux (``inside``,
``container``, ``cluster``): root folder, volumes, user, capabilities, host name, network, order, health checks. What
cannot be had without a registry, the images, is this machine's own files with a layer above them (``images``): the
only place where something is translated.
"""
