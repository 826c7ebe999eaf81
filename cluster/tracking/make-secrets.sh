#!/usr/bin/env bash
# Make the passwords that compose.yaml needs, in secrets/ beside this file; those that are there already stay.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
umask 077
mkdir -p "$here/secrets"
for name in admin-password database-password s3-secret-key; do
    if [[ ! -s $here/secrets/$name ]]; then
        head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$here/secrets/$name"
        echo "made $here/secrets/$name"
    fi
done
# The server runs as whoever may read them.
printf 'TRACKING_USER=%s:%s\n' "$(id -u)" "$(id -g)" >"$here/.env"
