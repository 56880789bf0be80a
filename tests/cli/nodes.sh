# Nodes that life.sh starts: each from the yaml files that Fabric brings, and its environment.

# NODES: the processes, by the names of their nodes.
declare -A NODES=() PORT=() OPERATIONS=() ADMIN=()
CFG="$WORK/config"
CRYPTO="$WORK/crypto"

# Free ports on this machine, one per line.
free_ports() {
    node -e '
        const net = require("net"), ports = [], open = [];
        const next = () => {
            if (ports.length == process.argv[1]) {
                console.log(ports.join("\n"));
                return open.forEach((server) => server.close());
            }
            const server = net.createServer().listen(0, "127.0.0.1", () => {
                ports.push(server.address().port); open.push(server); next();
            });
        };
        next();' "$1"
}

choose_ports() {
    local ports node
    mapfile -t ports < <(free_ports 32)
    for node in orderer{0,1,2} peer{0,1}.{hospital,insurer} peer0.regulator; do
        PORT[$node]=${ports[0]} OPERATIONS[$node]=${ports[1]} ADMIN[$node]=${ports[2]}
        ports=("${ports[@]:3}")
    done
    for node in contract ca.hospital ca.insurer ca.orderer; do
        PORT[$node]=${ports[0]}
        ports=("${ports[@]:1}")
    done
}

# fill TEMPLATE OUTPUT: the template with variables of the shell in it.
fill() {
    eval "cat <<FILLED
$(cat "$1")
FILLED" >"$2"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$WORK/waiting" 2>&1; do
        if ((SECONDS > deadline)); then
            echo "waited in vain for $what; the last answer:" >&2
            cat "$WORK/waiting" >&2
            return 1
        fi
        sleep 0.2
    done
}

# launch NODE LINE COMMAND...: in the background, until its log has the line that scripts wait for.
launch() {
    local node=$1 line=$2
    shift 2
    : >"$WORK/logs/$node.start"
    # Without the application's input, which ends when nobody holds it.
    "$@" >"$WORK/logs/$node.start" 2>&1 7>&- &
    NODES[$node]=$!
    wait_for 60 "$node to say '$line'" grep -q "$line" "$WORK/logs/$node.start" || {
        tail -n 20 "$WORK/logs/$node.start" >&2
        return 1
    }
}

# stop NODE: as an operator stops it.
stop() {
    kill -TERM "${NODES[$1]}"
    wait "${NODES[$1]}" || true
    cat "$WORK/logs/$1.start" >>"$WORK/logs/$1"
    unset "NODES[$1]"
}

stop_all() {
    local node
    for node in "${!NODES[@]}"; do kill -KILL "${NODES[$node]}" 2>/dev/null || true; done
    wait 2>/dev/null
}

# orderer_files NODE: the folder of its msp/ and tls/.
orderer_files() { echo "$CRYPTO/ordererOrganizations/orderer.example/orderers/$1.orderer.example"; }

start_orderer() {
    local node=$1 files
    files=$(orderer_files "$node")
    launch "$node" "Beginning to serve requests" env \
        FABRIC_CFG_PATH="$CFG" \
        ORDERER_GENERAL_BOOTSTRAPMETHOD=none \
        ORDERER_GENERAL_TLS_ENABLED=true \
        ORDERER_CHANNELPARTICIPATION_ENABLED=true \
        ORDERER_ADMIN_TLS_ENABLED=true \
        ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED=true \
        ORDERER_GENERAL_LISTENPORT="${PORT[$node]}" \
        ORDERER_GENERAL_LOCALMSPID=OrdererMSP \
        ORDERER_GENERAL_LOCALMSPDIR="$files/msp" \
        ORDERER_GENERAL_TLS_CERTIFICATE="$files/tls/server.crt" \
        ORDERER_GENERAL_TLS_PRIVATEKEY="$files/tls/server.key" \
        ORDERER_GENERAL_TLS_ROOTCAS="[$files/tls/ca.crt]" \
        ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE="$files/tls/server.crt" \
        ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY="$files/tls/server.key" \
        ORDERER_GENERAL_CLUSTER_ROOTCAS="[$files/tls/ca.crt]" \
        ORDERER_ADMIN_LISTENADDRESS="127.0.0.1:${ADMIN[$node]}" \
        ORDERER_ADMIN_TLS_CERTIFICATE="$files/tls/server.crt" \
        ORDERER_ADMIN_TLS_PRIVATEKEY="$files/tls/server.key" \
        ORDERER_ADMIN_TLS_ROOTCAS="[$files/tls/ca.crt]" \
        ORDERER_ADMIN_TLS_CLIENTROOTCAS="[$files/tls/ca.crt]" \
        ORDERER_OPERATIONS_LISTENADDRESS="127.0.0.1:${OPERATIONS[$node]}" \
        ORDERER_FILELEDGER_LOCATION="$WORK/data/$node" \
        ORDERER_CONSENSUS_WALDIR="$WORK/data/$node/etcdraft/wal" \
        ORDERER_CONSENSUS_SNAPDIR="$WORK/data/$node/etcdraft/snapshot" \
        orderer
}

