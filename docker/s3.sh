#!/bin/sh
# An S3 store with one identity, whose secret comes from the environment and goes to a file that only root reads.
set -eu
umask 077
cat > /tmp/s3.json <<JSON
{"identities": [{"name": "swath", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "swath", "secretKey": "$S3_SECRET_KEY"}]}]}
JSON
# A bucket takes seven volumes at once, of 30 GB if one does not say otherwise: on a small disk the second bucket would
# find no room. -volume.max=0 means as many as the disk holds.
exec weed server -dir=/data -ip.bind=0.0.0.0 -volume.max=0 -master.volumeSizeLimitMB=1024 -master.telemetry=false \
    -s3 -s3.port=8333 -s3.config=/tmp/s3.json
