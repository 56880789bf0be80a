package ordering

import (
	"os"
	"testing"

	"consilium/tests/ordering/network"
	"consilium/tests/ordering/sdk"
)

// Clients of Fabric's gateway SDKs, for Go and for Node, go on through everything that may happen to
// the ordering service: they see only errors that are retried, and what was acknowledged is valid at
// every peer.

func TestFaultTheSDKsSeeOnlyErrorsToRetryWhileOrderersAreKilled(t *testing.T) {
	injectsFaults(t)
	net := network.Start(t, network.Options{WithPeers: true, SnapshotIntervalSize: 64 << 10})
	work, rounds, random := sdk.Start(t, net, 2), number(t, "FAULT_GATEWAY_ROUNDS", 5), moments(t)
	killLeaders(t, net, work, rounds, random)
	killAll(t, net, work, rounds, random)
	work.Check(t)
}

func TestFaultTheSDKsSeeOnlyErrorsToRetryWhileAllConsentersAreReplaced(t *testing.T) {
	injectsFaults(t)
	net := network.Start(t, network.Options{WithPeers: true, Spares: 3, SnapshotIntervalSize: 64 << 10})
	replaceAll(t, net, sdk.Start(t, net, 2))
}

func TestFaultTheSDKsSeeOnlyErrorsToRetryWhileTLSCertificatesAreRotated(t *testing.T) {
	injectsFaults(t)
	net := network.Start(t, network.Options{WithPeers: true})
	rotateAll(t, net, sdk.Start(t, net, 2), exchange)
}

func TestFaultTheSDKsSeeOnlyErrorsToRetryWhilePacketsInOneDirectionAreDropped(t *testing.T) {
	injectsFaults(t)
	prefix := os.Getenv(namespaces)
	if prefix == "" {
		runInNamespaces(t)
		return
	}
	net := network.Start(t, apart(prefix, network.Options{WithPeers: true, SnapshotIntervalSize: 64 << 10}))
	// Many clients wait for an orderer that is cut off.
	work := sdk.Start(t, net, 6)
	cutOff(t, net, work, prefix, number(t, "FAULT_CUT_ROUNDS", 2), moments(t))
	work.Check(t)
}
