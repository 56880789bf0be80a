// Package ordering tests the ordering service from outside: real `consilium orderer` processes over
// mutual TLS, driven by Fabric's own Go modules. Channels and config updates are made with
// fabric-config, messages travel as fabric-protos-go types over grpc-go, and every block that a test
// reads is verified by rules written down anew in package verify.
//
//	CONSILIUM=$PWD/../../target/debug/consilium go test -count=1 ./...
//
// Everything is made in a temporary folder: keys, certificates, genesis block, configuration files,
// ledgers. What the tests expect of answers was checked against Fabric's own orderer (main branch
// after 3.1), which runs the same tests when CONSILIUM names a script that translates orderer.yaml.
// Fabric acknowledges a message before it is ordered, so there it loses some under load.
//
// Clients of Fabric's gateway SDKs, for Go and for Node, go through the same faults and changes
// (package sdk): the network then has two peers besides. The SDK for Node runs in a child process, out
// of ../node (npm ci --prefix ../node).
//
// Environment:
//
//	CONSILIUM             the program under test; must be set
//	FAULT_ROUNDS          how often the leader is killed (100)
//	FAULT_ALL_ROUNDS      how often all nodes are killed at once (20)
//	FAULT_CUT_ROUNDS      how often each kind of cut is made (2)
//	FAULT_GATEWAY_ROUNDS  how often the leader, and then all orderers, are killed under the SDKs (5)
//	FAULT_SEED            the moments of the faults; every run prints its own
//
// The faults, TestFault…, take minutes and run only when they are asked for:
//
//	CONSILIUM=… go test -count=1 -v -timeout 20m -run Fault .
//
// A full disk needs root, for a small tmpfs. Packets that are dropped in one direction need root and
// iproute2 (apt-get install iproute2), for network namespaces: a neighbour entry with a hardware
// address that nobody has makes packets leave and never arrive, without a packet filter. Both are
// skipped where they cannot be had.
package ordering
