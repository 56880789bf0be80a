// Package ordering tests the ordering service from outside: real `consilium orderer` processes over
// TLS, driven by Fabric's own Go modules. Channels and config updates are made with fabric-config,
// messages travel as fabric-protos-go types over grpc-go, and every block is verified by rules
// written down anew in package verify.
//
//	CONSILIUM=$PWD/../../target/debug/consilium go test -timeout 20m .
//
// Environment:
//
//	CONSILIUM           the program under test; must be set
//	ORDERING_RECONFIG   1 runs the tests of followers and of changing consenters as well
//	FAULT_ROUNDS        how often TestFault… kill the leader (default 100)
//	FAULT_ALL_ROUNDS    how often they kill all nodes at once (default 20)
//
// The faults are in fault_test.go and run only when they are asked for, with -run Fault. A full
// disk needs root, for a tmpfs; partitions need root and iproute2 (apt-get install iproute2), for
// network namespaces. They are skipped where these are missing.
package ordering
