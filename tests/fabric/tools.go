//go:build tools

// Package fabric runs Fabric's own programs against a Consilium network. They are built from
// the module that this file names.
package fabric

import (
	_ "github.com/hyperledger/fabric/cmd/discover"
	_ "github.com/hyperledger/fabric/cmd/peer"
)
