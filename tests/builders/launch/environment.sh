# Tells one of Fabric's shims what chaincode.json in the folder "$2" says.
set -e
umask 077
launch=$2
field() { printf '%b' "$(sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$launch/chaincode.json")"; }
CORE_CHAINCODE_ID_NAME=$(field chaincode_id)
CORE_PEER_LOCALMSPID=$(field mspid)
CORE_PEER_TLS_ENABLED=false
if [ -n "$(field root_cert)" ]; then
    CORE_PEER_TLS_ENABLED=true
    CORE_PEER_TLS_ROOTCERT_FILE=$launch/root.crt
    field root_cert >"$CORE_PEER_TLS_ROOTCERT_FILE"
    # These two are wanted in base64 once more.
    CORE_TLS_CLIENT_CERT_PATH=$launch/client.crt
    CORE_TLS_CLIENT_KEY_PATH=$launch/client.key
    field client_cert | base64 -w 0 >"$CORE_TLS_CLIENT_CERT_PATH"
    field client_key | base64 -w 0 >"$CORE_TLS_CLIENT_KEY_PATH"
    export CORE_PEER_TLS_ROOTCERT_FILE CORE_TLS_CLIENT_CERT_PATH CORE_TLS_CLIENT_KEY_PATH
fi
export CORE_CHAINCODE_ID_NAME CORE_PEER_LOCALMSPID CORE_PEER_TLS_ENABLED