# peer_files NODE: the folder of its msp/ and tls/.
peer_files() {
    local domain=${1#*.}.example
    echo "$CRYPTO/peerOrganizations/$domain/peers/${1%%.*}.$domain"
}

# msp_id ORGANIZATION
msp_id() { echo "${1^}MSP"; }

start_peer() {
    local node=$1 organization=${1#*.} files
    files=$(peer_files "$node")
    launch "$node" "Started peer with ID" env \
        FABRIC_CFG_PATH="$CFG" \
        CORE_PEER_TLS_ENABLED=true \
        CORE_CHAINCODE_EXTERNALBUILDERS="[{\"name\":\"service\",\"path\":\"$ROOT/tests/builders/service\"}]" \
        CORE_PEER_ID="$node.example" \
        CORE_PEER_ADDRESS="localhost:${PORT[$node]}" \
        CORE_PEER_LISTENADDRESS="127.0.0.1:${PORT[$node]}" \
        CORE_PEER_CHAINCODELISTENADDRESS="127.0.0.1:${ADMIN[$node]}" \
        CORE_PEER_GOSSIP_BOOTSTRAP="localhost:${PORT[peer0.$organization]}" \
        CORE_PEER_GOSSIP_EXTERNALENDPOINT="localhost:${PORT[$node]}" \
        CORE_PEER_LOCALMSPID="$(msp_id "$organization")" \
        CORE_PEER_MSPCONFIGPATH="$files/msp" \
        CORE_PEER_TLS_CERT_FILE="$files/tls/server.crt" \
        CORE_PEER_TLS_KEY_FILE="$files/tls/server.key" \
        CORE_PEER_TLS_ROOTCERT_FILE="$files/tls/ca.crt" \
        CORE_PEER_FILESYSTEMPATH="$WORK/data/$node" \
        CORE_LEDGER_SNAPSHOTS_ROOTDIR="$WORK/data/$node/snapshots" \
        CORE_OPERATIONS_LISTENADDRESS="127.0.0.1:${OPERATIONS[$node]}" \
        peer node start
}

# user_files ORGANIZATION USER: the folder of a person's msp/.
user_files() { echo "$CRYPTO/peerOrganizations/$1.example/users/$2@$1.example"; }

# as USER@ORGANIZATION[/NODE] COMMAND...: a person at a terminal, before a peer of the organization.
as() {
    local who=${1%%/*} node=${1#*/}
    local organization=${who#*@}
    [[ $node != "$1" ]] || node=peer0.$organization
    shift
    env FABRIC_CFG_PATH="$CFG" \
        CORE_PEER_TLS_ENABLED=true \
        CORE_PEER_ADDRESS="localhost:${PORT[$node]}" \
        CORE_PEER_LOCALMSPID="$(msp_id "$organization")" \
        CORE_PEER_MSPCONFIGPATH="$(user_files "$organization" "${who%@*}")/msp" \
        CORE_PEER_TLS_ROOTCERT_FILE="$(peer_files "$node")/tls/ca.crt" \
        "$@"
}

# as_orderer COMMAND...: the administrator of the ordering service.
as_orderer() {
    local organization="$CRYPTO/ordererOrganizations/orderer.example"
    env FABRIC_CFG_PATH="$CFG" \
        CORE_PEER_LOCALMSPID=OrdererMSP \
        CORE_PEER_MSPCONFIGPATH="$organization/users/Admin@orderer.example/msp" \
        CORE_PEER_TLS_ROOTCERT_FILE="$(orderer_files orderer0)/tls/ca.crt" \
        "$@"
}

# orderer_flags NODE: how commands reach it.
orderer_flags() {
    echo -o "localhost:${PORT[$1]}" --tls --cafile "$(orderer_files orderer0)/tls/ca.crt"
}
