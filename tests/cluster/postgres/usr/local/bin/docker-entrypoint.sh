#!/bin/sh
# What the entrypoint of the image `postgres` does where its volume is empty: a cluster with one superuser, whose
# password holds for every address, its database, and the files of /docker-entrypoint-initdb.d.
set -eu
as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }

install -d -o postgres -g postgres -m 0700 "$PGDATA"
install -d -o postgres -g postgres /var/run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    as sh -c 'umask 077; printf %s "$POSTGRES_PASSWORD" > /tmp/password'
    as initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=trust "$PGDATA"
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    as pg_ctl --wait --options="-c listen_addresses=''" start
    as createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sh; do
        as "$file"
    done
    as pg_ctl --wait --mode=fast stop
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@" -c listen_addresses='*'
