//go:build tools

// Package tools names the programs that run against a Consilium network and are Fabric's own;
// they are built from the module that this file names.
package tools

import (
	_ "github.com/hyperledger/fabric/cmd/discover"
	_ "github.com/hyperledger/fabric/cmd/peer"
)
