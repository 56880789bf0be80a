# What the scripts here have in common: a consortium that begins, with an application that goes on. Whose
# programs these are, TOOLS says: a folder with peer, orderer, configtxgen, configtxlator, cryptogen,
# osnadmin, fabric-ca-server and fabric-ca-client. CONTRACT is the contract `notes` of tests/contracts/go,
# built. SAMPLECONFIG has the core.yaml and orderer.yaml that Fabric brings.

: "${TOOLS:?a folder of programs}" "${CONTRACT:?the contract as a program}" "${SAMPLECONFIG:?a folder}"
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
WORK=$(mktemp -d)
export PATH="$TOOLS:$PATH"
mkdir -p "$WORK"/{logs,config,data}
# Whatever the caller has set for nodes of his own.
for variable in $(compgen -e | grep -E '^(CORE|ORDERER|CONFIGTX|FABRIC)_' || true); do unset "$variable"; done

# Enough to see when a node has started.
export FABRIC_LOGGING_SPEC=warn:orderer.common.server=info:nodeCmd=info

. "$HERE/nodes.sh"
. "$HERE/channel.sh"
. "$HERE/authorities.sh"

finish() {
    local code=$?
    trap - EXIT
    if ((code != 0)); then
        echo "FAILED in: ${chapter:-the beginning}" >&2
        tail -n 5 "$WORK"/logs/* >&2 || true
    fi
    stop_all
    [[ -n ${KEEP:-} ]] && echo "kept: $WORK" || rm -rf "$WORK"
    exit "$code"
}
trap finish EXIT

passed=0
chapter() {
    [[ -z ${chapter:-} ]] || passed=$((passed + 1))
    chapter=$1
    echo "$((SECONDS))s $chapter"
}

refused() {
    local words=$1
    shift
    if "$@" >"$WORK/refused" 2>&1; then
        echo "not refused: $*" >&2
        return 1
    fi
    grep -qiE "$words" "$WORK/refused" || {
        echo "refused, but not with '$words': $*" >&2
        cat "$WORK/refused" >&2
        return 1
    }
}

peer_flags() {
    local node
    for node in "$@"; do
        echo --peerAddresses "localhost:${PORT[$node]}" --tlsRootCertFiles "$(peer_files "$node")/tls/ca.crt"
    done
}

# put WHO KEY VALUE PEER...: endorsed by those peers, and committed at them.
put() {
    local who=$1 key=$2 value=$3
    shift 3
    # shellcheck disable=SC2046
    as "$who" peer chaincode invoke -C health -n notes -c "{\"Args\":[\"put\",\"$key\",\"$value\"]}" \
        --waitForEvent $(orderer_flags orderer2) $(peer_flags "$@")
}

# gets WHO KEY VALUE
gets() {
    [[ $(as "$1" peer chaincode query -C health -n notes -c "{\"Args\":[\"get\",\"$2\"]}") == "$3" ]]
}

join() {
    as "Admin@${1#*.}/$1" peer channel join -b "$WORK/genesis.block"
}

install() {
    as "Admin@${1#*.}/$1" peer lifecycle chaincode install "$WORK/notes.tar.gz"
}

approve() {
    # shellcheck disable=SC2046
    as "Admin@$1" peer lifecycle chaincode approveformyorg -C health -n notes -v 1 --sequence 1 \
        --package-id "$PACKAGE" $(orderer_flags orderer0)
}

# heights: all peers are at the same block.
heights() {
    local node reference=
    for node in peer{0,1}.{hospital,insurer}; do
        as "Admin@${node#*.}/$node" peer channel getinfo -c health | sed -n 's/^Blockchain info: //p' >"$WORK/info.$node"
        reference=${reference:-$node}
        cmp "$WORK/info.$node" "$WORK/info.$reference"
    done
}

quietly() { "$@" >>"$WORK/logs/commands" 2>&1; }

# the_end: nothing that the application was told is lost, and all peers have the same chain.
the_end() {
    chapter "what the application saw"
    end_load
    wait_for 30 "all peers to be at the same block" heights
    cat "$WORK/info.peer0.hospital"

    chapter "stop"
    for node in peer{0,1}.{hospital,insurer} orderer{0,1,2}; do stop "$node"; done
    passed=$((passed + 1))
    echo "$passed passed, 0 failed"
}

chapter "generate: keys, certificates and the first block"
choose_ports
fill "$HERE/configtx.yaml" "$CFG/configtx.yaml"
cp "$SAMPLECONFIG"/{core,orderer}.yaml "$CFG/"
cryptogen generate --config "$HERE/crypto-config.yaml" --output "$CRYPTO" >"$WORK/logs/cryptogen"
quietly configtxgen -configPath "$CFG" -profile Consortium -channelID health -outputBlock "$WORK/genesis.block"
quietly configtxgen -inspectBlock "$WORK/genesis.block"

chapter "start: three orderers and four peers"
for node in orderer{0,1,2}; do start_orderer "$node"; done
for node in peer{0,1}.{hospital,insurer}; do start_peer "$node"; done

chapter "create the channel and join it"
for node in orderer{0,1,2}; do
    osn "$node" channel join --channelID health --config-block "$WORK/genesis.block" >"$WORK/joined"
    grep -q 'Status: 201' "$WORK/joined"
done
for node in peer{0,1}.{hospital,insurer}; do quietly join "$node"; done
quietly as Admin@insurer peer channel list

chapter "deploy a contract"
mkdir "$WORK/contract"
echo "{\"address\":\"127.0.0.1:${PORT[contract]}\",\"dial_timeout\":\"10s\",\"tls_required\":false}" \
    >"$WORK/contract/connection.json"
tar -czf "$WORK/contract/code.tar.gz" -C "$WORK/contract" connection.json
echo '{"type":"ccaas","label":"notes_1"}' >"$WORK/contract/metadata.json"
tar -czf "$WORK/notes.tar.gz" -C "$WORK/contract" metadata.json code.tar.gz
PACKAGE=$(as Admin@hospital peer lifecycle chaincode calculatepackageid "$WORK/notes.tar.gz")
CHAINCODE_SERVER_ADDRESS=127.0.0.1:${PORT[contract]} CHAINCODE_ID=$PACKAGE "$CONTRACT" >"$WORK/logs/contract" 2>&1 &
NODES[contract]=$!
for node in peer{0,1}.{hospital,insurer}; do quietly install "$node"; done
# An organization's peers have to know each other before one approves for all.
for organization in hospital insurer; do wait_for 60 "$organization to approve" approve "$organization"; done
as Admin@hospital peer lifecycle chaincode checkcommitreadiness -C health -n notes -v 1 --sequence 1 -O json |
    jq -e '.approvals == {HospitalMSP: true, InsurerMSP: true}' >/dev/null
# shellcheck disable=SC2046
quietly as Admin@hospital peer lifecycle chaincode commit -C health -n notes -v 1 --sequence 1 \
    $(orderer_flags orderer1) $(peer_flags peer0.hospital peer0.insurer)

chapter "invoke and query"
quietly put User1@hospital color blue peer0.hospital peer0.insurer
gets User1@insurer color blue
start_load
