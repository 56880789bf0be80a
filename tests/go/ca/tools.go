//go:build tools

// Package tools names Fabric CA's own programs, which the tests run beside ours and against ours;
// they are built from the module that this file names.
package tools

import (
	_ "github.com/hyperledger/fabric-ca/cmd/fabric-ca-client"
	_ "github.com/hyperledger/fabric-ca/cmd/fabric-ca-server"
)
