#!/usr/bin/env bash
# The peers of a consortium of Fabric's programs (TOOLS) are replaced by others (MOVE_TO), node by node, with
# the same identities, files and environment, while an application goes on.
set -euo pipefail
: "${MOVE_TO:?a folder of the other programs}"
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/consortium.sh"

moved() { gets "User1@${1#*.}/$1" color blue && gets "User1@${1#*.}/$1" moved "$2"; }

last=none
for node in peer{0,1}.{hospital,insurer}; do
    chapter "move $node"
    # What happens meanwhile it has to get from the others.
    quietly put User1@hospital moved "$last" peer0.hospital peer0.insurer
    stop "$node"
    mv "$WORK/data/$node" "$WORK/data/$node.before"
    PATH="$MOVE_TO:$PATH" start_peer "$node"
    quietly join "$node"
    quietly install "$node"
    wait_for 60 "$node to have what its predecessor had" moved "$node" "$last"
    last=$node
done
quietly put User1@insurer moved all peer0.hospital peer0.insurer
wait_for 30 "all to agree" gets User1@hospital moved all

the_end
