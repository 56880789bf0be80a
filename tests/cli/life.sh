#!/usr/bin/env bash
# The life of a consortium with nothing but the tools under Fabric's names, from yaml and environment alone:
# generated, started, used, grown, shrunk, a user revoked, every certificate replaced, batch size and
# policies changed, a peer restored from its backup, while an application goes on.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/consortium.sh"

chapter "the certificate authorities, and a user of one"
for organization in hospital insurer orderer; do start_ca "$organization"; done
enroll_user hospital nurse
quietly put nurse@hospital pulse 60 peer0.hospital peer0.insurer

chapter "change batch size and policies"
propose batch '.channel_group.groups.Orderer.values.BatchSize.value.max_message_count = 20
    | .channel_group.groups.Orderer.values.BatchTimeout.value.timeout = "500ms"'
refused 'FORBIDDEN|BAD_REQUEST' agree batch hospital
quietly ordering_agrees batch
wait_for 30 "the new batch size" shows .channel_group.groups.Orderer.values.BatchSize.value.max_message_count 20
propose endorsement '.channel_group.groups.Application.policies.Endorsement.policy.value.rule = "ANY"'
refused 'FORBIDDEN|BAD_REQUEST' agree endorsement hospital
quietly agree endorsement hospital insurer
wait_for 30 "one endorsement to be enough" quietly put User1@insurer size 9 peer1.insurer

chapter "add a third organization"
cryptogen generate --config "$HERE/crypto-config-regulator.yaml" --output "$CRYPTO" >>"$WORK/logs/cryptogen"
mkdir "$WORK/regulator"
fill "$HERE/configtx-regulator.yaml" "$WORK/regulator/configtx.yaml"
configtxgen -configPath "$WORK/regulator" -printOrg RegulatorMSP >"$WORK/regulator.json" 2>>"$WORK/logs/commands"
propose newcomer --slurpfile new "$WORK/regulator.json" --argjson port "${PORT[peer0.regulator]}" \
    '.channel_group.groups.Application.groups.RegulatorMSP = ($new[0]
        | .values.AnchorPeers = {mod_policy: "Admins", version: "0",
            value: {anchor_peers: [{host: "localhost", port: $port}]}})'
quietly agree newcomer hospital insurer
start_peer peer0.regulator
# shellcheck disable=SC2046
wait_for 30 "the newcomer to be let in" as Admin@regulator peer channel fetch 0 "$WORK/first.block" -c health \
    $(orderer_flags orderer0)
cmp "$WORK/first.block" "$WORK/genesis.block" || [[ -s $WORK/first.block ]]
quietly join peer0.regulator
quietly install peer0.regulator
wait_for 60 "the newcomer to know itself and approve" approve regulator
wait_for 30 "the newcomer to endorse" quietly put User1@regulator seen yes peer0.regulator
wait_for 30 "the others to see it" gets User1@hospital seen yes

chapter "revoke a user"
revoke_user hospital nurse
# shellcheck disable=SC2016
propose revocation --arg crl "$(base64 -w0 "$(crl_of hospital)")" \
    '.channel_group.groups.Application.groups.HospitalMSP.values.MSP.value.config.revocation_list = [$crl]'
quietly agree revocation hospital
revoked() { refused 'access denied|creator|revoked|ENDORSEMENT' put nurse@hospital pulse 0 peer0.hospital; }
wait_for 30 "the revoked user to be refused" revoked
gets User1@hospital pulse 60

chapter "replace every certificate, node by node"
# agreed ORDERER CERTIFICATE: the channel has it as that orderer's, or takes it now.
agreed() {
    knows orderer1 "$2" && return
    propose "consenter-$1" --arg certificate "$2" --argjson port "${PORT[$1]}" \
        '(.channel_group.groups.Orderer.values.ConsensusType.value.metadata.consenters[]
            | select(.port == $port)) |= (.client_tls_cert = $certificate | .server_tls_cert = $certificate)' &&
        ordering_agrees "consenter-$1"
}
for node in orderer{0,1,2}; do
    renew_orderer "$node"
    certificate=$(base64 -w0 "$(orderer_files "$node")/tls/server.crt")
    # Proposed anew each time: the orderer that is asked for the configuration may be behind. The leader
    # has to know that the others are there.
    wait_for 60 "the new certificate of $node to be agreed on" agreed "$node" "$certificate"
    # One that starts before it has heard of its new certificate takes no part.
    wait_for 60 "$node to hear of it" knows "$node" "$certificate"
    stop "$node"
    start_orderer "$node"
    wait_for 60 "$node to be active again" active "$node"
done
for node in peer{0,1}.{hospital,insurer}; do
    renew_peer "$node"
    stop "$node"
    start_peer "$node"
    wait_for 60 "$node to answer again" gets "User1@${node#*.}/$node" color blue
done
for organization in hospital insurer; do renew_admin "$organization"; done
# The orderer that was replaced last may have been the leader.
wait_for 60 "the new administrators to write" put Admin@hospital color green peer0.hospital peer0.insurer

chapter "remove the third organization"
propose removal 'del(.channel_group.groups.Application.groups.RegulatorMSP)'
refused 'FORBIDDEN|BAD_REQUEST' agree removal insurer
quietly agree removal hospital insurer
removed() { refused '.' put User1@regulator seen no peer0.hospital; }
wait_for 30 "the removed organization to be refused" removed
stop peer0.regulator
gets User1@insurer seen yes

chapter "back a peer up and restore it"
stop peer1.insurer
cp -r "$WORK/data/peer1.insurer" "$WORK/backup"
start_peer peer1.insurer
wait_for 60 "a transaction meanwhile" put User1@hospital after backup peer0.hospital
stop peer1.insurer
rm -rf "$WORK/data/peer1.insurer"
cp -r "$WORK/backup" "$WORK/data/peer1.insurer"
start_peer peer1.insurer
wait_for 60 "the restored peer to catch up" gets User1@insurer/peer1.insurer after backup

the_end
