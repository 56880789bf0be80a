# Changes of the channel's configuration, as Fabric's documentation makes them: fetch, decode, edit with
# jq, compute the update, sign, submit.

# fetch_config: the channel's configuration now, as $WORK/config.json.
fetch_config() {
    local block="$WORK/config.block"
    # An orderer that has just started may not know yet who leads.
    # shellcheck disable=SC2046
    wait_for 30 "the configuration" as_orderer peer channel fetch config "$block" -c health $(orderer_flags orderer0)
    configtxlator proto_decode --input "$block" --type common.Block |
        jq .data.data[0].payload.data.config >"$WORK/config.json"
}

# propose NAME JQ...: the update that a program for jq makes, as the envelope $WORK/NAME.pb.
propose() {
    local name=$1
    shift
    fetch_config
    jq "$@" "$WORK/config.json" >"$WORK/$name.json"
    configtxlator proto_encode --input "$WORK/config.json" --type common.Config --output "$WORK/original.pb"
    configtxlator proto_encode --input "$WORK/$name.json" --type common.Config --output "$WORK/updated.pb"
    configtxlator compute_update --channel_id health --original "$WORK/original.pb" \
        --updated "$WORK/updated.pb" --output "$WORK/update.pb"
    configtxlator proto_decode --input "$WORK/update.pb" --type common.ConfigUpdate |
        jq '{payload: {header: {channel_header: {channel_id: "health", type: 2}}, data: {config_update: .}}}' |
        configtxlator proto_encode --type common.Envelope --output "$WORK/$name.pb"
}

# agree NAME ORGANIZATION...: each signs, the last one submits.
agree() {
    local file="$WORK/$1.pb"
    shift
    while (($# > 1)); do
        as "Admin@$1" peer channel signconfigtx -f "$file"
        shift
    done
    # shellcheck disable=SC2046
    as "Admin@$1" peer channel update -c health -f "$file" $(orderer_flags orderer1)
}

# ordering_agrees NAME: the ordering service alone decides.
ordering_agrees() {
    # shellcheck disable=SC2046
    as_orderer peer channel update -c health -f "$WORK/$1.pb" $(orderer_flags orderer1)
}

# shows JQ EXPECTED: what the configuration says.
shows() {
    fetch_config
    [[ $(jq -r "$1" "$WORK/config.json") == "$2" ]]
}

# knows ORDERER TEXT: the configuration that this orderer has, has the text in it.
knows() {
    # shellcheck disable=SC2046
    as_orderer peer channel fetch config "$WORK/known.block" -c health $(orderer_flags "$1") &&
        configtxlator proto_decode --input "$WORK/known.block" --type common.Block >"$WORK/known.json" &&
        grep -qF "$2" "$WORK/known.json"
}
