# The certificate authorities of the organizations: each runs on with the keys that cryptogen made, one CA
# for identities and one for TLS; and the application that goes on meanwhile.

# organization_files ORGANIZATION
organization_files() {
    case $1 in
    orderer) echo "$CRYPTO/ordererOrganizations/orderer.example" ;;
    *) echo "$CRYPTO/peerOrganizations/$1.example" ;;
    esac
}

# start_ca ORGANIZATION
start_ca() {
    local organization=$1 home="$WORK/ca/$1" files ca
    files=$(organization_files "$organization")
    for ca in ca tlsca; do
        mkdir -p "$home/$ca"
        cat >"$home/$ca/fabric-ca-server-config.yaml" <<YAML
ca:
  name: $ca
  certfile: $files/$ca/$ca.$organization.example-cert.pem
  keyfile: $(echo "$files/$ca"/*_sk)
csr:
  cn: $ca.$organization.example
  hosts: [localhost, 127.0.0.1]
registry:
  maxenrollments: -1
  identities:
    - name: admin
      pass: adminpw
      type: client
      affiliation: ""
      attrs:
        hf.Registrar.Roles: "*"
        hf.Registrar.Attributes: "*"
        hf.Revoker: true
        hf.GenCRL: true
signing:
  default: {usage: [digital signature], expiry: 8760h}
  profiles:
    tls:
      usage: [signing, key encipherment, server auth, client auth, key agreement]
      expiry: 8760h
YAML
    done
    mv "$home/ca/fabric-ca-server-config.yaml" "$home/"
    rmdir "$home/ca"
    launch "ca.$organization" "Listening on" env FABRIC_CA_SERVER_HOME="$home" \
        FABRIC_CA_SERVER_PORT="${PORT[ca.$organization]}" FABRIC_CA_SERVER_ADDRESS=127.0.0.1 \
        FABRIC_CA_SERVER_TLS_ENABLED=true FABRIC_CA_SERVER_CAFILES=tlsca/fabric-ca-server-config.yaml \
        fabric-ca-server start -b admin:adminpw
    local url
    url=$(ca_url "$organization" admin adminpw)
    wait_for 30 "the CA of $organization" ca_client "$organization" admin enroll --caname ca
    quietly ca_client "$organization" admin-tls enroll --caname tlsca
}

# ca_url ORGANIZATION USER SECRET
ca_url() { echo "https://$2:$3@localhost:${PORT[ca.$1]}"; }

# ca_client ORGANIZATION WHO COMMAND...: a client with a home of its own; `url` is where, if it is set.
ca_client() {
    local organization=$1 who=$2
    shift 2
    env FABRIC_CA_CLIENT_HOME="$WORK/clients/$organization/$who" \
        FABRIC_CA_CLIENT_TLS_CERTFILES="$(ca_tls_root "$organization")" \
        fabric-ca-client "$@" --url "${url:-https://localhost:${PORT[ca.$organization]}}"
}

# The server makes its own TLS certificate with its first CA.
ca_tls_root() {
    local files
    files=$(organization_files "$1")
    echo "$files/ca/ca.$1.example-cert.pem"
}

# enroll ORGANIZATION NAME TYPE FOLDER [HOST]: registers a name anew, and has a key and a certificate for it
# made, with HOST by the CA for TLS.
enroll() {
    local organization=$1 name=$2 type=$3 folder=$4 host=${5:-} ca=ca registrar=admin options=() url=
    if [[ -n $host ]]; then
        ca=tlsca registrar=admin-tls options=(--enrollment.profile tls --csr.hosts "$host,localhost,127.0.0.1")
    fi
    quietly ca_client "$organization" "$registrar" register --caname "$ca" --id.name "$name" \
        --id.secret secret --id.type "$type"
    rm -rf "$folder"
    url=$(ca_url "$organization" "$name" secret)
    quietly ca_client "$organization" "$registrar" enroll --caname "$ca" -M "$folder" ${options[@]+"${options[@]}"}
}

# renew ORGANIZATION NAME TYPE FILES [HOST]: new keys and certificates in the folder of a node or person.
renew() {
    local organization=$1 name=$2 type=$3 files=$4 host=${5:-} new="$WORK/renewed/$2"
    enroll "$organization" "$name" "$type" "$new/msp"
    rm "$files"/msp/keystore/* "$files"/msp/signcerts/*
    cp "$new"/msp/keystore/* "$files/msp/keystore/"
    cp "$new"/msp/signcerts/* "$files/msp/signcerts/"
    if [[ -n $host ]]; then
        enroll "$organization" "$name" "$type" "$new/tls" "$host"
        cp "$new"/tls/keystore/* "$files/tls/server.key"
        cp "$new"/tls/signcerts/* "$files/tls/server.crt"
    fi
}

renew_orderer() { renew orderer "$1" orderer "$(orderer_files "$1")" "$1.orderer.example"; }
renew_peer() { renew "${1#*.}" "${1%%.*}" peer "$(peer_files "$1")" "$1.example"; }
renew_admin() { renew "$1" administrator admin "$(user_files "$1" Admin)"; }

# enroll_user ORGANIZATION NAME
enroll_user() {
    local files
    files=$(user_files "$1" "$2")
    enroll "$1" "$2" client "$files/msp"
    # With the roots and the NodeOUs of the organization.
    cp -r "$(organization_files "$1")/msp/." "$files/msp/"
}

# revoke_user ORGANIZATION NAME
revoke_user() { quietly ca_client "$1" admin revoke --caname ca -e "$2" --gencrl; }

# crl_of ORGANIZATION
crl_of() { echo "$WORK/clients/$1/admin/msp/crls/crl.pem"; }

# osn NODE ARGUMENT...: osnadmin as the administrator of the node.
osn() {
    local node=$1 files
    shift
    files=$(orderer_files "$node")
    osnadmin "$@" -o "localhost:${ADMIN[$node]}" --ca-file "$files/tls/ca.crt" \
        --client-cert "$files/tls/server.crt" --client-key "$files/tls/server.key"
}

# active NODE: it takes part in ordering.
active() {
    osn "$1" channel list --channelID health >"$WORK/standing"
    grep -q '"status": "active"' "$WORK/standing" && grep -q '"consensusRelation": "consenter"' "$WORK/standing"
}

start_load() {
    local node gateways=()
    for node in peer{0,1}.{hospital,insurer}; do
        gateways+=("$(jq -n --arg address "localhost:${PORT[$node]}" --arg root "$(peer_files "$node")/tls/ca.crt" \
            --arg id "$(msp_id "${node#*.}")" --arg msp "$(user_files "${node#*.}" User1)/msp" \
            '{address: $address, tlsRoot: $root, mspId: $id, msp: $msp}')")
    done
    printf '%s\n' "${gateways[@]}" |
        jq -s '{channel: "health", chaincode: "notes", pace: 200, gateways: .}' >"$WORK/load.json"
    mkfifo "$WORK/load.input"
    node "$HERE/load.mjs" "$WORK/load.json" <"$WORK/load.input" >"$WORK/logs/load" 2>&1 &
    NODES[load]=$!
    # It ends when this is closed.
    exec 7>"$WORK/load.input"
}

end_load() {
    local load=${NODES[load]}
    exec 7>&-
    wait "$load" || {
        echo "an application's call failed for good:" >&2
        tail -n 20 "$WORK/logs/load" >&2
        return 1
    }
    unset 'NODES[load]'
    tail -n 1 "$WORK/logs/load"
}
